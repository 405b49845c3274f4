#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "shared/core/request.h"
#include "shared/core/result.h"
#include "shared/core/time.h"
#include "shared/io/daemon_options.h"
#include "shared/io/endpoints.h"
#include "shared/io/http_server.h"
#include "shared/io/log.h"
#include "shared/io/settings.h"

namespace pa {

/// What a coordinator reads from its file. config/coordinator.yaml tells every key and its reason.
struct CoordinatorConfig {
  std::string run_dir = "/run/parallelanything";  ///< Mode 0700; holds the ipc sockets.
  Endpoints endpoints;                            ///< Filled from run_dir by load, if not given.

  /// For clients and workers on other boxes.
  struct Tcp {
    std::string address;                              ///< "tcp://IP:PORT"; empty: this box only.
    std::string keys = "/etc/parallelanything/keys";  ///< coordinator.secret and allow.yaml.
  } tcp;

  bool share_memory = true;  ///< With clients and workers on this box.

  HttpOptions http{.port = 9463};

  struct Limits {
    std::int64_t max_samples = 4096;  ///< Of one request.
    std::int64_t max_requests = 256;  ///< Under way or finished and not yet fetched.
    std::uint64_t max_request_bytes = std::uint64_t{4}
                                      << 30;                  ///< Inputs and result of one request.
    std::uint64_t max_total_bytes = std::uint64_t{16} << 30;  ///< Of all requests.
    std::uint64_t window_bytes = std::uint64_t{8} << 20;      ///< Under way on one stream.
    std::uint64_t chunk_bytes = std::uint64_t{1} << 20;       ///< Of one Put.
    std::uint64_t blob_bytes = std::uint64_t{256} << 20;      ///< Tensors kept for later requests.
  } limits;

  struct Heartbeat {
    Duration interval = std::chrono::milliseconds{500};
    Duration suspect_after = std::chrono::milliseconds{1500};
    Duration dead_after = std::chrono::seconds{3};
    Duration remote_dead_after = std::chrono::seconds{5};
    Duration lease = std::chrono::seconds{10};        ///< Of one pass.
    Duration first_lease = std::chrono::minutes{10};  ///< Of one that nothing is known of.
  } heartbeat;

  Duration progress_interval = std::chrono::milliseconds{100};

  /// Of finished results that their clients have not acknowledged.
  struct Retention {
    Duration duration = std::chrono::minutes{10};
    std::uint64_t bytes = std::uint64_t{4} << 30;
  } retention;

  struct JournalKeys {
    std::string folder = "/var/lib/parallelanything/journal";  ///< Empty: in memory.
    std::uint64_t max_bytes = std::uint64_t{64} << 30;         ///< Of all requests in it.
    Duration wait_for_workers = std::chrono::seconds{2};       ///< Of an earlier life.
  } journal;

  /// Where running samples stand, in memory, so that a lost worker's go on elsewhere.
  struct Checkpoints {
    Duration interval = std::chrono::seconds{5};       ///< Of computing, at least.
    std::uint64_t max_bytes = std::uint64_t{1} << 30;  ///< All together; 0: none.
  } checkpoints;

  std::int64_t quarantine_after = 3;  ///< Workers lost with one sample.
  Scheduling scheduling = Scheduling::kMeasured;
  std::string costs_file;  ///< Where it keeps what passes cost; filled from run_dir, if not given.
  std::map<std::string, double> weights;         ///< Worker's name to weight, instead of its own.
  std::map<std::string, double> client_weights;  ///< Key's name to weight; others have 1.
  LogOptions log;
};

/// The keys of `config`, which must outlive what is returned.
[[nodiscard]] Settings coordinator_settings(CoordinatorConfig& config);

/// Reads the file and the overrides of `options`. kInvalid with every mistake, a line each.
[[nodiscard]] Result<CoordinatorConfig> load_coordinator_config(const DaemonOptions& options);

}  // namespace pa
