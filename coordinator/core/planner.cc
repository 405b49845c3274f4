#include "coordinator/core/planner.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "shared/core/result.h"

namespace pa {
namespace {

std::string percent(double part) {
  std::string text = std::to_string(std::round(part * 1000) / 10);
  text.erase(text.find('.') + 2);
  if (text.ends_with(".0")) text.erase(text.size() - 2);
  return text + "%";
}

/// When a candidate ends `n` samples.
double ends(const CostedCandidate& candidate, std::int64_t n) {
  if (n == 0) return candidate.free_at;
  const std::int64_t whole = (n - 1) / candidate.limit;
  return candidate.free_at + static_cast<double>(whole) * candidate.cost(candidate.limit) +
         candidate.cost(n - whole * candidate.limit);
}

/// Samples that a candidate ends by `time`, `most` at most.
std::int64_t ended_by(const CostedCandidate& candidate, double time, std::int64_t most) {
  const double left = time - candidate.free_at;
  if (left <= 0) return 0;
  const double pass = candidate.cost(candidate.limit);
  const double whole = std::floor(left / pass);
  if (whole * static_cast<double>(candidate.limit) >= static_cast<double>(most)) return most;
  const auto passes = static_cast<std::int64_t>(whole);
  return std::min(most, passes * candidate.limit +
                            candidate.cost.rows_within(left - whole * pass, candidate.limit));
}

}  // namespace

std::string in_seconds(double seconds) {
  const bool small = seconds < 0.9995;
  const double value = small ? seconds * 1000 : seconds;
  char text[32];
  (void)std::snprintf(text, sizeof text, value < 9.95 ? "%.1f %s" : "%.0f %s", value,
                      small ? "ms" : "s");
  return text;
}

Plan plan_rows(std::int64_t samples, std::span<const CostedCandidate> candidates) {
  Plan plan;
  double high = std::numeric_limits<double>::infinity();
  for (const CostedCandidate& candidate : candidates) {
    plan.shares.push_back({candidate.worker, 0, candidate.excluded, -1});
    if (!candidate.excluded.empty()) continue;
    PA_CHECK(candidate.limit >= 1);
    plan.placed = true;
    high = std::min(high, ends(candidate, samples));
  }
  if (!plan.placed) return plan;
  const auto together = [&](double time) {
    std::int64_t sum = 0;
    for (const CostedCandidate& candidate : candidates) {
      if (candidate.excluded.empty()) sum += ended_by(candidate, time, samples);
    }
    return sum;
  };
  double low = 0;
  high *= 1 + 1e-12;
  for (int i = 0; i < 60 && high - low > 1e-9 * high; ++i) {
    const double middle = (low + high) / 2;
    (together(middle) >= samples ? high : low) = middle;
  }
  std::int64_t surplus = -samples;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (!candidates[i].excluded.empty()) continue;
    plan.shares[i].samples = ended_by(candidates[i], high, samples);
    surplus += plan.shares[i].samples;
  }
  for (; surplus > 0; --surplus) {  // Whoever ends last gives one back; of equals the later.
    std::size_t last = candidates.size();
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (plan.shares[i].samples == 0) continue;
      if (last == candidates.size() || ends(candidates[i], plan.shares[i].samples) >=
                                           ends(candidates[last], plan.shares[last].samples)) {
        last = i;
      }
    }
    --plan.shares[last].samples;
  }
  double finish = 0;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (plan.shares[i].samples > 0)
      finish = std::max(finish, ends(candidates[i], plan.shares[i].samples));
  }
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    PlannedShare& share = plan.shares[i];
    if (!candidates[i].excluded.empty()) continue;
    if (share.samples > 0) {
      share.finish_seconds = ends(candidates[i], share.samples);
      share.reason = "ends them in " + in_seconds(share.finish_seconds);
    } else {
      share.reason = "one sample would end in " + in_seconds(ends(candidates[i], 1)) +
                     " there; all end in " + in_seconds(finish) + " without it";
    }
  }
  return plan;
}

Plan plan_by_weight(std::int64_t samples, std::span<const PlanCandidate> candidates) {
  PA_CHECK(samples >= 0);
  double total = 0;
  for (const PlanCandidate& candidate : candidates) {
    PA_CHECK(std::isfinite(candidate.weight) && candidate.weight >= 0);
    if (candidate.excluded.empty()) total += candidate.weight;
  }

  Plan plan;
  plan.placed = total > 0;
  std::int64_t left = samples;
  std::vector<std::pair<double, std::size_t>> remainders;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const PlanCandidate& candidate = candidates[i];
    PlannedShare share{candidate.worker, 0, candidate.excluded};
    if (candidate.excluded.empty() && candidate.weight == 0) share.reason = "weight 0";
    if (candidate.excluded.empty() && candidate.weight > 0) {
      const double exact = static_cast<double>(samples) * (candidate.weight / total);
      share.samples = static_cast<std::int64_t>(std::floor(exact));
      share.reason = percent(candidate.weight / total) + " of the weight";
      remainders.emplace_back(static_cast<double>(share.samples) - exact, i);
      left -= share.samples;
    }
    plan.shares.push_back(std::move(share));
  }
  if (!plan.placed) return plan;

  std::stable_sort(remainders.begin(), remainders.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (std::size_t i = 0; left > 0; i = (i + 1) % remainders.size()) {
    ++plan.shares[remainders[i].second].samples;
    --left;
  }
  return plan;
}

}  // namespace pa
