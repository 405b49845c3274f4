// pa-coordinator: takes requests, splits them over workers, merges their results. Wires configuration, sockets, journal
// and the core together.
//
//   clients, worker control, worker data --ROUTERs--> loop (CoordinatorNode)
//   loop --health, metrics--> HTTP threads

#include <chrono>
#include <csignal>

#include "coordinator/io/config.h"
#include "coordinator/io/coordinator_metrics.h"
#include "coordinator/io/coordinator_node.h"
#include "coordinator/io/coordinator_notes.h"
#include "coordinator/io/cost_file.h"
#include "coordinator/journal/disk_journal.h"
#include "coordinator/journal/memory_journal.h"
#include "shared/core/version.h"
#include "shared/io/allocator.h"
#include "shared/io/blob_metrics.h"
#include "shared/io/clock.h"
#include "shared/io/loop.h"
#include "shared/io/ops_server.h"
#include "shared/io/process_metrics.h"
#include "shared/io/signals.h"
#include "shared/io/zmq_transport.h"

namespace pa {
namespace {

constexpr Duration kLongestSleep =
    std::chrono::milliseconds{500};  // The loop says it lives at least so often.
constexpr Duration kShutdownGrace =
    std::chrono::seconds{10};  // For running requests, after SIGTERM.

int fail(const Error& error) {
  log_error("coordinator.failed", {{"error", error.message}});
  return 1;
}

/// Another at every start: nanoseconds since 1970, in units that fit half a ShardId.
std::uint64_t new_epoch() {
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  const auto ticks =
      std::chrono::duration_cast<std::chrono::milliseconds>(since_1970).count() / 100;
  return static_cast<std::uint64_t>(ticks) & 0xffffffff;
}

CoordinatorOptions options_of(const CoordinatorConfig& config, const Journal& journal,
                              std::uint64_t epoch) {
  CoordinatorOptions options;
  options.epoch = epoch;
  options.admission.max_samples = config.limits.max_samples;
  options.admission.max_request_bytes = config.limits.max_request_bytes;
  options.max_requests = config.limits.max_requests;
  options.max_total_bytes = config.limits.max_total_bytes;
  options.window_bytes = config.limits.window_bytes;
  options.liveness = {config.heartbeat.interval,   config.heartbeat.suspect_after,
                      config.heartbeat.dead_after, config.heartbeat.remote_dead_after,
                      config.heartbeat.lease,      config.heartbeat.first_lease};
  options.strikes = config.quarantine_after;
  options.progress_interval = config.progress_interval;
  options.retention = config.retention.duration;
  options.retention_bytes = config.retention.bytes;
  options.checkpoint_interval = config.checkpoints.interval;
  options.checkpoint_bytes = config.checkpoints.max_bytes;
  options.offer_wait = config.journal.wait_for_workers;
  options.weights = config.weights;
  options.client_weights = config.client_weights;
  options.durable = journal.durable();
  options.max_journal_bytes = config.journal.max_bytes;
  options.blob_bytes = config.limits.blob_bytes;
  options.scheduling = config.scheduling;
  options.journal = journal.describe();
  options.version = std::string(version());
  return options;
}

std::string allow_file(const CoordinatorConfig& config) { return config.tcp.keys + "/allow.yaml"; }

/// None without an address.
Result<std::optional<TcpListener>> tcp_listener(const CoordinatorConfig& config) {
  if (config.tcp.address.empty()) return std::optional<TcpListener>();
  TcpListener tcp;
  tcp.address = config.tcp.address;
  PA_ASSIGN(tcp.keys, read_curve_keys(config.tcp.keys, kCoordinatorKeys));
  PA_ASSIGN(tcp.allowed, AllowList::load(allow_file(config)));
  return std::optional<TcpListener>(std::move(tcp));
}

/// A coordinator process from start to exit status.
class Program {
 public:
  Program(DaemonOptions options, CoordinatorConfig config)
      : daemon_(std::move(options)), config_(std::move(config)) {}

  int run() {
    StreamOptions streams;
    streams.chunk_bytes = config_.limits.chunk_bytes;
    streams.window_bytes = config_.limits.window_bytes;
    ZmqOptions zmq;
    zmq.chunk_bytes = config_.limits.chunk_bytes;
    zmq.share_memory = config_.share_memory;
    Result<std::optional<TcpListener>> tcp = tcp_listener(config_);
    if (!tcp.ok()) return fail(tcp.error());
    auto transport = ZmqServer::bind(config_.endpoints, zmq, std::move(*tcp));
    if (!transport.ok()) return fail(transport.error());
    add_process_metrics(registry_);
    auto http = serve_operations(config_.http, registry_, health_);
    if (!http.ok()) return fail(http.error());
    loop_.watch(signals_);
    loop_.watch(**transport);

    std::uint64_t epoch = std::max<std::uint64_t>(new_epoch(), 1);
    const Result<std::unique_ptr<Journal>> opened = open_journal(epoch);
    if (!opened.ok()) return fail(opened.error());
    Journal& journal = **opened;
    CoordinatorOptions options = options_of(config_, journal, epoch);
    options.costs = costs_.load();
    CoordinatorNode node(std::move(options), streams, **transport, journal,
                         [this](const Note& note) { notes_.take(note); });
    Recovery recovery = journal.recover();
    for (const std::string& damage : recovery.damage)
      log_error("journal.damaged", {{"what", damage}});
    node.recover(steady_now(), std::move(recovery));
    log_info("coordinator.started", {{"version", version()},
                                     {"clients", config_.endpoints.client},
                                     {"tcp", config_.tcp.address},
                                     {"http_port", (*http)->port()},
                                     {"journal", journal.describe()}});
    while (!node.exited()) {
      health_.turned();
      while (const std::optional<int> signal = signals_.take())
        on_signal(*signal, node, **transport);
      const bool more = node.turn(steady_now());
      if (more || node.exited()) continue;
      publish(node, **transport);
      costs_.keep(node.core().costs(), steady_now());
      const TimePoint latest = steady_now() + kLongestSleep;
      const std::optional<TimePoint> due = node.next_deadline();
      loop_.wait(due && *due < latest ? *due : latest);
    }
    costs_.flush(node.core().costs());
    loop_.wait(steady_now() +
               std::chrono::milliseconds{50});  // the last answers leave: sockets do not linger
    log_info("coordinator.stopped");
    return 0;
  }

