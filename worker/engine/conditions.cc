#include "worker/engine/conditions.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "shared/core/nearest.h"
#include "shared/wire/buffer_pool.h"
#include "worker/models/tensors.h"

namespace pa {
namespace {

/// Whether `a` and `b` are the same tensor, not just equal ones.
bool same(const at::Tensor& a, const at::Tensor& b) { return a.is_same(b); }

bool is_number(std::string_view text) {
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
}

Status check_shape(const std::string& name, const at::Tensor& tensor, const InputSpec& input,
                   std::int64_t rows) {
  const at::IntArrayRef sizes = tensor.sizes();
  const bool scalar =
      input.shape.empty() && !sizes.empty() && tensor.numel() == sizes[0];  // [n, 1] for [n]
  const bool row_fits =
      scalar ||
      (!sizes.empty() &&
       std::equal(sizes.begin() + 1, sizes.end(), input.shape.begin(), input.shape.end(),
                  [](std::int64_t got, std::int64_t want) { return want < 0 || got == want; }));
  if (row_fits && (sizes[0] == 1 || sizes[0] == rows) && at::isFloatingType(tensor.scalar_type())) {
    return {};
  }
  return invalid("the tensor '" + name + "' is " + c10::toString(tensor.scalar_type()) + " " +
                     to_string(sizes.vec()) + "; expected 1 or " + std::to_string(rows) +
                     " rows of floating-point " + to_string(input.shape),
                 "/tensors/" + name);
}

/// One buffer of all pieces, of which there is at least one: a copy if there are more.
Result<Buffer> join(const std::vector<Buffer>& pieces) {
  if (pieces.size() == 1) return pieces.front();
  std::uint64_t bytes = 0;
  for (const Buffer& piece : pieces) bytes += piece.size();
  Buffer whole = BufferPool(0).allocate(bytes);
  if (whole.empty()) return overloaded("no memory for a shard's tensors");
  std::byte* end = whole.data();
  for (const Buffer& piece : pieces) {
    std::memcpy(end, piece.data(), piece.size());
    end += piece.size();
  }
  return whole;
}

/// Numbers may be given as [n, 1].
at::Tensor as_rows(const at::Tensor& tensor, const InputSpec& input) {
  return input.shape.empty() ? tensor.flatten() : tensor;
}

}  // namespace

bool are_consecutive(const std::vector<RowRef>& rows) {
  std::int64_t next = rows.front().first;
  return std::all_of(rows.begin(), rows.end(), [&](const RowRef& row) {
    return same(row.base, rows.front().base) && row.first == next++;
  });
}

at::Tensor gather(const std::vector<RowRef>& rows) {
  const auto count = std::ssize(rows);
  const RowRef& first = rows.front();
  const bool one = std::all_of(rows.begin(), rows.end(), [&](const RowRef& row) {
    return same(row.base, first.base) && row.first == first.first;
  });
  if (are_consecutive(rows)) return first.base.narrow(0, first.first, count);
  if (one) {
    Shape shape = first.base.sizes().vec();
    shape[0] = count;
    return first.base.narrow(0, first.first, 1).expand(shape);
  }
  std::vector<at::Tensor> parts;
  parts.reserve(rows.size());
  for (const RowRef& row : rows) parts.push_back(row.base.narrow(0, row.first, 1));
  return at::cat(parts, 0);
}

Result<ShardTensors> ShardTensors::of(const ShardJob& job) {
  PA_ASSIGN(const InputLayout layout, input_layout(job.tensors));
  const bool in_pieces = !job.pieces.empty();
  if (in_pieces && job.pieces.size() != job.tensors.size()) {
    return invalid("the shard has " + std::to_string(job.tensors.size()) +
                   " tensors, but pieces of " + std::to_string(job.pieces.size()));
  }
  if (!in_pieces && layout.total > job.inputs.size()) {
    return invalid("the shard's tensors take " + std::to_string(layout.total) +
                   " bytes, but there are " + std::to_string(job.inputs.size()));
  }
  ShardTensors tensors;
  for (std::size_t i = 0; i < job.tensors.size(); ++i) {
    PA_ASSIGN(const std::uint64_t bytes, byte_size(job.tensors[i]));
    Buffer whole;
    if (in_pieces && !job.pieces[i].empty()) {
      PA_ASSIGN(whole, join(job.pieces[i]));
    } else if (!in_pieces) {
      whole = job.inputs.slice(layout.offsets[i], bytes);
    }
    if (whole.size() != bytes) {
      return invalid("the tensor '" + job.tensors[i].name + "' needs " + std::to_string(bytes) +
                     " bytes, but there are " + std::to_string(whole.size()));
    }
    tensors.tensors_.emplace(job.tensors[i].name,
                             alias(job.tensors[i], whole.bytes(), whole.owner()));
  }
  return tensors;
}

at::Tensor ShardTensors::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? at::Tensor() : found->second;
}

