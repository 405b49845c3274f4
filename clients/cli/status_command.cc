// pa status, pa devices, pa models.

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <set>
#include <thread>

#include "clients/cli/cluster_file.h"
#include "clients/cli/commands.h"
#include "clients/cli/exit_code.h"
#include "clients/cli/formatted.h"
#include "clients/cli/json_text.h"
#include "clients/cli/progress.h"
#include "clients/cli/table.h"
#include "clients/cli/worker_models.h"
#include "clients/cpp/client.h"
#include "clients/cpp/result_report.h"
#include "shared/core/units.h"
#include "shared/io/clock.h"

namespace pa::cli {
namespace {

constexpr Duration kAnswerLimit = std::chrono::seconds{5};
constexpr Duration kPause = std::chrono::milliseconds{200};

std::int64_t live_workers(const ClusterStatus& status) {
  return std::count_if(
      status.workers.begin(), status.workers.end(),
      [](const WorkerStatus& worker) { return worker.state == "live" && !worker.models.empty(); });
}

/// How many workers make the cluster complete: those that `pa up` started, or one.
std::int64_t workers_wanted(const Where& where) {
  if (!where.connect.empty()) return 1;
  const auto cluster = read_cluster_file(state_directory(where));
  return cluster.ok() ? std::max<std::int64_t>(std::ssize(cluster->workers), 1) : 1;
}

void print_devices(const ClusterStatus& status) {
  Table table({"WORKER", "DEVICE", "STATE", "WEIGHT", "SAMPLES", "STEPS", "BUSY", "STEPS/S", "FREE",
               "HOST", "HARDWARE"});
  for (const WorkerStatus& worker : status.workers) {
    const double rate =
        worker.busy_seconds > 0 ? static_cast<double>(worker.steps_done) / worker.busy_seconds : 0;
    const std::string free =
        worker.free_memory_bytes < 0
            ? "-"
            : formatted("%.3g GiB", static_cast<double>(worker.free_memory_bytes) / (1 << 30));
    table.add({worker.name, worker.device, worker.state, formatted("%.3g", worker.weight),
               std::to_string(worker.samples_done), std::to_string(worker.steps_done),
               formatted("%.1f s", worker.busy_seconds), rate > 0 ? rate_text(rate) : "-", free,
               worker.host, worker.device_name});
  }
  table.print();
}

void print_models(const ClusterStatus& status) {
  struct Entry {
    const ModelInfo* info;
    std::string workers;
    std::string loaded;
  };
  std::map<std::pair<std::string, std::string>, Entry> models;
  for (const WorkerStatus& worker : status.workers) {
    for (const ModelInfo& model : worker.models) {
      Entry& entry = models[{model.name, model.identity}];
      entry.info = &model;
      entry.workers += (entry.workers.empty() ? "" : ",") + worker.name;
      if (has_loaded(worker, model.name))
        entry.loaded += (entry.loaded.empty() ? "" : ",") + worker.name;
    }
  }
  Table table(
      {"MODEL", "FAMILY", "PARAMETERS", "LATENT", "LABELS", "WORKERS", "LOADED", "IDENTITY"});
  for (const auto& [key, entry] : models) {
    const ModelInfo& model = *entry.info;
    const std::string labels = model.labels.empty()
                                   ? "-"
                                   : model.labels.front() + ".." + model.labels.back() + " (" +
                                         std::to_string(model.labels.size()) + ")";
    table.add({model.name, model.family, std::to_string(model.parameters),
               model.latent.empty() ? "any" : to_string(model.latent), labels, entry.workers,
               entry.loaded.empty() ? "-" : entry.loaded, model.identity.substr(0, 19)});
  }
  table.print();
}

void print_status(const ClusterStatus& status) {
  std::printf("coordinator %s, up for %s; journal: %s\n", status.version.c_str(),
              time_left_text(status.uptime_seconds).c_str(), status.journal.c_str());
  std::printf("%" PRId64 " of %zu workers live\n", live_workers(status), status.workers.size());
  print_devices(status);
  if (status.requests.empty()) return;
  std::printf("\n");
  Table table({"REQUEST", "MODEL", "STATE", "SAMPLES", "AGE", "TAG"});
  for (const RequestStatus& request : status.requests) {
    table.add({to_string(request.request), request.model, request.state,
               std::to_string(request.done) + "/" + std::to_string(request.samples),
               time_left_text(request.age_seconds), request.tag});
  }
  table.print();
}

Result<ClusterStatus> ask(const Where& where, Duration limit) {
  PA_ASSIGN(const std::unique_ptr<Client> client, connect_to(where, {}));
  return client->status(limit);
}

/// Asks until the cluster is ready, or `seconds` have passed.
Result<ClusterStatus> wait_until_ready(const Where& where, double seconds) {
  const TimePoint begin = steady_now();
  for (;;) {
    auto status = ask(where, std::chrono::seconds{1});
    const std::int64_t live = status.ok() ? live_workers(*status) : 0;
    const std::int64_t wanted = workers_wanted(where);
    if (status.ok() && live >= wanted) return status;
    if (!status.ok() && status.error().code != Code::kUnavailable) return status.error();
    if (to_seconds(steady_now() - begin) >= seconds) {
      if (!status.ok()) return status.error();
      return unavailable("not ready: " + std::to_string(live) + " of " + std::to_string(wanted) +
                         " workers live");
    }
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace

int run(const StatusCommand& command) {
  const auto status = command.wait_seconds ? wait_until_ready(command.where, *command.wait_seconds)
                                           : ask(command.where, kAnswerLimit);
  if (!status.ok()) return fail(status.error());
  switch (command.view) {
    case StatusCommand::View::kAll:
      if (command.json) {
        std::printf("%s\n", status_json(*status, live_workers(*status) > 0).c_str());
      } else {
        print_status(*status);
      }
      break;
    case StatusCommand::View::kDevices:
      command.json ? void(std::printf("%s\n", devices_json(*status).c_str()))
                   : print_devices(*status);
      break;
    case StatusCommand::View::kModels:
      command.json ? void(std::printf("%s\n", models_json(*status).c_str()))
                   : print_models(*status);
      break;
  }
  return kDone;
}

}  // namespace pa::cli
