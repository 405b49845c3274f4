#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "shared/core/result.h"
#include "shared/sampling/program.h"
#include "worker/engine/noise_maker.h"
#include "worker/engine/noise_source.h"

namespace pa {

/// The noises of a shard's trajectories, made on the threads of a NoiseMaker before they are needed.
///
/// Of a trajectory it holds its start noise until that is taken, then the noises of the stage it is in and of the next
/// ones, as long as these are no more than kAhead.
///
/// Thread: the compute thread only, which no noise is made on.
class ShardNoise {
 public:
  static constexpr std::size_t kAhead = 2;

  /// Asks for the start noises; and for `fresh` ones (NoiseSource::fresh) if wanted. `maker` outlives it.
  ShardNoise(NoiseSource source, const Program& program, NoiseMaker& maker, std::int64_t rows,
             bool wants_fresh);

  /// Whether all start noises are made, and fresh ones.
  [[nodiscard]] bool started() const;
  /// Once started(), and once a row: [row...] on the CPU.
  [[nodiscard]] Result<at::Tensor> take_start(std::int64_t row);
  [[nodiscard]] Result<at::Tensor> take_fresh(std::int64_t row);

  /// The row comes to a stage: noises that it needs now or soon are asked for.
  void enter(std::int64_t row, std::size_t stage);
  /// Whether all noises of the row's stage are made.
  [[nodiscard]] bool ready(std::int64_t row) const;
  /// Once ready(): the slots that they belong into, and the noises, [...] on the CPU.
  ///
  /// Errors: kOverloaded if there was no memory to make one.
  [[nodiscard]] Result<std::vector<std::pair<int, at::Tensor>>> take(std::int64_t row);
  /// The row needs no more noises.
  void leave(std::int64_t row);

 private:
  using Noise = std::shared_ptr<const MadeNoise>;
  /// A noise that a stage puts into a slot.
  struct Use {
    std::int64_t draw = 0;
    int slot = 0;
  };
  struct Row {
    Noise start;
    Noise fresh;
    std::size_t stage = 0;
    std::map<std::int64_t, Noise> ahead;  // By draw.
  };

  Row& at(std::int64_t row) { return rows_[static_cast<std::size_t>(row)]; }
  const Row& at(std::int64_t row) const { return rows_[static_cast<std::size_t>(row)]; }

  NoiseSource source_;
  NoiseMaker* maker_;
  std::vector<std::vector<Use>> uses_;  // By stage.
  std::vector<Row> rows_;
};

}  // namespace pa
