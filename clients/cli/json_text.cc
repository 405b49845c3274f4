#include "clients/cli/json_text.h"

#include <map>
#include <nlohmann/json.hpp>

#include "clients/cli/worker_models.h"

namespace pa::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string line(const Json& document) {
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json workers_json(const ClusterStatus& status) {
  Json workers = Json::array();
  for (const WorkerStatus& worker : status.workers) {
    Json models = Json::array();
    for (const ModelInfo& model : worker.models) {
      models.push_back({{"name", model.name},
                        {"identity", model.identity},
                        {"family", model.family},
                        {"parameters", model.parameters}});
    }
    workers.push_back({{"name", worker.name},
                       {"device", worker.device},
                       {"device_name", worker.device_name},
                       {"host", worker.host},
                       {"pid", worker.pid},
                       {"state", worker.state},
                       {"weight", worker.weight},
                       {"models", std::move(models)},
                       {"assigned", worker.assigned},
                       {"samples_done", worker.samples_done},
                       {"steps_done", worker.steps_done},
                       {"busy_seconds", worker.busy_seconds},
                       {"last_heard_seconds", worker.last_heard_seconds},
                       {"free_memory_bytes", worker.free_memory_bytes},
                       {"numerics_id", worker.numerics_id}});
  }
  return workers;
}

}  // namespace

std::string plan_json(const Accepted& accepted) {
  Json plan = Json::array();
  for (const PlanShare& share : accepted.plan) {
    plan.push_back({{"worker", share.worker},
                    {"device", share.device},
                    {"weight", share.weight},
                    {"samples", share.samples},
                    {"reason", share.reason},
                    {"finish_seconds", share.finish_seconds}});
  }
  const TensorSpec& result = accepted.result;
  return line({{"result",
                {{"name", result.name},
                 {"dtype", std::string(name_of(result.dtype))},
                 {"shape", result.shape}}},
               {"plan", std::move(plan)},
               {"seconds", accepted.seconds},
               {"limit", accepted.limit}});
}

std::string status_json(const ClusterStatus& status, bool ready) {
  Json requests = Json::array();
  for (const RequestStatus& request : status.requests) {
    requests.push_back({{"id", to_string(request.request)},
                        {"model", request.model},
                        {"tag", request.tag},
                        {"state", request.state},
                        {"samples", request.samples},
                        {"done", request.done},
                        {"age_seconds", request.age_seconds}});
  }
  return line({{"ready", ready},
               {"version", status.version},
               {"epoch", status.epoch},
               {"journal", status.journal},
               {"uptime_seconds", status.uptime_seconds},
               {"workers", workers_json(status)},
               {"requests", std::move(requests)}});
}

std::string devices_json(const ClusterStatus& status) { return line(workers_json(status)); }

std::string models_json(const ClusterStatus& status) {
  std::map<std::pair<std::string, std::string>, Json> models;  // By name and identity.
  for (const WorkerStatus& worker : status.workers) {
    for (const ModelInfo& model : worker.models) {
      Json& entry = models[{model.name, model.identity}];
      if (entry.is_null()) {
        entry = {{"name", model.name},       {"identity", model.identity},
                 {"family", model.family},   {"latent", model.latent},
                 {"labels", model.labels},   {"parameters", model.parameters},
                 {"workers", Json::array()}, {"loaded", Json::array()}};
      }
      entry["workers"].push_back(worker.name);
      if (has_loaded(worker, model.name)) entry["loaded"].push_back(worker.name);
    }
  }
  Json list = Json::array();
  for (auto& [key, entry] : models) list.push_back(std::move(entry));
  return line(list);
}

std::string error_json(const std::string& message) { return line({{"error", message}}); }

}  // namespace pa::cli