 private:
  /// The journal of the configuration. `epoch` becomes the journal's, if it counts them.
  Result<std::unique_ptr<Journal>> open_journal(std::uint64_t& epoch) {
    if (config_.journal.folder.empty())
      return std::unique_ptr<Journal>(std::make_unique<MemoryJournal>());
    PA_ASSIGN(std::unique_ptr<DiskJournal> journal,
              DiskJournal::open(config_.journal.folder, epoch));
    epoch = journal->epoch();
    loop_.watch(journal->wakeup());
    return std::unique_ptr<Journal>(std::move(journal));
  }

  void publish(const CoordinatorNode& node, ZmqServer& transport) {
    for (const Refusal& refusal : transport.take_refusals()) {
      log_warning("connection.refused",
                  {{"address", refusal.address}, {"key", refusal.key}, {"reason", refusal.reason}});
    }
    const Coordinator& core = node.core();
    metrics_.set_load(core.active_requests(), core.waiting_samples());
    metrics_.set_checkpoint_bytes(core.checkpoint_bytes());
    metrics_.set_messages_rejected(transport.rejected());
    metrics_.set_stream_bytes(node.streams().sent_bytes(), node.streams().copied_bytes());
    blob_metrics_.update(node.blobs());
    const TimePoint now = steady_now();
    const double unix_now =
        std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    bool live = false;
    for (const auto& [id, worker] : core.workers().all()) {
      live = live || worker.state == WorkerState::kLive;
      metrics_.worker_heard(worker.hello.name, unix_now - to_seconds(now - worker.last_heard));
    }
    if (draining_) {
      health_.set_not_ready("draining");
    } else if (live) {
      health_.set_ready();
    } else {
      health_.set_not_ready("no live worker with a loaded model");
    }
  }

  void on_signal(int signal, CoordinatorNode& node, ZmqServer& transport) {
    if (signal == SIGHUP) return reload(node, transport);
    if (draining_) {
      log_warning("coordinator.killed", {{"reason", "asked to stop twice"}});
      std::_Exit(1);
    }
    draining_ = true;
    log_info("coordinator.draining", {{"grace_seconds", to_seconds(kShutdownGrace)}});
    node.tell(event::Shutdown{kShutdownGrace}, steady_now());
  }

  /// Applies what can change while running: weights, scheduling, logs and who may connect.
  void reload(CoordinatorNode& node, ZmqServer& transport) {
    Result<CoordinatorConfig> fresh = load_coordinator_config(daemon_);
    if (!fresh.ok()) {
      log_error("config.rejected", {{"error", fresh.error().message}});
      return;
    }
    if (!config_.tcp.address.empty()) {
      Result<AllowList> allowed = AllowList::load(allow_file(config_));
      if (!allowed.ok()) {
        log_error("config.rejected", {{"error", allowed.error().message}});
        return;
      }
      transport.allow(std::move(*allowed));
    }
    log_configure(fresh->log);
    node.tell(event::WeightsChanged{fresh->weights, fresh->scheduling}, steady_now());
    log_info("config.reloaded", {{"applied", "weights, scheduling, log, allow.yaml"},
                                 {"needs_restart", "everything else"}});
  }

  DaemonOptions daemon_;
  CoordinatorConfig config_;
  CostFile costs_{config_.costs_file};
  Signals signals_;
  Loop loop_;
  Metrics registry_;
  CoordinatorMetrics metrics_{registry_};
  BlobMetrics blob_metrics_{registry_};
  CoordinatorNotes notes_{metrics_};
  Health health_{steady_now};
  bool draining_ = false;
};

int main_of(int argc, char** argv) {
  tune_allocator();
  const auto parsed = parse_daemon_options(argc, argv, "pa-coordinator",
                                           "Takes sampling requests and splits them over workers.");
  if (const int* status = std::get_if<int>(&parsed)) return *status;
  const DaemonOptions& options = std::get<DaemonOptions>(parsed);
  Result<CoordinatorConfig> config = load_coordinator_config(options);
  if (options.check_config || !config.ok()) {
    return report_config_check(options, config.ok() ? "" : config.error().message);
  }
  log_configure(config->log);
  return Program(options, std::move(*config)).run();
}

}  // namespace
}  // namespace pa

int main(int argc, char** argv) { return pa::main_of(argc, argv); }
