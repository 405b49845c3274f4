#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "shared/core/model_info.h"
#include "shared/core/result.h"
#include "shared/io/mutex.h"
#include "shared/io/queue.h"
#include "shared/io/wakeup.h"
#include "worker/engine/engine.h"
#include "worker/io/compute_link.h"
#include "worker/models/device.h"
#include "worker/models/model_store.h"
#include "worker/models/read_ahead.h"

namespace pa {

struct ComputeOptions {
  Device device;
  std::int64_t threads = 1;  ///< LibTorch's, for one operation.
  std::string models;        ///< Directory of model folders.
  StoreOptions store;
  EngineOptions engine;
  std::size_t queue = 4096;  ///< Orders and reports that may wait, each way.
};

/// The device is ready: its models are loaded and have been evaluated on it.
struct ComputeReady {
  std::vector<ModelInfo> models;
  std::string device_name;
  std::string numerics_id;
  std::vector<BrokenModel> broken;  ///< Models that cannot be used, and stopped none that can.
  double load_seconds = 0;
};

/// A thread that owns the device: loads the models, then runs shards on an engine.
///
/// Thread: all calls from the loop. Nothing blocks but the destructor, which waits for the running pass.
class ComputeThread : public ComputeLink {
 public:
  /// Signals `wakeup`, which must outlive the thread, whenever there is something to poll.
  ComputeThread(ComputeOptions options, Wakeup& wakeup);
  ~ComputeThread() override;
  ComputeThread(const ComputeThread&) = delete;
  ComputeThread& operator=(const ComputeThread&) = delete;

  /// How starting went, once; nullopt until then. After an error the thread does nothing more.
  [[nodiscard]] std::optional<Result<ComputeReady>> poll_ready();

  /// The model that is being loaded, and how far, as "flux-dev 40%"; empty before and after.
  [[nodiscard]] std::string loading() const;

  void run(ShardJob job) override;
  void cancel(ShardId shard) override;
  void leave(ShardId shard, std::int64_t sample) override;
  void save(ShardId shard, std::int64_t sample) override;
  void prefetch(const std::string& model) override;
  [[nodiscard]] std::optional<EngineReport> poll() override;
  [[nodiscard]] std::int64_t free_memory_bytes() const override;
  [[nodiscard]] bool is_loading() const override { return is_loading_; }
  [[nodiscard]] bool is_computing() const override { return is_computing_; }
  [[nodiscard]] std::vector<LoadedModel> loaded() const override;

 private:
  struct Leave {
    ShardId shard;
    std::int64_t sample = 0;
  };
  struct Save {
    ShardId shard;
    std::int64_t sample = 0;
  };
  /// Run, cancel, let a sample leave, or say where it stands.
  using Order = std::variant<ShardJob, ShardId, Leave, Save>;

  void push_orders();
  void main();  // Everything below: the compute thread.
  [[nodiscard]] Result<ComputeReady> start(ModelStore& store);
  void serve(Engine& engine, const ModelStore& store);
  void note_loaded(const ModelStore& store);
  [[nodiscard]] bool obey(Engine& engine);
  bool report(EngineReport report);

  ComputeOptions options_;
  Wakeup& wakeup_;
  std::deque<Order> waiting_;   ///< For room in the queue; bounded by the coordinator's credit.
  BoundedQueue<Order> orders_;  ///< Loop -> compute.
  BoundedQueue<EngineReport> reports_;           ///< Compute -> loop.
  BoundedQueue<Result<ComputeReady>> ready_{1};  ///< Compute -> loop.
  mutable Mutex loading_mutex_;
  std::string loading_ GUARDED_BY(loading_mutex_);
  std::vector<LoadedModel> loaded_ GUARDED_BY(loading_mutex_);
  /// Of every model, by name.
  std::map<std::string, std::vector<StoredTensor>> weights_ GUARDED_BY(loading_mutex_);
  ReadAhead read_ahead_;
  std::atomic<bool> started_ = false;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> is_loading_ = false;
  std::atomic<bool> is_computing_ = false;
  std::thread thread_;
};

}  // namespace pa
