#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "shared/core/result.h"

/// Which device a worker computes on, and what there is to know of it.
namespace pa {

/// A device by kind and index.
struct Device {
  std::string kind = "cpu";  ///< "cpu", "cuda", "xpu" or "mps".
  int index = 0;             ///< 0 for "cpu" and "mps".

  friend bool operator==(const Device&, const Device&) = default;
};

/// "cpu", "cuda" (meaning "cuda:0"), "cuda:1", "mps", "xpu:0". kInvalid for anything else.
[[nodiscard]] Result<Device> parse_device(const std::string& text);

/// As parse_device() reads it: "cpu", "cuda:0".
[[nodiscard]] std::string to_string(const Device& device);

/// Makes the calling thread the one that computes on `device`: sets how many threads LibTorch uses
/// for an operation, and loads the device's backend. Once a process, before anything else of LibTorch.
///
/// Errors: kUnavailable if the backend's library cannot be loaded, or has no such device, with
/// what to do about it.
[[nodiscard]] Status start_device(const Device& device, std::int64_t threads);

/// "AMD EPYC 7B13", "NVIDIA H100 80GB HBM3"; the kind if nothing better is known.
[[nodiscard]] std::string device_name(const Device& device);

/// What decides the last bits of results, besides the model: device model, LibTorch build, CPU
/// capability and thread count. Equal on workers whose results are equal bit for bit.
/// After start_device().
[[nodiscard]] std::string numerics_id(const Device& device);

/// Memory that a new tensor could take, cached blocks counted as free; -1 if unknown.
/// Any thread, after start_device().
[[nodiscard]] std::int64_t free_memory_bytes(const Device& device);

/// Computes a sum on the device. An error says that it is lost for this process, as after an illegal
/// memory access, rather than that what it was asked for was wrong.
[[nodiscard]] Status try_device(const Device& device);

/// Gives memory that no tensor uses any more back to the device.
void release_cached_memory(const Device& device);

/// Copies a CPU tensor to one of the same shape on a device, converting it: in slices through pinned
/// memory where that is faster. Returns when `from` is not needed any more.
void upload(const at::Tensor& from, const at::Tensor& to);

}  // namespace pa
