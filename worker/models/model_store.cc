#include "worker/models/model_store.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "shared/core/units.h"
#include "worker/models/registry.h"
#include "worker/models/tensors.h"
#include "worker/models/torch_errors.h"

namespace pa {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kAnySize = 16;  // Stands for sizes that a model leaves open.

/// One row of zeros of this shape.
at::Tensor zeros(const Shape& shape, c10::Device device) {
  Shape row{1};
  for (const std::int64_t size : shape) row.push_back(size < 0 ? kAnySize : size);
  return at::zeros(row, at::TensorOptions(at::kFloat).device(device));
}

/// Evaluates a model once, with zeros.
Status evaluate(Replica& replica, c10::Device device) {
  const Status done = guarded<void>([&]() -> Status {
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
  if (done.ok()) return done;
  return Error{done.error().code, "model '" + replica.info.name + "': " + done.error().message, {}};
}

/// Whether a path is below a folder, links followed; "" has nothing in it.
bool is_inside(const std::string& path, const std::string& folder) {
  std::error_code error;
  const fs::path real = folder.empty() ? fs::path() : fs::canonical(folder, error);
  if (real.empty() || error) return false;
  const fs::path inner = fs::canonical(path, error);
  if (error) return false;
  return std::mismatch(real.begin(), real.end(), inner.begin(), inner.end()).first == real.end();
}

std::string in_bytes(std::int64_t bytes) {
  return format_bytes(static_cast<std::uint64_t>(std::max<std::int64_t>(bytes, 0)));
}

}  // namespace

ModelStore::ModelStore(Device device, StoreOptions options)
    : device_(std::move(device)), options_(std::move(options)) {}
ModelStore::~ModelStore() = default;

Status ModelStore::load(const std::string& directory, const StoreProgress& progress) {
  const c10::InferenceMode guard;
  std::vector<fs::path> folders;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    std::error_code ignored;
    if (entry.is_directory(ignored) && has_model(entry.path().string())) {
      folders.push_back(entry.path());
    }
  }
  if (error) return invalid("models: " + directory + ": " + error.message());
  if (folders.empty()) {
    return invalid("models: no folder in " + directory +
                   " has a model.yaml or a .safetensors file");
  }
  std::sort(folders.begin(), folders.end());
  if (options_.memory_bytes == 0) {
    const std::int64_t free = free_memory_bytes(device_);
    options_.memory_bytes =
        free < 0 ? std::numeric_limits<std::int64_t>::max() : free / 10 * 9;  // -1: unknown.
  }
  FileHashes hashes(default_hash_cache());
  for (const fs::path& path : folders) {
    const std::string name = path.filename().string();
    const Status read =
        read_folder(path.string(), hashes, [&] { return !progress || progress(name, 0.0); });
    if (read.ok()) continue;
    if (read.error().code == Code::kCancelled) return read;
    broken_.push_back({name, read.error()});
  }
  std::vector<std::string> unusable;
  for (auto& [name, entry] : entries_) {
    if (entry.replica != nullptr) continue;
    if (taken_bytes() + entry.size.owned_bytes > options_.memory_bytes) continue;  // On demand.
    const std::string& model = name;
    const Status loaded = load(entry, [&](std::int64_t done, std::int64_t total) {
      const double part = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1.0;
      return !progress || progress(model, part);
    });
    if (loaded.ok()) continue;
    if (loaded.error().code == Code::kCancelled) return loaded;
    broken_.push_back({name, loaded.error()});
    unusable.push_back(name);
  }
  for (const std::string& name : unusable) entries_.erase(name);
  if (!entries_.empty()) return {};
  std::string why = "models: no model in " + directory + " can be used";
  for (const BrokenModel& model : broken_) why += "\n" + model.error.message;
  return invalid(std::move(why));
}

Status ModelStore::read_folder(const std::string& path, FileHashes& hashes,
                               const std::function<bool()>& go_on) {
  PA_ASSIGN(ModelFolder folder, read_model_folder(path, hashes, go_on));
  if (const auto* plugin = std::get_if<Plugin>(&folder.description.config);
      plugin != nullptr && plugin->kind == PluginKind::kAotInductor &&
      !is_inside(path, options_.compiled_models)) {
    return invalid(path + ": " + plugin->file +
                   " is machine code, which runs as this worker and may do what it may. If you "
                   "trust whoever made it, put the folder into one that the worker's setting "
                   "compiled_models names" +
                   (options_.compiled_models.empty() ? "; it names none"
                                                     : ", which is " + options_.compiled_models));
  }
  const ReplicaSize size = replica_size(folder, device_);
  if (size.owned_bytes > options_.memory_bytes) {
    return overloaded(path + ": the model takes " + in_bytes(size.owned_bytes) + " of memory on " +
                      to_string(device_) + ", where models may take " +
                      in_bytes(options_.memory_bytes));
  }
  const std::string name = folder.info.name;
  Entry entry;
  entry.folder = std::move(folder);
  entry.size = size;
  entries_.emplace(name, std::move(entry));
  return {};
}

std::int64_t ModelStore::taken_bytes() const {
  std::int64_t taken = 0;
  for (const auto& [name, entry] : entries_) {
    if (entry.replica != nullptr) taken += entry.size.owned_bytes;
  }
  return taken;
}

Status ModelStore::make_room(const Entry& entry) {
  while (taken_bytes() + entry.size.owned_bytes > options_.memory_bytes) {
    Entry* oldest = nullptr;
    std::string in_use;
    for (auto& [name, other] : entries_) {
      if (other.replica == nullptr || other.stays) continue;
      if (other.replica.use_count() > 1) {
        in_use += (in_use.empty() ? "'" : ", '") + name + "'";
      } else if (oldest == nullptr || other.last_used < oldest->last_used) {
        oldest = &other;
      }
    }
    if (oldest == nullptr) {
      return overloaded("the model '" + entry.folder.info.name + "' takes " +
                        in_bytes(entry.size.owned_bytes) + ", and of the " +
                        in_bytes(options_.memory_bytes) + " that models may take, " +
                        in_bytes(taken_bytes()) + " are taken by models in use: " + in_use);
    }
    oldest->replica.reset();
    release_cached_memory(device_);
  }
  return {};
}

Status ModelStore::load(Entry& entry, const LoadProgress& progress) {
  const auto began = std::chrono::steady_clock::now();
  PA_TRY(make_room(entry));
  PA_ASSIGN(Replica replica, load_replica(entry.folder, device_, progress));
  PA_TRY(evaluate(replica, torch_device(device_)));
  entry.replica = std::make_shared<Replica>(std::move(replica));
  entry.folder.info = entry.replica->info;
  entry.load_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return {};
}

void ModelStore::add(Replica replica) {
  Entry entry;
  entry.folder.info = replica.info;
  entry.stays = true;
  entry.replica = std::make_shared<Replica>(std::move(replica));
  const std::string name = entry.folder.info.name;
  PA_CHECK(entries_.emplace(name, std::move(entry)).second);
}

std::vector<ModelInfo> ModelStore::infos() const {
  std::vector<ModelInfo> infos;
  for (const auto& entry : entries_) infos.push_back(entry.second.folder.info);
  return infos;
}

std::map<std::string, std::vector<StoredTensor>> ModelStore::weights() const {
  std::map<std::string, std::vector<StoredTensor>> weights;
  for (const auto& [name, entry] : entries_) {
    for (const auto& [tensor_name, tensor] : entry.folder.weights.tensors())
      weights[name].push_back(tensor);
  }
  return weights;
}

std::vector<LoadedModel> ModelStore::loaded() const {
  std::vector<LoadedModel> loaded;
  for (const auto& [name, entry] : entries_) {
    if (entry.replica == nullptr) continue;
    loaded.push_back(
        {name, entry.replica->loras.on(), entry.load_seconds, entry.replica->switch_seconds});
  }
  return loaded;
}

ModelStore::Entry* ModelStore::entry_of(std::string_view model) {
  if (const auto found = entries_.find(model); found != entries_.end()) return &found->second;
  for (auto& [name, entry] : entries_) {
    if (entry.folder.info.identity == model) return &entry;
  }
  return nullptr;
}

Result<std::shared_ptr<Replica>> ModelStore::acquire(std::string_view model) {
  Entry* const entry = entry_of(model);
  if (entry == nullptr) {
    return unavailable("there is no model '" + std::string(model) + "' here");
  }
  if (entry->replica == nullptr) {
    const c10::InferenceMode guard;
    const LoadingMark loading = mark_loading();
    PA_TRY(load(*entry, {}));
  }
  entry->last_used = ++uses_;
  return entry->replica;
}

Replica* ModelStore::find(std::string_view model) {
  Entry* const entry = entry_of(model);
  return entry == nullptr ? nullptr : entry->replica.get();
}

}  // namespace pa