Result<Conditioning> Conditioning::of_tensors(const Replica& replica, const ShardJob& job,
                                              const ShardTensors& tensors,
                                              const std::string& prefix, const std::string& field,
                                              c10::Device device) {
  const std::vector<InputSpec>& inputs = replica.network->input_contract();
  std::vector<std::string> names;
  for (const InputSpec& input : inputs) names.push_back(input.name);
  for (const auto& [name, tensor] : tensors.all()) {
    if (!name.starts_with(prefix + ".")) continue;
    std::string input = name.substr(prefix.size() + 1);
    const std::size_t dot = input.rfind('.');
    if (dot != std::string::npos && is_number(std::string_view(input).substr(dot + 1))) {
      input.resize(dot);
    }
    if (std::find(names.begin(), names.end(), input) == names.end()) {
      return invalid("the model '" + replica.info.name + "' has no input '" + input +
                         "' for the tensor '" + name + "'" + suggestion(input, names),
                     field);
    }
  }

  Conditioning conditioning;
  const auto rows = std::ssize(job.samples);
  conditioning.rows_.resize(job.samples.size());
  for (const InputSpec& input : inputs) {
    const std::string name = prefix + "." + input.name;
    at::Tensor whole = tensors.find(name);
    if (whole.defined()) {
      PA_TRY(check_shape(name, whole, input, rows));
      whole = as_rows(whole, input).to(device, torch_dtype(input.dtype));
    }
    for (std::int64_t i = 0; i < rows; ++i) {
      RowRef ref{whole, 0};
      if (whole.defined()) {
        ref.first = whole.size(0) == 1 ? 0 : i;
      } else {
        const std::string own =
            name + "." + std::to_string(job.samples[static_cast<std::size_t>(i)]);
        ref.base = tensors.find(own);
        if (!ref.base.defined()) {
          if (!input.required) continue;
          return invalid("the model '" + replica.info.name + "' needs the input '" + input.name +
                             "': expected a tensor '" + name + "' with rows of " +
                             to_string(input.shape),
                         field);
        }
        PA_TRY(check_shape(own, ref.base, input, 1));
        ref.base = as_rows(ref.base, input).to(device, torch_dtype(input.dtype));
      }
      conditioning.rows_[static_cast<std::size_t>(i)].emplace(input.name, std::move(ref));
    }
  }
  return conditioning;
}

Result<Conditioning> Conditioning::of_labels(const Replica& replica,
                                             const std::vector<std::string>& labels) {
  Conditioning conditioning;
  for (const std::string& label : labels) {
    const auto found = replica.labels.find(label);
    if (found == replica.labels.end()) {
      return invalid("the model '" + replica.info.name + "' has no label '" + label + "'" +
                         suggestion(label, replica.info.labels),
                     "/labels");
    }
    std::map<std::string, RowRef>& row = conditioning.rows_.emplace_back();
    for (const auto& [name, tensor] : found->second) row.emplace(name, RowRef{tensor, 0});
  }
  return conditioning;
}

}  // namespace pa
