#include "worker/models/weights.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "worker/models/device.h"
#include "worker/models/tensors.h"
#include "worker/models/torch_errors.h"

namespace pa {
namespace {

/// Of a stored tensor, converted at a time.
constexpr std::int64_t kSliceBytes = std::int64_t{16} << 20;

/// Whether a parameter is a stored tensor as it is, in this dtype.
bool is_stored_as(const ParameterSource& source, at::ScalarType dtype) {
  if (source.pieces.size() != 1) return false;
  const WeightPiece& piece = source.pieces.front();
  const TensorSpec& spec = piece.tensor->view.spec;
  const std::int64_t rows = spec.shape.empty() ? 1 : spec.shape.front();
  return piece.scale == nullptr && piece.rows == rows && torch_dtype(spec.dtype) == dtype;
}

bool is_aligned(const StoredTensor& tensor) {
  const auto address = reinterpret_cast<std::uintptr_t>(tensor.view.bytes.data());
  return address % size_of(tensor.view.spec.dtype) == 0;
}

at::Tensor alias(const StoredTensor& tensor) {
  return pa::alias(tensor.view.spec, tensor.view.bytes, tensor.owner);
}

/// Copies rows of a stored tensor to where they belong, in slices.
void copy_rows(const WeightPiece& piece, const at::Tensor& out) {
  const StoredTensor& tensor = *piece.tensor;
  TensorSpec spec = tensor.view.spec;
  if (spec.shape.empty()) spec.shape = {1};
  const std::int64_t row_bytes = static_cast<std::int64_t>(tensor.view.bytes.size()) /
                                 std::max<std::int64_t>(spec.shape[0], 1);
  const std::int64_t most =
      std::max<std::int64_t>(kSliceBytes / std::max<std::int64_t>(row_bytes, 1), 1);
  for (std::int64_t row = 0; row < piece.rows; row += most) {
    const std::int64_t rows = std::min(most, piece.rows - row);
    const std::span<const std::byte> bytes =
        tensor.view.bytes.subspan(static_cast<std::size_t>((piece.first_row + row) * row_bytes),
                                  static_cast<std::size_t>(rows * row_bytes));
    TensorSpec slice = spec;
    slice.shape[0] = rows;
    upload(pa::alias(slice, bytes, tensor.owner), out.narrow(0, row, rows));
    forget_pages(bytes);
  }
  if (piece.scale != nullptr) out.mul_(alias(*piece.scale).item<float>());
}

}  // namespace

Result<std::unique_ptr<Weights>> Weights::load(WeightIndex files, Blueprint blueprint,
                                               Naming naming, c10::Device device,
                                               at::ScalarType dtype, const LoadProgress& progress) {
  std::unique_ptr<Weights> weights(
      new Weights(std::move(files), std::move(blueprint), device, dtype));
  weights->match_ = match_weights(weights->blueprint_, weights->files_, naming);
  PA_TRY(weights->match_.status());
  const auto bytes_of = [](const ParameterSource& source) {
    std::int64_t bytes = 0;
    for (const WeightPiece& piece : source.pieces) {
      bytes += static_cast<std::int64_t>(piece.tensor->view.bytes.size());
    }
    return bytes;
  };
  std::int64_t total = 0;
  std::int64_t done = 0;
  for (const ParameterSource& source : weights->match_.sources) total += bytes_of(source);
  for (const ParameterSource& source : weights->match_.sources) {
    if (progress && !progress(done, total)) {
      return Error{Code::kCancelled, "loading was cancelled", {}};
    }
    const Status loaded = guarded<void>([&]() -> Status {
      Entry entry{&source, {}, false};
      const StoredTensor& first = *source.pieces.front().tensor;
      if (device.is_cpu() && is_stored_as(source, dtype) && is_aligned(first)) {
        entry.value = alias(first);
        entry.aliased = true;
      } else {
        entry.value = at::empty(source.parameter->shape, at::TensorOptions(dtype).device(device));
        weights->fill(source, entry.value);
      }
      weights->entries_.emplace(source.parameter->name, std::move(entry));
      return {};
    });
    if (!loaded.ok()) {
      return Error{loaded.error().code,
                   "tensor '" + source.parameter->name + "': " + loaded.error().message,
                   {}};
    }
    done += bytes_of(source);
  }
  if (progress && !progress(total, total)) {
    return Error{Code::kCancelled, "loading was cancelled", {}};
  }
  return weights;
}

void Weights::fill(const ParameterSource& source, const at::Tensor& out) const {
  const bool scaled = std::any_of(source.pieces.begin(), source.pieces.end(),
                                  [](const WeightPiece& piece) { return piece.scale != nullptr; });
  // A scale is applied in F32, then rounded once.
  const bool detour = scaled && out.scalar_type() != at::kFloat;
  const at::Tensor target = detour ? at::empty_like(out, at::kFloat) : out;
  const at::Tensor rows = target.dim() == 0 ? target.view({1}) : target;
  std::int64_t row = 0;
  for (const WeightPiece& piece : source.pieces) {
    copy_rows(piece, rows.narrow(0, row, piece.rows));
    row += piece.rows;
  }
  if (detour) at::Tensor(out).copy_(target);
}

Weights::Entry& Weights::entry(std::string_view name) {
  const auto found = entries_.find(name);
  PA_CHECK(found != entries_.end());
  return found->second;
}

const Weights::Entry& Weights::entry(std::string_view name) const {
  const auto found = entries_.find(name);
  PA_CHECK(found != entries_.end());
  return found->second;
}

const at::Tensor* Weights::find(std::string_view name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second.value;
}

const at::Tensor* Weights::at(std::string_view name) const { return &entry(name).value; }

at::Tensor Weights::stored(std::string_view name) const {
  const ParameterSource& source = *entry(name).source;
  at::Tensor values =
      at::empty(source.parameter->shape, at::TensorOptions(at::kFloat).device(device_));
  fill(source, values);
  return values;
}

void Weights::replace(std::string_view name, const at::Tensor& values) {
  Entry& changed = entry(name);
  if (changed.aliased) {
    changed.value = values.to(dtype_).contiguous();
  } else {
    changed.value.copy_(values);
  }
}

void Weights::restore(std::string_view name) {
  Entry& changed = entry(name);
  if (changed.aliased) {
    changed.value = alias(*changed.source->pieces.front().tensor);
  } else {
    fill(*changed.source, changed.value);
  }
}

ReplicaSize replica_size(const WeightMatch& match, bool on_cpu, at::ScalarType dtype) {
  ReplicaSize size;
  for (const ParameterSource& source : match.sources) {
    const std::int64_t elements = element_count(source.parameter->shape).value_or(0);
    const auto bytes = elements * static_cast<std::int64_t>(c10::elementSize(dtype));
    if (on_cpu && is_stored_as(source, dtype) && is_aligned(*source.pieces.front().tensor)) {
      size.aliased_bytes += bytes;
    } else {
      size.owned_bytes += bytes;
    }
  }
  return size;
}

}  // namespace pa
