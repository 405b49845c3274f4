#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shared/core/model_info.h"
#include "shared/core/result.h"
#include "shared/models/model_folder.h"
#include "worker/models/device.h"
#include "worker/models/replica.h"

namespace pa {

struct StoreOptions {
  /// Device memory that replicas may take together; 0: nine tenths of what is free when the first
  /// folder is read. On a CPU, weights that alias their files are not counted.
  std::int64_t memory_bytes = 0;
  /// Models that run machine code of their own (aotinductor) must be in this folder; empty: there are none.
  std::string compiled_models = {};
  /// Set while the store, or whoever holds a LoadingMark of it, reads files; nullptr: nobody asks.
  std::atomic<bool>* loading = nullptr;
};

/// Says for as long as it lives that files are being read. See StoreOptions::loading.
class LoadingMark {
 public:
  explicit LoadingMark(std::atomic<bool>* mark) : mark_(mark) {
    if (mark_ != nullptr) *mark_ = true;
  }
  ~LoadingMark() {
    if (mark_ != nullptr) *mark_ = false;
  }
  LoadingMark(const LoadingMark&) = delete;
  LoadingMark& operator=(const LoadingMark&) = delete;

 private:
  std::atomic<bool>* mark_;
};

/// A model that cannot be used here.
struct BrokenModel {
  std::string name;
  Error error;
};

/// Told while a model loads: its name, and how much of it is there, 0 to 1. Returning false cancels.
using StoreProgress = std::function<bool(const std::string& model, double part)>;

/// The models of one device, as many in its memory as fit: the others are loaded when they are asked
/// for, in place of those that were not used for longest. One that is in use is never put out.
///
/// Thread: the compute thread only, construction and destruction included.
class ModelStore {
 public:
  explicit ModelStore(Device device = {}, StoreOptions options = {});
  ~ModelStore();
  ModelStore(const ModelStore&) = delete;
  ModelStore& operator=(const ModelStore&) = delete;

  /// Reads the folder of every model in `directory` and loads as many as fit, in the order of their
  /// names; each is evaluated once on the device, with zeros. Folders with nothing in them that may
  /// be a model are passed over; a model that cannot be used is noted in broken() and stops no other.
  ///
  /// Blocks until all weights are hashed and on the device: seconds a gigabyte.
  ///
  /// Errors: kInvalid if there is no model, or none that can be used, with why each cannot;
  /// kCancelled.
  [[nodiscard]] Status load(const std::string& directory, const StoreProgress& progress = {});

  /// Adds a replica, for tests. Its name must be new. It is never put out.
  void add(Replica replica);

  /// What can be used, by name in order, whether it is loaded or not.
  [[nodiscard]] std::vector<ModelInfo> infos() const;
  [[nodiscard]] const std::vector<BrokenModel>& broken() const { return broken_; }

  /// The weights of every model by name, in their files. They live as long as they are held.
  [[nodiscard]] std::map<std::string, std::vector<StoredTensor>> weights() const;

  /// What is in the device's memory now, by name in order, the LoRAs that are on with it.
  [[nodiscard]] std::vector<LoadedModel> loaded() const;

  /// A model by name or identity, which is loaded first if it is not: seconds a gigabyte. Whoever
  /// holds what is returned uses the model.
  ///
  /// Errors: kUnavailable if there is none; kOverloaded if others that are in use leave no room for
  /// it, with the numbers; else as load_replica().
  [[nodiscard]] Result<std::shared_ptr<Replica>> acquire(std::string_view model);

  /// A model that is in the device's memory now, by name or identity; nullptr if it is not. Good
  /// until the next acquire().
  [[nodiscard]] Replica* find(std::string_view model);

  [[nodiscard]] const Device& device() const { return device_; }
  [[nodiscard]] LoadingMark mark_loading() const { return LoadingMark(options_.loading); }

 private:
  struct Entry {
    ModelFolder folder;
    ReplicaSize size;
    std::shared_ptr<Replica> replica;  ///< nullptr: not loaded.
    std::uint64_t last_used = 0;       ///< A count of uses; larger is later.
    bool stays = false;
    double load_seconds = 0;  ///< That it took, when it was loaded last.
  };

  [[nodiscard]] Entry* entry_of(std::string_view model);
  [[nodiscard]] Status read_folder(const std::string& path, FileHashes& hashes,
                                   const std::function<bool()>& go_on);
  [[nodiscard]] Status make_room(const Entry& entry);
  [[nodiscard]] Status load(Entry& entry, const LoadProgress& progress);
  [[nodiscard]] std::int64_t taken_bytes() const;

  Device device_;
  StoreOptions options_;
  std::uint64_t uses_ = 0;
  std::map<std::string, Entry, std::less<>> entries_;
  std::vector<BrokenModel> broken_;
};

}  // namespace pa
