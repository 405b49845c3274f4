#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "shared/core/result.h"
#include "shared/io/safetensors.h"
#include "worker/models/device.h"

namespace pa {

/// The tensors of a model's files, by name, without the prefix that checkpoints put before them.
/// Nothing is read before it is asked for.
class WeightFiles {
 public:
  /// Prefixes under which networks are found in files, besides none.
  static constexpr std::string_view kPrefix = "model.diffusion_model.";

  /// Errors: kInvalid if two files have a tensor of the same name.
  [[nodiscard]] static Result<WeightFiles> of(std::vector<SafetensorsFile> files);

  /// nullptr if there is none.
  [[nodiscard]] const TensorView* find(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }

  /// Dimension `axis` of a tensor; -1 if there is no such tensor or axis.
  [[nodiscard]] std::int64_t size(std::string_view name, std::size_t axis) const;

  /// How many n there are with tensors "PREFIX0.", "PREFIX1.", ..., "PREFIXn-1.".
  [[nodiscard]] std::int64_t count(std::string_view prefix) const;

  [[nodiscard]] std::vector<std::string> names() const;

 private:
  friend class WeightReader;
  struct Entry {
    const TensorView* view = nullptr;
    std::shared_ptr<const void> owner;
  };
  std::vector<SafetensorsFile> files_;
  std::map<std::string, Entry, std::less<>> entries_;
};

/// Takes weights out of files and puts them on a device. Mistakes do not stop the reading: they are
/// collected, and finish() tells them all.
class WeightReader {
 public:
  /// `dtype` is what the network computes in. On the CPU, weights stored in it are not copied, but
  /// alias the mapped file.
  WeightReader(const WeightFiles& files, c10::Device device, at::ScalarType dtype)
      : files_(files), device_(device), dtype_(dtype) {}

  /// The weight, of this shape. An undefined tensor after noting that it is missing, of another
  /// shape, or of a dtype that this version cannot use.
  [[nodiscard]] at::Tensor take(const std::string& name, const Shape& shape);

  /// Elements taken so far.
  [[nodiscard]] std::int64_t parameters() const { return parameters_; }

  /// kInvalid with every mistake, a line each: tensors that nobody took are found here. A missing
  /// one is told with the nearest name that is there.
  [[nodiscard]] Status finish() const;

 private:
  const WeightFiles& files_;
  c10::Device device_;
  at::ScalarType dtype_;
  std::int64_t parameters_ = 0;
  std::set<std::string, std::less<>> taken_;
  std::vector<std::string> missing_;
  std::vector<std::string> mistakes_;
};

}  // namespace pa
