#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/core/level.h"

/// The scheduling policy on random clusters, without messages or processes: fast enough for tens of thousands of them.
/// Times are in units of the fastest possible step of a single sample.
namespace pa {

/// How many samples there are to so many devices.
enum class Batch : std::uint8_t {
  kMany,  ///< 4 to 8 a device.
  kSome,  ///< 1 to 4 a device.
  kFew,   ///< Fewer than devices.
};

/// What befalls the cluster.
enum class Mishap : std::uint8_t {
  kNone,
  kSlow,  ///< The device of median speed becomes 3 times slower at half of the bound.
  kLost,  ///< It is gone then.
  kLate,  ///< It takes part only from a quarter of the bound on.
};

struct PolicyCase {
  Batch batch = Batch::kMany;
  double ratio = 0.1;      ///< Fixed part of a pass, in rows.
  std::int64_t limit = 8;  ///< Rows in a pass.
  Mishap mishap = Mishap::kNone;
  int steps = 20;
  double jitter = 0.05;  ///< Of a pass, standard deviation of its logarithm.
  double error = 0.1;    ///< Estimates are wrong by up to this part at the start.
  double move = 0.3;     ///< What a move delays a sample by.
};

struct PolicyRun {
  double efficiency = 0;   ///< Bound / makespan.
  double against_one = 0;  ///< Makespan of the best device alone, without jitter / ours.
  double moves = 0;        ///< A sample, on average.
  int most_moves = 0;      ///< Of one sample.
  int devices = 0;
  std::int64_t samples = 0;
  std::string problem;  ///< A rule that was broken, in words; empty if none.
};

/// Cases of the table: three batches, two ratios, three limits.
[[nodiscard]] std::vector<PolicyCase> policy_cases(Mishap mishap = Mishap::kNone);

/// "N>=4D a/c 0.1 M 8".
[[nodiscard]] std::string name_of(const PolicyCase& policy_case);

/// Runs one random cluster of 2 to 64 devices with speeds up to 20 to 1. Equal arguments give equal runs.
/// `trace`: Chrome trace JSON of it is appended, if not null.
[[nodiscard]] PolicyRun run_policy(const PolicyCase& policy_case, std::uint64_t seed,
                                   std::string* trace = nullptr);

/// The value below which `part` of the values lie.
[[nodiscard]] double percentile(std::vector<double> values, double part);

}  // namespace pa
