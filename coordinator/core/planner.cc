#include "coordinator/core/planner.h"

#include <algorithm>
#include <cmath>

#include "shared/core/result.h"

namespace pa {
namespace {

std::string percent(double part) {
  std::string text = std::to_string(std::round(part * 1000) / 10);
  text.erase(text.find('.') + 2);
  if (text.ends_with(".0")) text.erase(text.size() - 2);
  return text + "%";
}

}  // namespace

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
