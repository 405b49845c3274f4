#include "coordinator/core/cost_model.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

namespace pa {
namespace {

constexpr std::size_t kMaxDevices = 4096;
constexpr std::size_t kMaxKinds = 64;  // Of one device.
constexpr std::string_view kFirstLine = "pass-costs 1";

/// Until anything is measured: no matter, only how devices compare counts.
constexpr double kNominalFixed = 0.03;
constexpr double kNominalPerRow = 0.1;
/// Passes that a guess from relatives weighs.
constexpr double kGuessWeight = 0.5;

double elements(const Shape& row) {
  double product = 1;
  for (const std::int64_t size : row)
    product *= static_cast<double>(std::max<std::int64_t>(size, 1));
  return product;
}

PassEstimate scaled(const PassEstimate& from, double fixed_factor, double row_factor) {
  const PassCost cost = from.cost();
  // A line through one and the last row seen says enough of a relative.
  const std::int64_t last = std::max<std::int64_t>(std::ssize(cost.table), 2);
  const double per_row = std::max((cost(last) - cost(1)) / static_cast<double>(last - 1), 1e-9);
  const double fixed = std::max(cost(1) - per_row, 0.0);
  return {fixed * fixed_factor, per_row * row_factor, kGuessWeight};
}

bool plain(const std::string& text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < ' '; });
}

std::string shape_text(const Shape& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text.empty() ? "-" : text;
}

std::string number_text(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value);
  return {text, end.ptr};
}

std::vector<std::string> split(const std::string& text, char by) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == by) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

template <class T>
bool read(const std::string& text, T& value) {
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  return end.ec == std::errc{} && end.ptr == text.data() + text.size();
}

}  // namespace

PassEstimate& CostModel::measured(const DeviceId& id, const PassKind& kind) {
  if (!devices_.contains(id.worker) && devices_.size() >= kMaxDevices)
    devices_.erase(devices_.begin());
  Device& device = devices_[id.worker];
  if (device.device_name != id.device_name)
    device = Device{id.device_name, {}, {}};  // Another card.
  const auto found = device.kinds.find(kind);
  if (found != device.kinds.end()) return found->second;
  PassEstimate first(kNominalFixed, kNominalPerRow, 0);
  if (auto guess = guess_from_device(device, kind)) {
    first = *guess;
  } else if (auto namesake = guess_from_namesake(id.worker, id.device_name, kind)) {
    first = *namesake;
  } else if (auto mean = mean_of_others(kind)) {
    first = *mean;
  }
  device.guesses.clear();
  bound(device);
  return device.kinds.emplace(kind, first).first->second;
}

void CostModel::bound(Device& device) {
  while (device.kinds.size() >= kMaxKinds) {
    const auto least = std::min_element(device.kinds.begin(), device.kinds.end(),
                                        [](const auto& a, const auto& b) {
                                          return a.second.passes_seen() < b.second.passes_seen();
                                        });
    device.kinds.erase(least);
  }
}

void CostModel::observe(const DeviceId& device, const PassKind& kind, std::int64_t rows,
                        double seconds, std::int64_t passes) {
  measured(device, kind).observe(rows, seconds, passes);
  ++version_;
}

void CostModel::out_of_memory(const DeviceId& device, const PassKind& kind, std::int64_t rows) {
  measured(device, kind).out_of_memory(rows);
  ++version_;
}

std::optional<PassEstimate> CostModel::guess_from_device(const Device& device,
                                                         const PassKind& kind) const {
  // The kind seen most, of this model if there is one.
  const PassEstimate* best = nullptr;
  const PassKind* like = nullptr;
  const auto rank = [&](const PassKind& k, const PassEstimate& e) {
    return std::pair(k.model == kind.model, e.passes_seen());
  };
  for (const auto& [other, estimate] : device.kinds) {
    if (other == kind || estimate.passes_seen() == 0) continue;
    if (best == nullptr || rank(other, estimate) > rank(*like, *best)) {
      best = &estimate;
      like = &other;
    }
  }
  if (best == nullptr) return std::nullopt;
  // How the two kinds compare on devices that have run both; else by size.
  double logs = 0;
  int count = 0;
  for (const auto& [worker, other] : devices_) {
    const auto a = other.kinds.find(kind);
    const auto b = other.kinds.find(*like);
    if (a == other.kinds.end() || b == other.kinds.end()) continue;
    if (a->second.passes_seen() == 0 || b->second.passes_seen() == 0) continue;
    logs += std::log(a->second.cost()(1) / b->second.cost()(1));
    ++count;
  }
  if (count > 0) {
    const double factor = std::exp(logs / count);
    return scaled(*best, factor, factor);
  }
  return scaled(*best, 1, elements(kind.row) / elements(like->row));
}

