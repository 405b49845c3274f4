#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "shared/core/result.h"
#include "shared/io/safetensors.h"

namespace pa {

/// A tensor in a file, and what keeps its bytes in memory.
struct StoredTensor {
  TensorView view;
  std::shared_ptr<const void> owner;
};

/// The tensors of a model's files, by name, without the prefix that checkpoints put before a
/// network's names. Nothing is read before it is asked for. Copies are cheap to use, not to make.
class WeightIndex {
 public:
  WeightIndex() = default;

  /// If any name begins with a checkpoint's prefix, all others (text encoders, the image codec) are
  /// left out.
  ///
  /// Errors: kInvalid if two files have a tensor of the same name.
  [[nodiscard]] static Result<WeightIndex> of(const std::vector<SafetensorsFile>& files);

  /// Of names and shapes alone: nothing can be read.
  [[nodiscard]] static Result<WeightIndex> of(const std::vector<TensorSpec>& specs);

  /// nullptr if there is none.
  [[nodiscard]] const StoredTensor* find(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }
  [[nodiscard]] bool empty() const { return tensors_.empty(); }

  /// Dimension `axis` of a tensor; -1 if there is no such tensor or axis.
  [[nodiscard]] std::int64_t size(std::string_view name, std::size_t axis) const;

  /// How many n there are with tensors "PREFIX0.", "PREFIX1.", ..., "PREFIXn-1.".
  [[nodiscard]] std::int64_t count(std::string_view prefix) const;

  /// By name.
  [[nodiscard]] const std::map<std::string, StoredTensor, std::less<>>& tensors() const {
    return tensors_;
  }

  /// Whether a tensor of this name stands beside the prefixed ones, as "v_pred" does in checkpoints.
  [[nodiscard]] bool has_marker(std::string_view name) const;

  /// What stands before the network's names in the files: "model.diffusion_model." or nothing.
  [[nodiscard]] const std::string& prefix() const { return prefix_; }

 private:
  Status add(const TensorView& view, std::shared_ptr<const void> owner, const std::string& where);
  void find_prefix(const std::vector<const TensorView*>& views);

  std::string prefix_;
  std::map<std::string, StoredTensor, std::less<>> tensors_;
  std::set<std::string, std::less<>> others_;  // Names that are not the network's.
};

}  // namespace pa
