#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "coordinator/core/pass_cost.h"
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
  double finish_seconds = -1;  ///< From now; -1: not known, or it has none.
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

/// A device as plan_rows() sees it.
struct CostedCandidate {
  WorkerId worker;
  std::string name;
  PassCost cost;           ///< Of a pass over n samples.
  std::int64_t limit = 1;  ///< Samples in a pass, at most.
  double free_at = 0;      ///< Seconds until it is done with what it has.
  std::string excluded;    ///< As PlanCandidate.
};

/// Shares `samples` out that need a single pass each, so that the last ends soonest. A device that takes more than
/// `limit` makes several passes. Devices whose pass would outlast that get none: where splitting is slower than the
/// best device alone, there is no split.
///
/// Pure; ties go to the earlier candidate. As plan_by_weight() otherwise.
[[nodiscard]] Plan plan_rows(std::int64_t samples, std::span<const CostedCandidate> candidates);

/// "3.1 s", "12 ms": a time for people.
[[nodiscard]] std::string in_seconds(double seconds);

}  // namespace pa
