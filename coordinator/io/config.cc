#include "coordinator/io/config.h"

#include "shared/core/names.h"
#include "shared/io/daemon_settings.h"

namespace pa {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::uint64_t kKiB = std::uint64_t{1} << 10;
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kTiB = std::uint64_t{1} << 40;

/// Notes what single keys cannot show: values that do not go together.
void check(Settings& settings, const CoordinatorConfig& config) {
  const CoordinatorConfig::Heartbeat& beat = config.heartbeat;
  if (beat.suspect_after < 2 * beat.interval) {
    settings.reject("heartbeat.suspect_after",
                    "must be at least twice heartbeat.interval, or one late beat is suspicious");
  }
  if (beat.dead_after <= beat.suspect_after) {
    settings.reject("heartbeat.dead_after", "must be longer than heartbeat.suspect_after");
  }
  if (beat.remote_dead_after <= beat.suspect_after) {
    settings.reject("heartbeat.remote_dead_after", "must be longer than heartbeat.suspect_after");
  }
  const CoordinatorConfig::Limits& limits = config.limits;
  if (limits.max_total_bytes < limits.max_request_bytes) {
    settings.reject("limits.max_total_bytes", "must be at least limits.max_request_bytes");
  }
  if (limits.window_bytes < limits.chunk_bytes) {
    settings.reject("limits.window_bytes", "must be at least limits.chunk_bytes");
  }
  for (const auto& [name, weight] : config.weights) {
    if (const Status status = check_worker_name(name); !status.ok()) {
      settings.reject("weights", status.error().message + ", found '" + name + "'");
    }
  }
  const Endpoints sockets = ipc_endpoints(config.run_dir);
  if (const Status status = check_endpoint(sockets.control); !status.ok()) {
    settings.reject("run_dir", "cannot hold the sockets: " + status.error().message);
  }
}

}  // namespace

