// pa up.

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "clients/cli/cluster_file.h"
#include "clients/cli/command_line.h"
#include "clients/cli/commands.h"
#include "clients/cli/exit_code.h"
#include "clients/cli/local_cluster.h"
#include "clients/cpp/client.h"
#include "shared/io/loop.h"
#include "shared/io/signals.h"

namespace pa::cli {
namespace {

constexpr Duration kTurn = std::chrono::milliseconds{100};
constexpr Duration kStatusLimit = std::chrono::milliseconds{200};
constexpr Duration kDrainLimit = std::chrono::seconds{15};

void say(std::string_view line) {
  std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
  std::fflush(stdout);
}

/// A worker for every NVIDIA GPU that the driver shows, or else one for the CPU.
std::vector<WorkerSpec> workers_for_this_box() {
  std::vector<WorkerSpec> workers;
  std::error_code error;
  while (std::filesystem::exists("/dev/nvidia" + std::to_string(workers.size()), error)) {
    WorkerSpec worker;
    worker.device = "cuda:" + std::to_string(workers.size());
    workers.push_back(std::move(worker));
  }
  if (workers.empty()) workers.emplace_back();
  (void)name_workers(workers);  // Devices differ, so names do.
  return workers;
}

Result<LocalClusterOptions> options_of(const UpCommand& command) {
  LocalClusterOptions options;
  options.state = state_directory(command.where);
  options.workers = command.workers.empty() ? workers_for_this_box() : command.workers;
  options.threads = command.threads;
  options.models_dir = command.models_dir.empty() ? bundled_models() : command.models_dir;
  if (options.models_dir.empty()) {
    return invalid("no models came with this program: give a folder with a folder a model",
                   "--models");
  }
  std::error_code error;
  const auto models = std::filesystem::canonical(options.models_dir, error);
  if (error) return invalid(options.models_dir + ": " + error.message(), "--models");
  options.models_dir = models.string();
  return options;
}

/// Tells once when all workers are live.
class ReadyWatch {
 public:
  ReadyWatch(const std::string& endpoint, std::size_t wanted)
      : endpoint_(endpoint), wanted_(wanted) {}

  void look() {
    if (told_) return;
    if (!client_) {
      auto client = Client::connect(endpoint_, {});
      if (!client.ok()) return;
      client_ = std::move(client).value();
    }
    const auto status = client_->status(kStatusLimit);
    if (!status.ok()) return;
    std::string names;
    std::size_t live = 0;
    for (const WorkerStatus& worker : status->workers) {
      if (worker.state != "live") continue;
      ++live;
      names += (names.empty() ? "" : ", ") + worker.name + " (" + worker.device + ")";
    }
    if (live < wanted_) return;
    say("ready: " + names + "; journal: " + status->journal);
    told_ = true;
    client_.reset();
  }

 private:
  std::string endpoint_;
  std::size_t wanted_;
  std::unique_ptr<Client> client_;
  bool told_ = false;
};

}  // namespace

int run(const UpCommand& command) {
  Signals signals;  // Before the first thread, which must not take them.
  const auto options = options_of(command);
  if (!options.ok()) return fail(options.error());
  auto started = LocalCluster::start(*options, say);
  if (!started.ok()) return fail(started.error());
  LocalCluster& cluster = **started;
  say("state: " + options->state + " (Ctrl-C stops the cluster)");

  Loop loop;
  loop.watch(signals);
  ReadyWatch ready(cluster.file().client, options->workers.size());
  while (!signals.take()) {
    if (const Status tended = cluster.tend(loop.now()); !tended.ok()) {
      cluster.stop(kDrainLimit, [&] { return signals.take().has_value(); });
      return fail(tended.error());
    }
    ready.look();
    loop.wait(loop.now() + kTurn);
  }
  say("stopping; once more kills");
  cluster.stop(kDrainLimit, [&] { return signals.take().has_value(); });
  say("stopped");
  return kDone;
}

}  // namespace pa::cli
