// pa-worker: one device of a cluster. Wires configuration, sockets, the device's thread and the core together.
//
//   coordinator --control, data--> loop (WorkerNode) --orders--> compute thread (Engine)
//                                                    <--reports--

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <random>

#include "shared/core/version.h"
#include "shared/io/allocator.h"
#include "shared/io/blob_metrics.h"
#include "shared/io/clock.h"
#include "shared/io/cores.h"
#include "shared/io/loop.h"
#include "shared/io/ops_server.h"
#include "shared/io/process_metrics.h"
#include "shared/io/signals.h"
#include "shared/io/zmq_transport.h"
#include "worker/io/compute_thread.h"
#include "worker/io/config.h"
#include "worker/io/host_name.h"
#include "worker/io/worker_metrics.h"
#include "worker/io/worker_node.h"
#include "worker/io/worker_notes.h"

namespace pa {
namespace {

constexpr Duration kLongestSleep =
    std::chrono::milliseconds{500};  // The loop says it lives at least so often.

int fail(const Error& error) {
  log_error("worker.failed", {{"error", error.message}});
  return 1;
}

std::uint64_t random_boot() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) | device();
}

/// Threads that make noise: a Brownian tree takes a tenth of a second for a step of a large latent. A
/// CPU's cores belong to the network; another device leaves them free.
std::int64_t noise_threads(const Device& device) {
  return device.kind == "cpu" ? 1 : std::clamp<std::int64_t>(usable_cores() / 2, 1, 4);
}

/// What the worker says of itself once its device is ready.
WorkerOptions options_of(const WorkerConfig& config, const ComputeReady& ready) {
  WorkerOptions options;
  Hello& hello = options.hello;
  hello.boot = random_boot();
  hello.name = config.name;
  hello.host = host_name();
  hello.pid = static_cast<std::uint64_t>(::getpid());
  hello.device = config.device;
  hello.device_name = ready.device_name;
  hello.weight = config.weight;
  hello.numerics_id = ready.numerics_id;
  hello.models = ready.models;
  hello.credit_samples = config.limits.credit_samples;
  hello.max_rows = config.limits.max_rows;
  hello.yields = true;
  hello.window = config.limits.window_bytes;
  hello.blob_bytes = config.limits.blob_bytes;
  options.keep = config.connect.keep_running;
  return options;
}

/// A worker process from start to exit status.
class Program {
 public:
  explicit Program(WorkerConfig config) : config_(std::move(config)) {}

  int run() {
    const Result<Device> device = parse_device(config_.device);
    if (!device.ok()) return fail(device.error());
    add_process_metrics(registry_);
    WorkerMetrics metrics(registry_, config_.name);
    Result<std::unique_ptr<HttpServer>> http = serve_operations(config_.http, registry_, health_);
    if (!http.ok()) return fail(http.error());
    log_info("worker.starting", {{"worker", config_.name},
                                 {"device", config_.device},
                                 {"threads", config_.threads},
                                 {"models", config_.models},
                                 {"http_port", (*http)->port()}});

    health_.set_not_ready("loading models");
    ComputeOptions compute_options;
    compute_options.device = *device;
    compute_options.threads = config_.threads;
    compute_options.models = config_.models;
    compute_options.store.compiled_models = config_.compiled_models;
    compute_options.store.memory_bytes =
        static_cast<std::int64_t>(config_.limits.model_memory_bytes);
    compute_options.engine = {.max_rows = config_.limits.max_rows,
                              .noise_threads = noise_threads(*device),
                              .sim = config_.sim};
    ComputeThread compute(std::move(compute_options), wakeup_);
    loop_.watch(signals_);
    loop_.watch(wakeup_);
    const std::optional<Result<ComputeReady>> ready = wait_for_device(compute);
    if (!ready) return 0;  // asked to stop
    if (!ready->ok()) return fail(ready->error());
    metrics.device_ready(config_.device, (*ready)->device_name);
    metrics.model_loaded((*ready)->load_seconds);
    for (const BrokenModel& model : (*ready)->broken) {
      log_error("model.broken", {{"model", model.name}, {"error", model.error.message}});
    }
    metrics.models_broken(std::ssize((*ready)->broken));
    for (const ModelInfo& model : (*ready)->models) {
      log_info("model.loaded", {{"model", model.name},
                                {"family", model.family},
                                {"parameters", model.parameters},
                                {"identity", model.identity}});
    }
    return serve(compute, **ready, metrics);
  }

