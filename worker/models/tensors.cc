#include "worker/models/tensors.h"

#include <ATen/ATen.h>

#include <cstdint>
#include <cstring>

namespace pa {

c10::Device torch_device(const Device& device) {
  if (device.kind == "cpu") return c10::Device(c10::kCPU);
  return c10::Device(to_string(device));
}

at::ScalarType torch_dtype(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return at::kBool;
    case DType::kU8:
      return at::kByte;
    case DType::kI8:
      return at::kChar;
    case DType::kI16:
      return at::kShort;
    case DType::kI32:
      return at::kInt;
    case DType::kI64:
      return at::kLong;
    case DType::kF16:
      return at::kHalf;
    case DType::kBF16:
      return at::kBFloat16;
    case DType::kF32:
      return at::kFloat;
    case DType::kF64:
      return at::kDouble;
    case DType::kF8E4M3:
      return at::kFloat8_e4m3fn;
    case DType::kF8E5M2:
      return at::kFloat8_e5m2;
    case DType::kU16:
      return at::kUInt16;
    case DType::kU32:
      return at::kUInt32;
    case DType::kU64:
      return at::kUInt64;
  }
  broken(__FILE__, __LINE__, "a dtype beyond the list");
}

at::Tensor alias(const TensorSpec& spec, std::span<const std::byte> bytes,
                 std::shared_ptr<const void> owner) {
  const at::TensorOptions options = at::TensorOptions(torch_dtype(spec.dtype));
  const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
  if (bytes.empty() || address % size_of(spec.dtype) != 0) {
    at::Tensor copy = at::empty(spec.shape, options);
    if (!bytes.empty()) std::memcpy(copy.data_ptr(), bytes.data(), bytes.size());
    return copy;
  }
  void* const data = const_cast<std::byte*>(bytes.data());  // NOLINT: from_blob takes no const.
  return at::from_blob(
      data, spec.shape, [owner = std::move(owner)](void*) {}, options);
}

Buffer buffer_of(const at::Tensor& tensor) {
  PA_CHECK(tensor.is_contiguous() && tensor.is_cpu());
  auto owner = std::make_shared<at::Tensor>(tensor);
  auto* const data = static_cast<std::byte*>(tensor.data_ptr());
  return {std::shared_ptr<std::byte>(std::move(owner), data), tensor.nbytes()};
}

}  // namespace pa