Settings coordinator_settings(CoordinatorConfig& config) {
  Settings settings;
  settings.string(
      "run_dir", config.run_dir,
      "Folder of the sockets, an absolute path; made with mode 0700 if it is not "
      "there. Whoever may enter it may use the cluster. systemd makes the default one.");

  settings.section(
      "endpoints",
      "Where clients and workers connect, as ipc:///PATH. Empty: a socket in run_dir.");
  add_endpoint_setting(settings, "endpoints.client", config.endpoints.client,
                       "Requests and results. Empty: run_dir/client.sock.");
  add_endpoint_setting(settings, "endpoints.control", config.endpoints.control,
                       "Small messages of workers, which must not wait behind tensors. Empty: "
                       "run_dir/control.sock.");
  add_endpoint_setting(settings, "endpoints.data", config.endpoints.data,
                       "Tensors to and from workers. Empty: run_dir/data.sock.");

  settings.boolean("share_memory", config.share_memory,
                   "Whether inputs and results go between the processes of this box as shared "
                   "memory, without a copy through a socket. Off: as messages.");

  settings.section(
      "tcp",
      "For clients and workers on other boxes: authenticated and encrypted with CURVE, "
      "always. See docs/several-boxes.md.");
  settings.text(
      "tcp.address", [&config] { return config.tcp.address; },
      [&config](const std::string& text) -> Status {
        if (!text.empty()) PA_TRY(check_listen_address(text));
        config.tcp.address = text;
        return {};
      },
      "This box's address, as tcp://192.168.1.10:9460: clients connect to that port, workers to "
      "the "
      "next two. Empty: this box only.");
  settings.string("tcp.keys", config.tcp.keys,
                  "Folder with coordinator.secret and allow.yaml, the list of who may connect. "
                  "SIGHUP reads the list again.");

  add_http_settings(settings, config.http, "");

  settings.section("limits",
                   "What requests may take. Checked before anything is allocated; more is refused "
                   "with a reason.");
  settings.integer("limits.max_samples", config.limits.max_samples, {1, 4096},
                   "Samples of one request. At most as many as one message can report on; larger "
                   "batches are several requests.");
  settings.integer("limits.max_requests", config.limits.max_requests, {1, 100'000},
                   "Requests that are under way, or finished and not yet fetched.");
  settings.bytes("limits.max_request_bytes", config.limits.max_request_bytes, {kKiB, 64 * kTiB},
                 "Tensors and result of one request: 21 samples of 8 MiB each way are 336MiB.");
  settings.bytes("limits.max_total_bytes", config.limits.max_total_bytes, {kKiB, 64 * kTiB},
                 "Tensors and results of all requests: how much memory the coordinator may use. "
                 "Beyond it clients are told to retry.");
  settings.bytes("limits.window_bytes", config.limits.window_bytes, {4 * kKiB, 1024 * kMiB},
                 "Bytes a sender may have under way on one stream before it waits: enough to "
                 "keep a link busy, little enough that no stream starves another.");
  settings.bytes("limits.chunk_bytes", config.limits.chunk_bytes, {4 * kKiB, kMiB},
                 "Bytes of one message: the longest that another has to wait for a socket.");
  settings.bytes("limits.blob_bytes", config.limits.blob_bytes, {0, kTiB},
                 "Conditioning that clients have sent, kept so that they need not send it with "
                 "every request of a prompt. Those used longest ago make room. It comes on top of "
                 "limits.max_total_bytes. 0B: none.");

  settings.section("heartbeat", "How a worker that stopped is noticed.");
  settings.duration("heartbeat.interval", config.heartbeat.interval,
                    {milliseconds{10}, seconds{60}},
                    "Between two beats of a worker. Any message counts as one.");
  settings.duration("heartbeat.suspect_after", config.heartbeat.suspect_after,
                    {milliseconds{20}, minutes{10}},
                    "Silence after which a worker gets no more work: three beats, so that two may "
                    "be late.");
  settings.duration("heartbeat.dead_after", config.heartbeat.dead_after,
                    {milliseconds{30}, hours{1}},
                    "Silence after which its samples are given to others. Too short, and work is "
                    "done twice; too long, and batches wait.");
  settings.duration("heartbeat.remote_dead_after", config.heartbeat.remote_dead_after,
                    {milliseconds{30}, hours{1}},
                    "Likewise for workers that connect by TCP, whose links may stumble.");
  settings.duration("heartbeat.lease", config.heartbeat.lease, {milliseconds{100}, hours{24}},
                    "A worker that answers hangs if one pass takes longer than this, and than four "
                    "times what it was measured to take: it is told to start anew, and its samples "
                    "are given to others.");
  settings.duration("heartbeat.first_lease", config.heartbeat.first_lease,
                    {milliseconds{100}, hours{24}},
                    "Likewise for a pass of which nothing was measured yet.");

  settings.duration("progress_interval", config.progress_interval, {milliseconds{10}, seconds{60}},
                    "Between two progress messages to a client: what an eye can follow.");

  settings.section("retention",
                   "How long a finished result waits for a client that has not acknowledged it.");
  settings.duration("retention.duration", config.retention.duration, {seconds{1}, hours{24 * 30}},
                    "Long enough for a client to restart and ask again.");
  settings.bytes("retention.bytes", config.retention.bytes, {0, 64 * kTiB},
                 "Of all waiting results; the oldest go first. They count in "
                 "limits.max_total_bytes.");

  settings.section("journal",
                   "Requests and finished samples on a disk, so that accepted requests survive "
                   "the coordinator and the machine.");
  settings.string("journal.folder", config.journal.folder,
                  "Where it is: made with mode 0700 if it is not there, one coordinator's alone. "
                  "Empty: in memory, and requests are lost if the coordinator stops.");
  settings.bytes("journal.max_bytes", config.journal.max_bytes, {kKiB, 64 * kTiB},
                 "Tensors and results in it, at most. Beyond it clients are told to retry.");

  settings.duration(
      "journal.wait_for_workers", config.journal.wait_for_workers, {milliseconds{0}, minutes{10}},
      "After a restart, samples that were running wait so long for the workers that may "
      "still have them. Then they begin anew.");

  settings.section(
      "checkpoints",
      "Where running samples stand, kept in memory: if their worker is lost, they go on "
      "from there on another.");
  settings.duration(
      "checkpoints.interval", config.checkpoints.interval, {milliseconds{100}, hours{24}},
      "Of computing, between two checkpoints of a sample: what a lost worker costs, at "
      "most. Longer by itself where writing them down would take more than 1 % of a "
      "device's time.");
  settings.bytes(
      "checkpoints.max_bytes", config.checkpoints.max_bytes, {0, 64 * kTiB},
      "Of all together, the latest of each sample. Beyond it those are kept that stand for "
      "the longest computing. 0B: none. They count in limits.max_total_bytes.");

  settings.integer(
      "quarantine_after", config.quarantine_after, {2, 1000},
      "Workers that die, hang or break their device with one sample before it is given up, which "
      "fails alone: the rest of its request is delivered. Before the last it runs alone, so that "
      "no other is blamed. If all were one worker, two more.");
  settings.choice(
      "scheduling", config.scheduling, {"measured", "static"},
      "How samples are shared out: by what passes were measured to cost each device, or "
      "by weight alone, for every request. A request may ask for static by itself.");
  settings.string("costs_file", config.costs_file,
                  "File that keeps what was measured over restarts, an absolute path. Empty: "
                  "run_dir/pass-costs.");
  settings.numbers("weights", config.weights, {0, 1e6},
                   "Weights by worker's name, instead of those the workers bring: {\"box:cuda:0\": "
                   "70, \"box:cuda:1\": 30}. Only their ratios count; 0 gives a worker nothing. "
                   "Measured scheduling uses them until it knows better.");

  settings.numbers(
      "client_weights", config.client_weights, {1e-3, 1e6},
      "Shares of the cluster, while clients compete for it, by the name that a client's "
      "key was given: {\"alice\": 2, \"batch\": 0.5}. Others, and each client of this "
      "box, have 1.");

  add_log_settings(settings, config.log);
  return settings;
}

Result<CoordinatorConfig> load_coordinator_config(const DaemonOptions& options) {
  CoordinatorConfig config;
  Settings settings = coordinator_settings(config);
  settings.load(options.config_file, options.overrides);
  check(settings, config);
  PA_TRY(settings.finish());
  const Endpoints sockets = ipc_endpoints(config.run_dir);
  if (config.costs_file.empty()) config.costs_file = config.run_dir + "/pass-costs";
  if (config.endpoints.client.empty()) config.endpoints.client = sockets.client;
  if (config.endpoints.control.empty()) config.endpoints.control = sockets.control;
  if (config.endpoints.data.empty()) config.endpoints.data = sockets.data;
  return config;
}

}  // namespace pa
