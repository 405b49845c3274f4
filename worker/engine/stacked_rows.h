#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <list>
#include <vector>

#include "worker/engine/conditions.h"
#include "worker/engine/shard_run.h"
#include "worker/models/network.h"

namespace pa {

/// Puts the rows of a pass together. Conditions are stacked once, and kept while the same rows come
/// again.
class RowStacker {
 public:
  /// Passes that a stack of conditions is kept for without being used.
  static constexpr std::int64_t kKeptPasses = 8;

  /// queries: at least one; of equal shapes, with inputs of equal names and shapes.
  [[nodiscard]] Rows stack(const std::vector<QueryRow>& queries, c10::Device device);

  /// Drops what is kept.
  void clear() {
    stacks_.clear();
    x_.reset();
  }

  /// Stacks made so far, by copying (tests).
  [[nodiscard]] std::int64_t copies() const { return copies_; }

 private:
  struct Stack {
    std::vector<RowRef> rows;  ///< Hold their tensors alive, so that none is taken for another.
    at::Tensor whole;
    std::int64_t used = 0;  ///< In which pass, last.
  };

  at::Tensor stack_x(const std::vector<QueryRow>& queries);
  at::Tensor stack_input(std::vector<RowRef> rows);

  at::Tensor x_;  // Of the last pass; written again once nobody else holds it.
  std::list<Stack> stacks_;
  std::int64_t passes_ = 0;
  std::int64_t copies_ = 0;
};

}  // namespace pa
