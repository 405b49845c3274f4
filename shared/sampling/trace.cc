#include "shared/sampling/trace.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

namespace pa {

Expr& Expr::operator+=(const Expr& other) {
  if (&other == this) return *this *= 2.0;
  for (const auto& [value, weight] : other.terms_) {
    const auto found = std::find_if(terms_.begin(), terms_.end(),
                                    [v = value](const auto& term) { return term.first == v; });
    if (found == terms_.end()) {
      terms_.emplace_back(value, weight);
    } else {
      found->second += weight;
    }
  }
  return *this;
}

Expr& Expr::operator*=(double scale) {
  for (auto& term : terms_) term.second *= scale;
  return *this;
}

Trace::Trace() : records_(1) {}

Expr Trace::denoise(Expr& x, double sigma, int step) {
  return denoise_pair(x, sigma, step, false).denoised;
}

Trace::Answers Trace::denoise_pair(Expr& x, double sigma, int step, bool want_uncond) {
  keep(x);
  Record record;
  record.step = step;
  record.input = x.terms_.front().first;
  record.sigma = sigma;
  finite_ = finite_ && std::isfinite(sigma);
  record.answers.push_back(new_value());
  if (want_uncond) record.answers.push_back(new_value());
  Answers answers{Expr(record.answers.front()), Expr(record.answers.back())};
  records_.push_back(std::move(record));
  return answers;
}

Expr Trace::noise(double from, double to) {
  const int value = new_value();
  records_.back().draws.push_back({value, from, to});
  finite_ = finite_ && std::isfinite(from) && std::isfinite(to);
  return Expr(value);
}

void Trace::keep(Expr& e) {
  const auto is_one_value = [](const Expr::Terms& terms) {
    return terms.size() == 1 && terms.front().second == 1.0;
  };
  if (is_one_value(e.terms_)) return;

  // In terms of what was there when the stage began: this stage's own definitions are all computed
  // at its end, at once.
  Record& here = records_.back();
  Expr flat;
  for (const auto& [value, weight] : e.terms_) {
    const auto found = std::find_if(here.defined.begin(), here.defined.end(),
                                    [v = value](const Defined& d) { return d.value == v; });
    Expr part(value);
    if (found != here.defined.end()) part.terms_ = found->terms;
    flat += weight * part;
  }
  std::erase_if(flat.terms_, [](const auto& term) { return term.second == 0.0; });
  for (const auto& term : flat.terms_) finite_ = finite_ && std::isfinite(term.second);

  if (!is_one_value(flat.terms_)) {
    const int value = new_value();
    here.defined.push_back({value, std::move(flat.terms_)});
    flat = Expr(value);
  }
  e = std::move(flat);
}

Result<Program> Trace::finish(Expr& x, double end_sigma) && {
  keep(x);
  if (!finite_) {
    return invalid(
        "a weight or a noise level is not finite: these sigmas and options do not fit this "
        "sampler");
  }
  const int result = x.terms_.front().first;
  std::map<int, std::size_t> last_use;  // Value -> last record that reads it.
  for (std::size_t i = 0; i < records_.size(); ++i) {
    if (records_[i].input >= 0) last_use[records_[i].input] = i;
    for (const Defined& defined : records_[i].defined) {
      for (const auto& term : defined.terms) last_use[term.first] = i;
    }
  }
  last_use[result] = std::numeric_limits<std::size_t>::max();

  std::map<int, int> slot_of{{0, 0}};
  std::set<int> free;
  Program program;
  const auto place = [&](int value) {
    int slot = program.slots;
    if (free.empty()) {
      ++program.slots;
    } else {
      slot = *free.begin();
      free.erase(free.begin());
    }
    slot_of[value] = slot;
    return slot;
  };

  for (std::size_t i = 0; i < records_.size(); ++i) {
    const Record& record = records_[i];
    Stage stage;
    stage.step = record.step;
    stage.sigma = record.sigma;
    if (!record.answers.empty()) {
      stage.input = slot_of.at(record.input);
      stage.denoised = place(record.answers.front());
      if (record.answers.size() > 1) stage.uncond = place(record.answers.back());
    }
    for (const Drawn& drawn : record.draws) {
      const bool used = last_use.contains(drawn.value);
      stage.draws.push_back({drawn.from, drawn.to, used ? place(drawn.value) : -1});
    }
    std::vector<const Defined*> used;
    for (const Defined& defined : record.defined) {
      if (!last_use.contains(defined.value)) continue;
      used.push_back(&defined);
      Update& update = stage.updates.emplace_back();
      for (const auto& [value, weight] : defined.terms) {
        update.terms.push_back({slot_of.at(value), weight});
      }
    }
    for (auto at = slot_of.begin(); at != slot_of.end();) {
      const auto last = last_use.find(at->first);
      if (last == last_use.end() || last->second <= i) {
        free.insert(at->second);
        at = slot_of.erase(at);
      } else {
        ++at;
      }
    }
    for (std::size_t k = 0; k < used.size(); ++k) stage.updates[k].slot = place(used[k]->value);
    if (i > 0 || !stage.draws.empty() || !stage.updates.empty()) {
      program.stages.push_back(std::move(stage));
    }
  }
  program.result = slot_of.at(result);
  program.end_sigma = end_sigma;
  return program;
}

}  // namespace pa
