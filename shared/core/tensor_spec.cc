#include "shared/core/tensor_spec.h"

#include <array>
#include <limits>

namespace pa {
namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
  std::uint64_t bytes;
};

constexpr std::array<DTypeRow, 15> kDTypes{{
    {DType::kBool, "BOOL", 1},
    {DType::kU8, "U8", 1},
    {DType::kI8, "I8", 1},
    {DType::kI16, "I16", 2},
    {DType::kI32, "I32", 4},
    {DType::kI64, "I64", 8},
    {DType::kF16, "F16", 2},
    {DType::kBF16, "BF16", 2},
    {DType::kF32, "F32", 4},
    {DType::kF64, "F64", 8},
    {DType::kF8E4M3, "F8_E4M3", 1},
    {DType::kF8E5M2, "F8_E5M2", 1},
    {DType::kU16, "U16", 2},
    {DType::kU32, "U32", 4},
    {DType::kU64, "U64", 8},
}};

const DTypeRow& row_of(DType dtype) {
  for (const DTypeRow& row : kDTypes) {
    if (row.dtype == dtype) return row;
  }
  broken(__FILE__, __LINE__, "a DType outside the enumeration");
}

Error too_large(const TensorSpec& spec) {
  return invalid("tensor '" + spec.name + "' has shape " + to_string(spec.shape) +
                 ": dimensions must be 0 or more and the size must fit 63 bits");
}

}  // namespace

std::uint64_t size_of(DType dtype) { return row_of(dtype).bytes; }

std::string_view name_of(DType dtype) { return row_of(dtype).name; }

std::optional<DType> dtype_named(std::string_view name) {
  for (const DTypeRow& row : kDTypes) {
    if (row.name == name) return row.dtype;
  }
  return std::nullopt;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

std::optional<std::int64_t> element_count(std::span<const std::int64_t> shape) {
  std::int64_t count = 1;
  for (const std::int64_t dimension : shape) {
    if (dimension < 0) return std::nullopt;
    if (__builtin_mul_overflow(count, dimension, &count)) return std::nullopt;
  }
  return count;
}

Result<std::uint64_t> byte_size(const TensorSpec& spec) {
  const std::optional<std::int64_t> count = element_count(spec.shape);
  std::int64_t bytes = 0;
  if (!count ||
      __builtin_mul_overflow(*count, static_cast<std::int64_t>(size_of(spec.dtype)), &bytes)) {
    return too_large(spec);
  }
  return static_cast<std::uint64_t>(bytes);
}

Result<std::uint64_t> row_bytes(const TensorSpec& spec) {
  if (spec.shape.empty()) return invalid("tensor '" + spec.name + "' is a scalar and has no rows");
  return byte_size({spec.name, spec.dtype, Shape(spec.shape.begin() + 1, spec.shape.end())});
}

}  // namespace pa
