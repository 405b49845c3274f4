#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shared/core/model_info.h"
#include "shared/core/result.h"
#include "worker/models/device.h"

namespace pa {

struct Replica;

/// The models of one device.
///
/// Thread: the compute thread only, construction and destruction included.
class ModelStore {
 public:
  explicit ModelStore(Device device = {});
  ~ModelStore();
  ModelStore(const ModelStore&) = delete;
  ModelStore& operator=(const ModelStore&) = delete;

  /// Loads the model of every folder in `directory`, in the order of their names. Folders without a
  /// model.yaml or a .safetensors file are passed over.
  ///
  /// Blocks until all weights are hashed and on the device: seconds a gigabyte.
  ///
  /// Errors: kInvalid with what is wrong with the first folder that cannot be loaded, or if there is
  /// none; kOverloaded if the device has no memory for one; kInternal.
  [[nodiscard]] Status load(const std::string& directory);

  /// Adds a replica, for tests. Its name must be new.
  void add(Replica replica);

  /// Evaluates every model once on the device, with zeros: after that a worker is ready.
  ///
  /// Errors: as Network::forward(), the message beginning with the model's name; kInternal if the
  /// answer is of another shape or not finite.
  [[nodiscard]] Status warm_up();

  /// What there is, by name in order.
  [[nodiscard]] std::vector<ModelInfo> infos() const;

  /// By name or identity; nullptr if there is none. Stays where it is while the store lives.
  [[nodiscard]] Replica* find(std::string_view model);

  [[nodiscard]] const Device& device() const { return device_; }

 private:
  Device device_;
  std::map<std::string, std::unique_ptr<Replica>, std::less<>> replicas_;
};

}  // namespace pa
