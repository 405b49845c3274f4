#include "worker/io/config.h"

#include <algorithm>
#include <cmath>

#include "shared/core/names.h"
#include "shared/core/units.h"
#include "shared/io/cores.h"
#include "shared/io/daemon_settings.h"
#include "shared/io/endpoints.h"
#include "worker/io/host_name.h"

namespace pa {
namespace {

constexpr std::uint64_t kKiB = std::uint64_t{1} << 10;
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

/// Adds a string that `rule` checks; an empty one too, unless it `may_be_empty`.
void add_checked(Settings& settings, const std::string& path, std::string& value,
                 Status (*rule)(std::string_view), bool may_be_empty, const std::string& reason) {
  settings.text(
      path, [&value] { return value; },
      [&value, rule, may_be_empty](const std::string& text) -> Status {
        if (!text.empty() || !may_be_empty) PA_TRY(rule(text));
        value = text;
        return {};
      },
      reason);
}

/// This box's name up to its first dot, so that "NAME:DEVICE" is a worker's name.
std::string short_host_name() {
  constexpr std::size_t kLongest = 40;
  const std::string name = host_name();
  const std::string host = name.substr(0, std::min(name.find('.'), kLongest));
  return check_worker_name(host).ok() ? host : "localhost";
}

/// Notes what single keys cannot show: values that do not go together.
void check(Settings& settings, const WorkerConfig& config) {
  if (config.limits.window_bytes < config.limits.chunk_bytes) {
    settings.reject("limits.window_bytes", "must be at least limits.chunk_bytes");
  }
  const Endpoints sockets = ipc_endpoints(config.connect.run_dir);
  if (const Status status = check_endpoint(sockets.control); !status.ok()) {
    settings.reject("connect.run_dir", "cannot hold the sockets: " + status.error().message);
  }
}

}  // namespace

Result<SimDevice> parse_sim(const std::string& text) {
  const std::size_t plus = text.find('+');
  if (plus != std::string::npos) {
    const auto fixed = parse_duration(std::string_view(text).substr(0, plus));
    const auto per_row = parse_duration(std::string_view(text).substr(plus + 1));
    if (fixed && per_row) return SimDevice{to_seconds(*fixed), to_seconds(*per_row)};
  }
  return invalid("expected FIXED+PER_ROW, as in 5ms+10ms");
}

std::string format_sim(const SimDevice& sim) {
  const auto show = [](double seconds) {
    return format_duration(Duration{std::llround(seconds * 1e9)});
  };
  return show(sim.fixed_seconds) + "+" + show(sim.per_row_seconds);
}

Settings worker_settings(WorkerConfig& config) {
  Settings settings;
  add_checked(settings, "name", config.name, check_worker_name, true,
              "Name in the cluster, in logs and metrics: unique, and the same after a restart. "
              "Empty: HOST:DEVICE, as in box:cuda:0.");
  add_checked(settings, "device", config.device, check_device, false,
              "What this worker computes on: cpu, cuda:N, mps or xpu:N. One worker a device.");
  settings.number("weight", config.weight, {0, 1e6},
                  "Share of a batch against the other workers' weights, until speed is measured; 0 "
                  "gives it nothing. The coordinator's `weights` come before it.");
  settings.integer("threads", config.threads, {0, 4096},
                   "CPU threads of one network pass. 0: all cores. Workers that share a box must "
                   "share its cores: two with two threads each on two cores are 78 times slower "
                   "than one.");

  settings.section("connect", "Where the coordinator is.");
  settings.text(
      "connect.address", [&config] { return config.connect.address; },
      [&config](const std::string& text) -> Status {
        if (!text.empty()) PA_TRY(tcp_endpoints(text));
        config.connect.address = text;
        return {};
      },
      "The coordinator's tcp.address, as tcp://192.168.1.10:9460, if it is on another box. Empty: "
      "on this one.");
  settings.string("connect.keys", config.connect.keys,
                  "For connect.address: the folder with coordinator.public and this worker's own "
                  "NAME.secret, or that file.");
  settings.string("connect.run_dir", config.connect.run_dir,
                  "The coordinator's run_dir, if it is on this box.");
  settings.duration(
      "connect.keep_running", config.connect.keep_running,
      {std::chrono::seconds{0}, std::chrono::hours{24}},
      "Without a coordinator, the worker goes on for so long with what it has, and then "
      "drops it. A coordinator that comes back in time takes it over.");
  add_endpoint_setting(settings, "connect.control", config.connect.control,
                       "Its control endpoint, as ipc:///PATH. Empty: run_dir/control.sock.");
  add_endpoint_setting(settings, "connect.data", config.connect.data,
                       "Its data endpoint, as ipc:///PATH. Empty: run_dir/data.sock.");

  settings.string("models", config.models,
                  "Folder with a folder a model: weights as .safetensors and, if it needs one, "
                  "model.yaml.");
  settings.string(
      "compiled_models", config.compiled_models,
      "Folder whose models may be AOTInductor packages: machine code, which can do what "
      "the worker can. `models`, or a folder in it. Empty: such models are refused.");

  settings.section("limits", "What this worker takes on at once.");
  settings.integer("limits.max_rows", config.limits.max_rows, {1, 1024},
                   "Rows in one network pass. More are faster each, until the device's memory "
                   "ends; guidance takes two rows a sample.");
  settings.integer("limits.credit_samples", config.limits.credit_samples, {1, 4096},
                   "Samples held beyond those running, so that the device never waits for the "
                   "network. Fewer leave more for other devices to take.");
  settings.bytes(
      "limits.model_memory_bytes", config.limits.model_memory_bytes, {0, std::uint64_t{1} << 50},
      "Memory that models may take; those used longest ago make room for others. On a "
      "CPU, weights used as their files have them do not count. 0B: nine tenths of what is free.");
  settings.bytes("limits.window_bytes", config.limits.window_bytes, {4 * kKiB, 1024 * kMiB},
                 "Bytes of inputs that may be under way to this worker on one stream.");
  settings.bytes("limits.chunk_bytes", config.limits.chunk_bytes, {4 * kKiB, kMiB},
                 "Bytes of one message: the longest that another has to wait for a socket.");
  settings.bytes("limits.blob_bytes", config.limits.blob_bytes, {0, std::uint64_t{1} << 40},
                 "Conditioning that came over the network, kept so that it need not come with "
                 "every few samples of a prompt. Those used longest ago make room. 0B: none.");

  settings.text(
      "sim", [&config] { return config.sim ? format_sim(*config.sim) : std::string(); },
      [&config](const std::string& text) -> Status {
        config.sim.reset();
        if (text.empty()) return {};
        PA_ASSIGN(config.sim, parse_sim(text));
        return {};
      },
      "Plays a device of another speed, for tests and benchmarks: 5ms+10ms makes a pass of n rows "
      "take 5 ms + n times 10 ms. Empty: as fast as it is.");

  add_http_settings(settings, config.http, "One more for each further worker of a box.");
  add_log_settings(settings, config.log);
  return settings;
}

Result<WorkerConfig> load_worker_config(const DaemonOptions& options) {
  WorkerConfig config;
  Settings settings = worker_settings(config);
  settings.load(options.config_file, options.overrides);
  check(settings, config);
  PA_TRY(settings.finish());
  if (config.name.empty()) config.name = short_host_name() + ":" + config.device;
  if (config.threads == 0) config.threads = usable_cores();
  Endpoints sockets = ipc_endpoints(config.connect.run_dir);
  if (!config.connect.address.empty()) {
    PA_ASSIGN(sockets, tcp_endpoints(config.connect.address));
  }
  if (config.connect.control.empty()) config.connect.control = sockets.control;
  if (config.connect.data.empty()) config.connect.data = sockets.data;
  return config;
}

}  // namespace pa
