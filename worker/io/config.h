#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "shared/core/result.h"
#include "shared/io/daemon_options.h"
#include "shared/io/http_server.h"
#include "shared/io/log.h"
#include "shared/io/settings.h"
#include "worker/engine/engine.h"

namespace pa {

/// What a worker reads from its file. config/worker.yaml tells every key and its reason.
struct WorkerConfig {
  std::string name;  ///< Filled with "HOST:DEVICE" by load, if not given.
  std::string device = "cpu";
  double weight = 1.0;
  std::int64_t threads = 0;  ///< Filled with the number of usable cores by load, if 0.

  struct Connect {
    std::string address;  ///< "tcp://HOST:PORT" of a coordinator on another box; empty: this box.
    std::string keys = "/etc/parallelanything/keys";  ///< As read_peer_keys().
    std::string run_dir = "/run/parallelanything";    ///< Of the coordinator, on this box.
    std::string control;  ///< Filled from run_dir by load, if not given.
    std::string data;     ///< As control.
    Duration keep_running = std::chrono::minutes{2};  ///< What it has, without a coordinator.
  } connect;

  std::string models = "/var/lib/parallelanything/models";
  std::string compiled_models;  ///< Where models may be machine code; empty: nowhere.

  struct Limits {
    std::int64_t max_rows = 8;                            ///< In one network pass.
    std::int64_t credit_samples = 16;                     ///< Held beyond those running.
    std::uint64_t model_memory_bytes = 0;                 ///< 0: nine tenths of what is free.
    std::uint64_t window_bytes = std::uint64_t{8} << 20;  ///< Inputs under way to this worker.
    std::uint64_t chunk_bytes = std::uint64_t{1} << 20;   ///< Of one Put.
    std::uint64_t blob_bytes = std::uint64_t{256} << 20;  ///< Tensors kept for later shards.
  } limits;

  std::optional<SimDevice> sim;

  HttpOptions http{.port = 9464};
  LogOptions log;
};

/// "5ms+10ms": a pass over n rows takes 5 ms + n * 10 ms. kInvalid in words otherwise.
[[nodiscard]] Result<SimDevice> parse_sim(const std::string& text);
/// What parse_sim() reads as `sim`.
[[nodiscard]] std::string format_sim(const SimDevice& sim);

/// The keys of `config`, which must outlive what is returned.
[[nodiscard]] Settings worker_settings(WorkerConfig& config);

/// Reads the file and the overrides of `options`. kInvalid with every mistake, a line each.
[[nodiscard]] Result<WorkerConfig> load_worker_config(const DaemonOptions& options);

}  // namespace pa