 private:
  /// nullopt if a signal asks to stop first.
  std::optional<Result<ComputeReady>> wait_for_device(ComputeThread& compute) {
    while (true) {
      health_.turned();
      if (std::optional<Result<ComputeReady>> ready = compute.poll_ready()) return ready;
      health_.set_not_ready("loading models: " + compute.loading());
      while (const std::optional<int> signal = signals_.take()) {
        if (*signal == SIGTERM || *signal == SIGINT) return std::nullopt;
      }
      loop_.wait(steady_now() + kLongestSleep);
    }
  }

  int serve(ComputeThread& compute, const ComputeReady& ready, WorkerMetrics& metrics) {
    ZmqContext context;
    ZmqOptions zmq;
    zmq.chunk_bytes = config_.limits.chunk_bytes;
    std::optional<PeerKeys> keys;
    if (!config_.connect.address.empty()) {
      Result<PeerKeys> read = read_peer_keys(config_.connect.keys);
      if (!read.ok()) return fail(read.error());
      keys = std::move(*read);
    }
    auto control =
        ZmqClient::connect(context, config_.connect.control, Channel::kWorkerControl, zmq, keys);
    if (!control.ok()) return fail(control.error());
    auto data = ZmqClient::connect(context, config_.connect.data, Channel::kWorkerData, zmq, keys);
    if (!data.ok()) return fail(data.error());
    loop_.watch(**control);
    loop_.watch(**data);

    StreamOptions streams;
    streams.chunk_bytes = config_.limits.chunk_bytes;
    streams.window_bytes = config_.limits.window_bytes;
    WorkerNotes notes(metrics);
    MeteredCompute metered(compute, metrics);
    WorkerNode node(options_of(config_, ready), streams, **control, **data, metered,
                    [&](const WorkerNote& note) { notes.take(note); });
    health_.set_not_ready("not connected to a coordinator");
    node.tell(worker_event::Ready{}, steady_now());
    bool was_live = false;
    while (!node.exited()) {
      health_.turned();
      while (const std::optional<int> signal = signals_.take()) on_signal(*signal, node);
      const bool more = node.turn(steady_now());
      const bool live = node.core().state() == SessionState::kLive;
      if (live != was_live) {
        live ? health_.set_ready() : health_.set_not_ready("not connected to a coordinator");
        was_live = live;
      }
      if (more || node.exited()) continue;
      blob_metrics_.update(node.blobs());
      const TimePoint latest = steady_now() + kLongestSleep;
      const std::optional<TimePoint> due = node.next_deadline();
      loop_.wait(due && *due < latest ? *due : latest);
    }
    log_info("worker.stopped", {{"worker", config_.name}, {"reason", node.exited()->reason}});
    flush(context);
    // After a fault the device's thread may never end.
    if (node.exited()->status != 0) std::_Exit(node.exited()->status);
    return 0;
  }

  void on_signal(int signal, WorkerNode& node) {
    if (signal == SIGHUP) {
      log_warning("worker.reload", {{"ignored", "a worker reads its configuration at start only"}});
      return;
    }
    if (draining_) {
      log_warning("worker.killed", {{"reason", "asked to stop twice"}});
      std::_Exit(1);
    }
    draining_ = true;
    log_info("worker.draining", {{"worker", config_.name}});
    health_.set_not_ready("draining");
    node.tell(worker_event::Drain{}, steady_now());
  }

  /// Gives the Bye a moment to leave: sockets do not linger.
  void flush(ZmqContext&) { loop_.wait(steady_now() + std::chrono::milliseconds{50}); }

  WorkerConfig config_;
  Signals signals_;
  Wakeup wakeup_;
  Loop loop_;
  Metrics registry_;
  BlobMetrics blob_metrics_{registry_};
  Health health_{steady_now};
  bool draining_ = false;
};

int main_of(int argc, char** argv) {
  tune_allocator();
  const auto parsed =
      parse_daemon_options(argc, argv, "pa-worker", "Runs samples on one device of a cluster.");
  if (const int* status = std::get_if<int>(&parsed)) return *status;
  const DaemonOptions& options = std::get<DaemonOptions>(parsed);
  Result<WorkerConfig> config = load_worker_config(options);
  if (options.check_config || !config.ok()) {
    return report_config_check(options, config.ok() ? "" : config.error().message);
  }
  log_configure(config->log);
  return Program(std::move(*config)).run();
}

}  // namespace
}  // namespace pa

int main(int argc, char** argv) { return pa::main_of(argc, argv); }
