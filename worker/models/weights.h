#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "shared/core/result.h"
#include "shared/models/blueprint.h"
#include "shared/models/weight_index.h"
#include "shared/models/weight_match.h"

namespace pa {

/// Told after every tensor, in bytes of the files. Returning false cancels.
using LoadProgress = std::function<bool(std::int64_t done, std::int64_t total)>;

/// A network's parameters on a device, by their original names.
///
/// On the CPU, parameters that are stored in `dtype` and as they are used are not copied: they alias
/// the mapped file, so that workers of one box share the page cache. Others are converted in slices,
/// whose pages of the file are given back at once; so loading needs no more memory than the replica
/// and one slice. Every parameter can be made anew from the map at any time.
///
/// Thread: the compute thread only, construction and destruction included.
class Weights {
 public:
  /// Loads all parameters.
  ///
  /// Errors: kInvalid if the files do not fit the blueprint: every tensor missing, misshapen or left
  /// over is named; kCancelled if `progress` says so; kOverloaded if the device has no memory for
  /// them; kInternal.
  [[nodiscard]] static Result<std::unique_ptr<Weights>> load(WeightIndex files, Blueprint blueprint,
                                                             Naming naming, c10::Device device,
                                                             at::ScalarType dtype,
                                                             const LoadProgress& progress = {});
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  /// The parameter, or nullptr if the network has none of that name. The pointer stays good while
  /// this lives; what it points to changes with replace() and restore().
  [[nodiscard]] const at::Tensor* find(std::string_view name) const;
  /// As find() of a parameter that is there.
  [[nodiscard]] const at::Tensor* at(std::string_view name) const;

  /// The parameter as the files have it, F32 on the device, in memory of its own.
  [[nodiscard]] at::Tensor stored(std::string_view name) const;
  /// Puts other values in a parameter's place, rounded to its dtype. Where it does not alias a file,
  /// it keeps its address.
  void replace(std::string_view name, const at::Tensor& values);
  /// Makes a parameter what the files have, bit for bit.
  void restore(std::string_view name);

  [[nodiscard]] const Blueprint& blueprint() const { return blueprint_; }
  [[nodiscard]] at::ScalarType dtype() const { return dtype_; }
  [[nodiscard]] c10::Device device() const { return device_; }

 private:
  struct Entry {
    const ParameterSource* source = nullptr;
    at::Tensor value;
    bool aliased = false;  ///< `value` was born as part of a file.
  };

  Weights(WeightIndex files, Blueprint blueprint, c10::Device device, at::ScalarType dtype)
      : files_(std::move(files)),
        blueprint_(std::move(blueprint)),
        device_(device),
        dtype_(dtype) {}

  [[nodiscard]] Entry& entry(std::string_view name);
  [[nodiscard]] const Entry& entry(std::string_view name) const;
  void fill(const ParameterSource& source, const at::Tensor& out) const;

  WeightIndex files_;
  Blueprint blueprint_;
  c10::Device device_;
  at::ScalarType dtype_;
  WeightMatch match_;  // Points into files_ and blueprint_.
  std::map<std::string, Entry, std::less<>> entries_;
};

/// Bytes that load() will take for these parameters on a device, where `aliases` are not counted.
struct ReplicaSize {
  std::int64_t owned_bytes = 0;  ///< Memory of its own.
  std::int64_t aliased_bytes =
      0;  ///< Pages of the files, which others may share and the system may take back.
};

/// What a replica of a matched blueprint takes. `match` has no problems.
[[nodiscard]] ReplicaSize replica_size(const WeightMatch& match, bool on_cpu, at::ScalarType dtype);

}  // namespace pa