std::optional<PassEstimate> CostModel::guess_from_namesake(const std::string& worker,
                                                           const std::string& device_name,
                                                           const PassKind& kind) const {
  if (device_name.empty()) return std::nullopt;
  const PassEstimate* best = nullptr;
  for (const auto& [name, other] : devices_) {
    if (name == worker || other.device_name != device_name) continue;
    const auto found = other.kinds.find(kind);
    if (found == other.kinds.end() || found->second.passes_seen() == 0) continue;
    if (best == nullptr || found->second.passes_seen() > best->passes_seen()) best = &found->second;
  }
  if (best == nullptr) return std::nullopt;
  return scaled(*best, 1, 1);
}

std::optional<PassEstimate> CostModel::mean_of_others(const PassKind& kind) const {
  double fixed = 0;
  double per_row = 0;
  int count = 0;
  for (const auto& [worker, other] : devices_) {
    const auto found = other.kinds.find(kind);
    if (found == other.kinds.end() || found->second.passes_seen() == 0) continue;
    const PassEstimate line = scaled(found->second, 1, 1);
    fixed += std::log(std::max(line.fixed_, 1e-9));
    per_row += std::log(line.per_row_);
    ++count;
  }
  if (count == 0) return std::nullopt;
  return PassEstimate(std::exp(fixed / count), std::exp(per_row / count), kGuessWeight);
}

CostModel::Estimate CostModel::estimate(const DeviceId& id, const PassKind& kind,
                                        double weight_part) {
  if (!devices_.contains(id.worker) && devices_.size() >= kMaxDevices)
    devices_.erase(devices_.begin());
  Device& device = devices_[id.worker];
  if (device.device_name != id.device_name) device = Device{id.device_name, {}, {}};
  const auto found = device.kinds.find(kind);
  if (found != device.kinds.end() && found->second.passes_seen() > 0)
    return {&found->second, CostBasis::kMeasured};

  std::optional<PassEstimate> guess;
  CostBasis basis = CostBasis::kOthers;
  const bool weighted = std::abs(weight_part - 1) > 1e-9;  // The owner has an opinion.
  if (!weighted) guess = guess_from_device(device, kind);
  if (!guess && !weighted) guess = guess_from_namesake(id.worker, id.device_name, kind);
  if (!guess) {
    guess = mean_of_others(kind);
    if (!guess) {
      guess = PassEstimate(kNominalFixed, kNominalPerRow, 0);
      basis = CostBasis::kNothing;
    }
    guess->scale(1 / std::max(weight_part, 1e-6));
  }
  if (device.guesses.size() >= kMaxKinds) device.guesses.clear();
  PassEstimate& kept = device.guesses[kind] = *guess;
  if (found != device.kinds.end()) kept.smallest_unfit_ = found->second.smallest_unfit_;
  return {&kept, basis};
}

std::string CostModel::save() const {
  std::string text = std::string(kFirstLine) + "\n";
  for (const auto& [worker, device] : devices_) {
    for (const auto& [kind, estimate] : device.kinds) {
      if (!plain(worker) || !plain(device.device_name) || !plain(kind.model)) continue;
      const std::string who = worker + "\t" + device.device_name + "\t" + kind.model + "\t" +
                              shape_text(kind.row) + "\t";
      for (const auto& [rows, seen] : estimate.rows_) {
        text += who + std::to_string(rows) + "\t" + number_text(seen.weight) + "\t" +
                number_text(seen.seconds) + "\n";
      }
      if (estimate.smallest_unfit_ > 0)
        text += who + std::to_string(estimate.smallest_unfit_) + "\tno memory\t0\n";
    }
  }
  return text;
}

Status CostModel::load(const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  if (!std::getline(lines, line) || line != kFirstLine) {
    return invalid("line 1: expected '" + std::string(kFirstLine) + "'");
  }
  CostModel fresh;
  for (int number = 2; std::getline(lines, line); ++number) {
    const std::vector<std::string> parts = split(line, '\t');
    const auto wrong = [&] {
      return invalid("line " + std::to_string(number) + ": not a pass's cost");
    };
    if (parts.size() != 7) return wrong();
    PassKind kind{parts[2], {}};
    if (parts[3] != "-") {
      for (const std::string& size : split(parts[3], 'x')) {
        if (!read(size, kind.row.emplace_back())) return wrong();
      }
    }
    std::int64_t rows = 0;
    double seconds = 0;
    if (!read(parts[4], rows) || rows < 1 || !read(parts[6], seconds) || !(seconds >= 0))
      return wrong();
    const DeviceId id{parts[0], parts[1]};
    if (parts[5] == "no memory") {
      fresh.out_of_memory(id, kind, rows);
      continue;
    }
    double weight = 0;
    if (!read(parts[5], weight) || !(weight > 0)) return wrong();
    PassEstimate& estimate = fresh.measured(id, kind);
    estimate.rows_[rows] = {weight, seconds};
    estimate.seen_ += weight;
    estimate.largest_fit_ = std::max(estimate.largest_fit_, rows);
    estimate.fit();
  }
  *this = std::move(fresh);
  return {};
}

}  // namespace pa
