#include "shared/models/weight_index.h"

#include <algorithm>
#include <array>

namespace pa {
namespace {

/// Under which networks are found in files that hold more, the longer ones first.
constexpr std::array<std::string_view, 2> kPrefixes{"model.diffusion_model.", "diffusion_model."};

}  // namespace

void WeightIndex::find_prefix(const std::vector<const TensorView*>& views) {
  for (const std::string_view prefix : kPrefixes) {
    const bool found = std::any_of(views.begin(), views.end(), [&](const TensorView* view) {
      return view->spec.name.starts_with(prefix);
    });
    if (!found) continue;
    prefix_ = prefix;
    return;
  }
}

Status WeightIndex::add(const TensorView& view, std::shared_ptr<const void> owner,
                        const std::string& where) {
  std::string_view name = view.spec.name;
  if (!name.starts_with(prefix_)) {
    others_.emplace(name);
    return {};
  }
  name.remove_prefix(prefix_.size());
  if (!tensors_.emplace(name, StoredTensor{view, std::move(owner)}).second) {
    return invalid(where + "tensor '" + view.spec.name + "' is also in another file");
  }
  return {};
}

Result<WeightIndex> WeightIndex::of(const std::vector<SafetensorsFile>& files) {
  WeightIndex index;
  std::vector<const TensorView*> views;
  for (const SafetensorsFile& file : files) {
    for (const TensorView& view : file.tensors()) views.push_back(&view);
  }
  index.find_prefix(views);
  for (const SafetensorsFile& file : files) {
    for (const TensorView& view : file.tensors()) {
      PA_TRY(index.add(view, file.keep_alive(), file.path() + ": "));
    }
  }
  return index;
}

Result<WeightIndex> WeightIndex::of(const std::vector<TensorSpec>& specs) {
  WeightIndex index;
  std::vector<TensorView> views;
  views.reserve(specs.size());
  for (const TensorSpec& spec : specs) views.push_back({spec, {}});
  std::vector<const TensorView*> pointers;
  pointers.reserve(views.size());
  for (const TensorView& view : views) pointers.push_back(&view);
  index.find_prefix(pointers);
  for (const TensorView& view : views) PA_TRY(index.add(view, nullptr, ""));
  return index;
}

const StoredTensor* WeightIndex::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

std::int64_t WeightIndex::size(std::string_view name, std::size_t axis) const {
  const StoredTensor* const tensor = find(name);
  if (tensor == nullptr || axis >= tensor->view.spec.shape.size()) return -1;
  return tensor->view.spec.shape[axis];
}

std::int64_t WeightIndex::count(std::string_view prefix) const {
  std::int64_t n = 0;
  while (true) {
    const std::string start = std::string(prefix) + std::to_string(n) + ".";
    const auto at = tensors_.lower_bound(start);
    if (at == tensors_.end() || !at->first.starts_with(start)) return n;
    ++n;
  }
}

bool WeightIndex::has_marker(std::string_view name) const {
  return others_.contains(name) || has(name);
}

}  // namespace pa
