#include "worker/models/model_store.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "worker/models/model_folder.h"
#include "worker/models/registry.h"
#include "worker/models/replica.h"
#include "worker/models/tensors.h"
#include "worker/models/torch_errors.h"

namespace pa {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kAnySize = 16;  // Stands for sizes that a model leaves open.

bool has_model(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const fs::path& file = entry.path();
    if (file.filename() == "model.yaml" || file.extension() == ".safetensors") return true;
  }
  return false;
}

/// One row of zeros of this shape.
at::Tensor zeros(const Shape& shape, c10::Device device) {
  Shape row{1};
  for (const std::int64_t size : shape) row.push_back(size < 0 ? kAnySize : size);
  return at::zeros(row, at::TensorOptions(at::kFloat).device(device));
}

Status evaluate(Replica& replica, c10::Device device) {
  return guarded<void>([&]() -> Status {
    Rows rows;
    rows.x = zeros(replica.info.latent, device);
    rows.sigma = at::ones({1}, at::TensorOptions(at::kFloat).device(device));
    rows.level = rows.sigma;
    for (const InputSpec& input : replica.network->input_contract()) {
      rows.inputs[input.name] = zeros(input.shape, device);
    }
    PA_ASSIGN(const at::Tensor answer, replica.network->forward(rows));
    if (answer.sizes() != rows.x.sizes() || !at::isfinite(answer).all().item<bool>()) {
      return internal("its answer to a first evaluation is of another shape or not finite");
    }
    return {};
  });
}

}  // namespace

ModelStore::ModelStore(Device device) : device_(std::move(device)) {}
ModelStore::~ModelStore() = default;

Status ModelStore::load(const std::string& directory) {
  const c10::InferenceMode guard;
  std::vector<fs::path> folders;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    std::error_code ignored;
    if (entry.is_directory(ignored) && has_model(entry.path())) folders.push_back(entry.path());
  }
  if (error) return invalid("models: " + directory + ": " + error.message());
  if (folders.empty()) {
    return invalid("models: no folder in " + directory +
                   " has a model.yaml or a .safetensors file");
  }
  std::sort(folders.begin(), folders.end());
  for (const fs::path& path : folders) {
    PA_ASSIGN(const ModelFolder folder, read_model_folder(path.string()));
    PA_ASSIGN(Replica replica, load_replica(folder, device_));
    add(std::move(replica));
  }
  return {};
}

void ModelStore::add(Replica replica) {
  const std::string name = replica.info.name;
  const bool added = replicas_.emplace(name, std::make_unique<Replica>(std::move(replica))).second;
  PA_CHECK(added);
}

Status ModelStore::warm_up() {
  const c10::InferenceMode guard;
  for (const auto& [name, replica] : replicas_) {
    if (const Status done = evaluate(*replica, torch_device(device_)); !done.ok()) {
      return Error{done.error().code, "model '" + name + "': " + done.error().message, {}};
    }
  }
  return {};
}

std::vector<ModelInfo> ModelStore::infos() const {
  std::vector<ModelInfo> infos;
  for (const auto& entry : replicas_) infos.push_back(entry.second->info);
  return infos;
}

Replica* ModelStore::find(std::string_view model) {
  if (const auto found = replicas_.find(model); found != replicas_.end()) {
    return found->second.get();
  }
  for (const auto& entry : replicas_) {
    if (entry.second->info.identity == model) return entry.second.get();
  }
  return nullptr;
}

}  // namespace pa
