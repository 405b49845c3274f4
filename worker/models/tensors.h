#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <span>

#include "shared/core/buffer.h"
#include "shared/core/tensor_spec.h"
#include "worker/models/device.h"

/// Between our bytes and LibTorch's tensors.
namespace pa {

[[nodiscard]] c10::Device torch_device(const Device& device);

/// The element type of the same layout.
[[nodiscard]] at::ScalarType torch_dtype(DType dtype);

/// A CPU tensor over `bytes`, without a copy, which keeps `owner` alive; a copy of them if they are
/// not aligned for the dtype. Nobody may write to it if the bytes are read-only.
///
/// bytes.size() must be byte_size(spec).
[[nodiscard]] at::Tensor alias(const TensorSpec& spec, std::span<const std::byte> bytes,
                               std::shared_ptr<const void> owner);

/// The bytes of a contiguous CPU tensor, without a copy, which keep it alive.
[[nodiscard]] Buffer buffer_of(const at::Tensor& tensor);

}  // namespace pa
