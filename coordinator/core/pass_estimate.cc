// The time of one kind of pass on one device.

#include <algorithm>
#include <cmath>

#include "coordinator/core/cost_model.h"

namespace pa {
namespace {

constexpr double kMemory = 20;       // Passes that count at most; older ones fade.
constexpr double kFade = 0.98;       // Of other row counts, with each pass.
constexpr double kForgotten = 0.05;  // Passes that count for so little are dropped.
constexpr double kTrust = 2;         // Passes after which a row count's own mean counts half.
constexpr double kRidge = 1;         // Passes that the belief about a / c weighs.
constexpr double kSurprise = 0.3;    // Of the logarithm.
constexpr int kChange = 2;           // Surprises running that are a change of speed.
constexpr double kNew = 2.5;         // Passes below which nothing is a surprise.
constexpr double kLeast = 1e-9;      // Seconds a row, so that rates stay finite.

}  // namespace

PassEstimate::PassEstimate(double fixed, double per_row, double passes)
    : prior_fixed_(fixed),
      prior_per_row_(per_row),
      prior_weight_(passes),
      fixed_(fixed),
      per_row_(per_row) {}

void PassEstimate::observe(std::int64_t rows, double seconds, std::int64_t passes) {
  if (rows < 1 || passes < 1 || !(seconds >= 0) || !std::isfinite(seconds)) return;
  double each = std::max(seconds / static_cast<double>(passes), kLeast);
  const double expected = cost()(rows);
  const double surprise = std::log(each / expected);
  largest_fit_ = std::max(largest_fit_, rows);
  if (smallest_unfit_ > 0 && rows >= smallest_unfit_) smallest_unfit_ = 0;
  if (seen_ >= kNew && std::abs(surprise) > kSurprise) {
    const int direction = surprise > 0 ? 1 : -1;
    if (surprises_ * direction < 0) surprises_ = 0;
    surprises_ += direction * static_cast<int>(std::min<std::int64_t>(passes, kChange));
    if (std::abs(surprises_) >= kChange) {
      scale(each / expected);
      surprises_ = 0;
    } else {
      each = expected * std::exp(direction * kSurprise);
    }
  } else {
    surprises_ = 0;
  }
  const auto count = static_cast<double>(passes);
  for (auto& [n, seen] : rows_) {
    if (n != rows) seen.weight *= std::pow(kFade, count);
  }
  std::erase_if(rows_, [](const auto& entry) { return entry.second.weight < kForgotten; });
  Seen& seen = rows_[rows];
  seen.weight = std::min(seen.weight + count, kMemory);
  seen.seconds += (each - seen.seconds) * std::min(1.0, count / seen.weight);
  seen_ = std::min(seen_ + count, 1e6);
  fit();
}

void PassEstimate::out_of_memory(std::int64_t rows) {
  if (rows < 2) return;  // A single row that does not fit fails by itself.
  if (smallest_unfit_ == 0 || rows < smallest_unfit_) smallest_unfit_ = rows;
  largest_fit_ = std::min(largest_fit_, rows - 1);
}

std::int64_t PassEstimate::rows_that_fit(std::int64_t limit) const {
  if (smallest_unfit_ == 0 || limit < smallest_unfit_) return limit;
  return std::max<std::int64_t>({1, largest_fit_, smallest_unfit_ / 2});
}

void PassEstimate::scale(double factor) {
  prior_fixed_ *= factor;
  prior_per_row_ *= factor;
  for (auto& [n, seen] : rows_) {
    seen.seconds *= factor;
    seen.weight = std::min(seen.weight, 1.0);  // It was another speed: what comes now counts more.
  }
  fit();
}

void PassEstimate::fit() {
  const auto believed = [&](std::int64_t n) {
    return std::max(prior_fixed_ + prior_per_row_ * static_cast<double>(n), kLeast);
  };
  // How much slower than believed, altogether.
  double weight = prior_weight_;
  double slower = prior_weight_;
  for (const auto& [n, seen] : rows_) {
    weight += seen.weight;
    slower += seen.weight * seen.seconds / believed(n);
  }
  const double factor = weight > 0 ? slower / weight : 1;
  // Least squares of relative errors over (a, c), with the belief as kRidge more passes.
  double aa = 0;
  double ac = 0;
  double cc = 0;
  double at = 0;
  double ct = 0;
  const auto add = [&](double a, double c, double target, double w) {
    aa += w * a * a;
    ac += w * a * c;
    cc += w * c * c;
    at += w * a * target;
    ct += w * c * target;
  };
  double mean_rows = 0;
  double rows_weight = 0;
  for (const auto& [n, seen] : rows_) {
    add(1 / seen.seconds, static_cast<double>(n) / seen.seconds, 1, seen.weight);
    mean_rows += seen.weight * static_cast<double>(n);
    rows_weight += seen.weight;
  }
  mean_rows = rows_weight > 0 ? mean_rows / rows_weight : 1;
  const double typical = factor * (prior_fixed_ + prior_per_row_ * mean_rows);
  add(1 / typical, 0, factor * prior_fixed_ / typical, kRidge);
  add(0, mean_rows / typical, factor * prior_per_row_ * mean_rows / typical, kRidge);
  const double determinant = aa * cc - ac * ac;
  fixed_ = (at * cc - ct * ac) / determinant;
  per_row_ = (aa * ct - ac * at) / determinant;
  if (fixed_ < 0 || per_row_ < kLeast) {  // Noise: keep the belief's shape.
    fixed_ = factor * prior_fixed_;
    per_row_ = std::max(factor * prior_per_row_, kLeast);
  }

  // What was seen of single row counts bends the line, and in between.
  table_.clear();
  if (rows_.empty()) return;
  const std::int64_t last = rows_.rbegin()->first;
  double ratio = 1;
  for (std::int64_t n = 1; n <= last; ++n) {
    const auto above = rows_.lower_bound(n);
    const auto bend = [&](const auto& entry) {
      const double line = fixed_ + per_row_ * static_cast<double>(entry.first);
      const double part = entry.second.weight / (entry.second.weight + kTrust);
      return 1 + part * (entry.second.seconds / line - 1);
    };
    if (above->first == n || above == rows_.begin()) {
      ratio = bend(*above);
    } else {
      const auto below = std::prev(above);
      const double part =
          static_cast<double>(n - below->first) / static_cast<double>(above->first - below->first);
      ratio = bend(*below) * (1 - part) + bend(*above) * part;
    }
    const double seconds = ratio * (fixed_ + per_row_ * static_cast<double>(n));
    table_.push_back(table_.empty() ? seconds : std::max(seconds, table_.back()));
  }
  // Beyond the table the line goes on from its end.
  fixed_ = table_.back() - ratio * per_row_ * static_cast<double>(last);
  per_row_ *= ratio;
}

}  // namespace pa
