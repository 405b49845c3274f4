#include "worker/models/loras.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>

#include "shared/core/nearest.h"
#include "worker/models/tensors.h"
#include "worker/models/torch_errors.h"

namespace pa {
namespace {

constexpr std::size_t kToldLayers = 5;

at::Tensor read(const TensorView& view, const SafetensorsFile& file, c10::Device device) {
  return alias(view.spec, view.bytes, file.keep_alive()).to(device, at::kFloat);
}

/// As a matrix: convolutions' kernels are part of the columns.
at::Tensor matrix(const at::Tensor& tensor) { return tensor.flatten(1); }

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kToldLayers); ++i) {
    text += (i > 0 ? ", '" : "'") + names[i] + "'";
  }
  if (names.size() > kToldLayers) {
    text += " and " + std::to_string(names.size() - kToldLayers) + " more";
  }
  return text;
}

}  // namespace

Result<const Loras::Opened*> Loras::open(const LoraRef& lora, const std::string& field) {
  const auto file = std::find_if(files_.begin(), files_.end(), [&](const LoraFile& f) {
    return f.name == lora.name || f.identity == lora.name;
  });
  if (file == files_.end()) {
    std::vector<std::string> names;
    for (const LoraFile& f : files_) names.push_back(f.name);
    return invalid("the model has no LoRA '" + lora.name + "'" + suggestion(lora.name, names),
                   field + "/name");
  }
  std::unique_ptr<Opened>& opened = opened_[file->path];
  if (opened == nullptr) {
    const auto refuse = [&](const std::string& why) {
      return invalid("the LoRA '" + file->name + "': " + why, field + "/name");
    };
    Result<SafetensorsFile> mapped = SafetensorsFile::open(file->path);
    if (!mapped.ok()) return refuse(mapped.error().message);
    Result<LoraMatch> match = match_lora(mapped->tensors(), weights_->blueprint());
    if (!match.ok()) return refuse(match.error().message);
    if (!match->problems.empty()) return refuse(match->problems.front());
    opened = std::make_unique<Opened>(Opened{std::move(mapped).value(), std::move(match).value()});
  }
  if (opened->match.layers.empty()) {
    return invalid("the LoRA '" + file->name + "' has no layer for this network", field + "/name");
  }
  if (!lora.allow_unmatched && !opened->match.unmatched.empty()) {
    return invalid("the LoRA '" + file->name + "' has layers that this network does not: " +
                       listed(opened->match.unmatched) + "; with allow_unmatched they are left out",
                   field + "/name");
  }
  return opened.get();
}

Status Loras::check(const std::vector<LoraRef>& set) {
  for (std::size_t i = 0; i < set.size(); ++i) {
    PA_TRY(open(set[i], "/loras/" + std::to_string(i)));
  }
  return {};
}

void Loras::apply(const std::vector<LoraRef>& set) {
  struct Change {
    const Opened* file;
    const LoraLayer* layer;
    double strength;
  };
  std::map<std::string, std::vector<Change>> changes;  // By parameter, in the order of the set.
  for (const LoraRef& lora : set) {
    const Opened* const opened = open(lora, "").value();
    for (const LoraLayer& layer : opened->match.layers) {
      changes[layer.parameter].push_back({opened, &layer, lora.strength});
    }
  }
  for (const std::string& name : changed_) {
    if (!changes.contains(name)) weights_->restore(name);
  }
  const std::vector<std::string> before = std::exchange(changed_, {});
  changed_.reserve(changes.size() + before.size());
  for (const auto& entry : changes) changed_.push_back(entry.first);
  // Until all is well, whatever was changed is to be restored.
  changed_.insert(changed_.end(), before.begin(), before.end());
  for (const auto& [name, of_parameter] : changes) {
    const at::Tensor values = weights_->stored(name);
    const at::Tensor rows = matrix(values);
    for (const Change& change : of_parameter) {
      const at::Tensor down = matrix(read(*change.layer->down, change.file->file, rows.device()));
      const at::Tensor up = matrix(read(*change.layer->up, change.file->file, rows.device()));
      double scale = change.strength;
      if (change.layer->alpha != nullptr) {
        const double alpha = read(*change.layer->alpha, change.file->file, at::kCPU).item<double>();
        scale *= alpha / static_cast<double>(down.size(0));
      }
      const at::Tensor product = at::mm(up, down);
      for (const LoraRows& part : change.layer->rows) {
        rows.narrow(0, part.to, part.count).add_(product.narrow(0, part.from, part.count), scale);
      }
    }
    weights_->replace(name, values);
  }
  changed_.clear();
  for (const auto& entry : changes) changed_.push_back(entry.first);
}

Result<bool> Loras::put_on(const std::vector<LoraRef>& set) {
  const std::string text = key_of(set);
  if (text == on_) return false;
  PA_TRY(check(set));
  const Status applied = guarded<void>([&]() -> Status {
    apply(set);
    return {};
  });
  if (applied.ok()) {
    on_ = text;
    return true;
  }
  for (const std::string& name : changed_) weights_->restore(name);
  changed_.clear();
  on_.clear();
  return applied.error();
}

}  // namespace pa
