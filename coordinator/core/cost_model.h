#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/core/pass_cost.h"
#include "shared/core/result.h"
#include "shared/core/tensor_spec.h"
#include "shared/core/time.h"

namespace pa {

/// What a pass is: its time depends on this, and on the number of rows.
struct PassKind {
  std::string model;  ///< LoRAs are merged into its weights, and cost nothing in a pass.
  Shape row;          ///< Of the latent; its size decides, and how it is laid out.

  friend auto operator<=>(const PassKind&, const PassKind&) = default;
};

/// How sure an estimate is.
enum class CostBasis : std::uint8_t {
  kNothing,  ///< Every device is taken for alike, by weight.
  kOthers,   ///< From devices of the same name, or from this one's passes of other kinds.
  kMeasured,
};

/// The time of one network pass of one kind on one device, as a function of its rows.
///
/// Affine at heart: with few different row counts seen, a and c of a + c n are not both known, so they are kept near
/// what was believed before. Where a row count was seen often, its own mean counts. Never falls with n.
class PassEstimate {
 public:
  /// Begins with a belief: `passes` says how much it weighs, in passes.
  PassEstimate(double fixed, double per_row, double passes);
  PassEstimate() : PassEstimate(0, 1, 0) {}

  /// `passes` passes over `rows` rows took `seconds` in all. A surprise of more than a third, twice running, is taken
  /// for a change of speed, and what was seen before counts for little; once is taken for an accident.
  void observe(std::int64_t rows, double seconds, std::int64_t passes);
  /// So many rows found no memory.
  void out_of_memory(std::int64_t rows);

  /// Valid until the estimate changes.
  [[nodiscard]] PassCost cost() const { return {fixed_, per_row_, table_}; }
  /// Rows that fit, as far as is known: `limit`, or fewer if so many found no memory.
  [[nodiscard]] std::int64_t rows_that_fit(std::int64_t limit) const;
  [[nodiscard]] double passes_seen() const { return seen_; }

  /// Multiplies all times.
  void scale(double factor);

 private:
  friend class CostModel;
  struct Seen {
    double weight = 0;   ///< In passes; fades.
    double seconds = 0;  ///< Mean of a pass.
  };

  void fit();

  double prior_fixed_ = 0;
  double prior_per_row_ = 1;
  double prior_weight_ = 0;
  double fixed_ = 0;
  double per_row_ = 1;
  std::map<std::int64_t, Seen> rows_;  ///< By rows in the pass; bounded by the row limit.
  std::vector<double> table_;          ///< Seconds for n = 1, 2, ..., as far as rows were seen.
  double seen_ = 0;
  int surprises_ = 0;  ///< Running, in one direction.
  std::int64_t largest_fit_ = 0;
  std::int64_t smallest_unfit_ = 0;  ///< 0: none is known.
};

/// What passes cost every device: learned from real work, and kept over restarts.
///
/// Before a device has run a kind of pass, its time is scaled from the same device's other kinds (by latent size, as
/// other devices compare), else taken from a device of the same name, else from the configured weight: the others'
/// mean speed, or a nominal one, over the weight's part of the mean.
class CostModel {
 public:
  /// A device as the model tells it apart.
  struct DeviceId {
    std::string worker;       ///< Stable over restarts.
    std::string device_name;  ///< "NVIDIA GeForce RTX 4090": equal ones are taken for alike.
  };

  void observe(const DeviceId& device, const PassKind& kind, std::int64_t rows, double seconds,
               std::int64_t passes);
  void out_of_memory(const DeviceId& device, const PassKind& kind, std::int64_t rows);

  struct Estimate {
    const PassEstimate* times = nullptr;  ///< Valid until the model changes.
    CostBasis basis = CostBasis::kNothing;
  };
  /// The estimate for a pass of this kind on this device. `weight_part`: its weight over the mean of those that compete.
  [[nodiscard]] Estimate estimate(const DeviceId& device, const PassKind& kind, double weight_part);

  /// All that was measured, as text, one line a (device, kind, rows), under a versioned first line.
  [[nodiscard]] std::string save() const;
  /// Takes what save() made. Errors: kInvalid with the line; nothing was taken.
  [[nodiscard]] Status load(const std::string& text);
  /// Rises with every change worth saving.
  [[nodiscard]] std::uint64_t version() const { return version_; }

 private:
  struct Device {
    std::string device_name;
    std::map<PassKind, PassEstimate> kinds;    ///< Measured.
    std::map<PassKind, PassEstimate> guesses;  ///< For the rest; made anew when asked.
  };

  [[nodiscard]] std::optional<PassEstimate> guess_from_device(const Device& device,
                                                              const PassKind& kind) const;
  [[nodiscard]] std::optional<PassEstimate> guess_from_namesake(const std::string& worker,
                                                                const std::string& device_name,
                                                                const PassKind& kind) const;
  [[nodiscard]] std::optional<PassEstimate> mean_of_others(const PassKind& kind) const;
  PassEstimate& measured(const DeviceId& device, const PassKind& kind);
  void bound(Device& device);

  std::map<std::string, Device> devices_;  ///< By worker name; bounded.
  std::uint64_t version_ = 0;
};

}  // namespace pa
