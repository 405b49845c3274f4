#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "shared/core/id.h"

namespace pa {

/// A device as the planner sees it.
struct PlanCandidate {
  WorkerId worker;
  double weight = 1;     ///< 0 or more; its share of samples in proportion to the others'.
  std::string excluded;  ///< Why it may get nothing, in words; empty if it may.
};

/// How many samples a candidate gets, and why.
struct PlannedShare {
  WorkerId worker;
  std::int64_t samples = 0;
  std::string reason;
};

/// Shares `samples` out in proportion to weight, rounded by largest remainder; shares of zero are allowed.
///
/// Pure: equal arguments give equal plans. Ties go to the earlier candidate. The shares add up to `samples`, in the
/// order of `candidates`; if every candidate is excluded or has weight 0 they are all zero, and `placed` is false.
struct Plan {
  std::vector<PlannedShare> shares;
  bool placed = false;
};
[[nodiscard]] Plan plan_by_weight(std::int64_t samples, std::span<const PlanCandidate> candidates);

}  // namespace pa
