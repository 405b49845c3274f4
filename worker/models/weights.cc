#include "worker/models/weights.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "shared/core/nearest.h"
#include "worker/models/tensors.h"

namespace pa {
namespace {

constexpr std::size_t kMaxMistakes = 20;

bool is_floating(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
         dtype == DType::kF64;
}

}  // namespace

Result<WeightFiles> WeightFiles::of(std::vector<SafetensorsFile> files) {
  WeightFiles weights;
  weights.files_ = std::move(files);
  const bool prefixed =
      std::any_of(weights.files_.begin(), weights.files_.end(), [](const SafetensorsFile& file) {
        return std::any_of(
            file.tensors().begin(), file.tensors().end(),
            [](const TensorView& view) { return view.spec.name.starts_with(kPrefix); });
      });
  for (const SafetensorsFile& file : weights.files_) {
    for (const TensorView& view : file.tensors()) {
      std::string_view name = view.spec.name;
      if (prefixed) {
        // A whole checkpoint: text encoders and the image codec beside the network are not ours.
        if (!name.starts_with(kPrefix)) continue;
        name.remove_prefix(kPrefix.size());
      }
      if (!weights.entries_.emplace(name, Entry{&view, file.keep_alive()}).second) {
        return invalid(file.path() + ": tensor '" + view.spec.name + "' is also in another file");
      }
    }
  }
  return weights;
}

const TensorView* WeightFiles::find(std::string_view name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : found->second.view;
}

std::int64_t WeightFiles::size(std::string_view name, std::size_t axis) const {
  const TensorView* const view = find(name);
  return view == nullptr || axis >= view->spec.shape.size() ? -1 : view->spec.shape[axis];
}

std::int64_t WeightFiles::count(std::string_view prefix) const {
  std::int64_t n = 0;
  while (true) {
    const std::string start = std::string(prefix) + std::to_string(n) + ".";
    const auto at = entries_.lower_bound(start);
    if (at == entries_.end() || !at->first.starts_with(start)) return n;
    ++n;
  }
}

std::vector<std::string> WeightFiles::names() const {
  std::vector<std::string> names;
  names.reserve(entries_.size());
  for (const auto& entry : entries_) names.push_back(entry.first);
  return names;
}

at::Tensor WeightReader::take(const std::string& name, const Shape& shape) {
  taken_.insert(name);
  const auto found = files_.entries_.find(name);
  if (found == files_.entries_.end()) {
    missing_.push_back(name);
    return {};
  }
  const TensorSpec& spec = found->second.view->spec;
  if (spec.shape != shape) {
    mistakes_.push_back("tensor '" + name + "' is " + to_string(spec.shape) + "; expected " +
                        to_string(shape));
    return {};
  }
  if (!is_floating(spec.dtype)) {
    mistakes_.push_back("tensor '" + name + "' is " + std::string(name_of(spec.dtype)) +
                        "; this version reads F32, F16, BF16 and F64 weights");
    return {};
  }
  at::Tensor stored = alias(spec, found->second.view->bytes, found->second.owner);
  parameters_ += stored.numel();
  return stored.to(device_, dtype_);
}

Status WeightReader::finish() const {
  std::vector<std::string> extra;
  for (const auto& entry : files_.entries_) {
    if (!taken_.contains(entry.first)) extra.push_back(entry.first);
  }
  std::vector<std::string> lines;
  for (const std::string& name : missing_) {
    const std::string_view near = nearest(name, extra);
    lines.push_back("tensor '" + name + "' is missing" +
                    (near.empty() ? "" : "; the nearest is '" + std::string(near) + "'"));
  }
  lines.insert(lines.end(), mistakes_.begin(), mistakes_.end());
  const std::vector<std::string> known(taken_.begin(), taken_.end());
  for (const std::string& name : extra) {
    const std::string_view near = nearest(name, known);
    lines.push_back("tensor '" + name + "' has no place in this network" +
                    (near.empty() ? "" : "; the nearest is '" + std::string(near) + "'"));
  }
  if (lines.empty()) return {};
  std::string text;
  for (std::size_t i = 0; i < std::min(lines.size(), kMaxMistakes); ++i) {
    text += (i > 0 ? "\n" : "") + lines[i];
  }
  if (lines.size() > kMaxMistakes) {
    text += "\nand " + std::to_string(lines.size() - kMaxMistakes) + " more";
  }
  return invalid(std::move(text));
}

}  // namespace pa
