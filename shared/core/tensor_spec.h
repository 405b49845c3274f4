#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shared/core/result.h"

namespace pa {

/// Element types of tensors in requests, results and weight files. Names are those of the safetensors format.
enum class DType : std::uint8_t {
  kBool,
  kU8,
  kI8,
  kI16,
  kI32,
  kI64,
  kF16,
  kBF16,
  kF32,
  kF64,
  kF8E4M3,
  kF8E5M2,
  kU16,
  kU32,
  kU64
};

/// Bytes of one element: 1, 2, 4 or 8.
[[nodiscard]] std::uint64_t size_of(DType dtype);

/// "F32", "BF16", "F8_E4M3", ...
[[nodiscard]] std::string_view name_of(DType dtype);
[[nodiscard]] std::optional<DType> dtype_named(std::string_view name);

/// Dimensions, outermost first. A tensor with no dimension is a scalar.
using Shape = std::vector<std::int64_t>;

/// "[21, 16, 128, 128]".
[[nodiscard]] std::string to_string(const Shape& shape);

/// Product of the dimensions; nullopt if one is negative or the product exceeds 2^63-1.
[[nodiscard]] std::optional<std::int64_t> element_count(std::span<const std::int64_t> shape);

/// What a tensor is, without its contents: dense, row-major, little-endian.
struct TensorSpec {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;

  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;
};

/// Bytes of the whole tensor. kInvalid if a dimension is negative or the size overflows 63 bits.
[[nodiscard]] Result<std::uint64_t> byte_size(const TensorSpec& spec);

/// Bytes of one row, that is of everything but axis 0. kInvalid as byte_size, and for a scalar.
[[nodiscard]] Result<std::uint64_t> row_bytes(const TensorSpec& spec);

}  // namespace pa
