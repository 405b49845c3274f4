#include "coordinator/core/worker_table.h"

namespace pa {

std::string_view name_of(WorkerState state) {
  switch (state) {
    case WorkerState::kAttaching:
      return "attaching";
    case WorkerState::kLive:
      return "live";
    case WorkerState::kSuspect:
      return "suspect";
    case WorkerState::kDraining:
      return "draining";
  }
  broken(__FILE__, __LINE__, "a WorkerState outside the enumeration");
}

Worker& WorkerTable::add(const Hello& hello, PeerId control, TimePoint now) {
  PA_CHECK(find(hello.name) == nullptr);
  const WorkerId id{++last_id_};
  Worker& worker = workers_[id];
  worker.id = id;
  worker.hello = hello;
  worker.control = control;
  worker.last_heard = now;
  worker.changed_at = now;
  worker.weight = hello.weight;
  peers_[control] = id;
  return worker;
}

void WorkerTable::attach(Worker& worker, PeerId data) {
  if (worker.data) peers_.erase(*worker.data);
  worker.data = data;
  peers_[data] = worker.id;
}

void WorkerTable::remove(WorkerId id) {
  const auto found = workers_.find(id);
  if (found == workers_.end()) return;
  peers_.erase(found->second.control);
  if (found->second.data) peers_.erase(*found->second.data);
  workers_.erase(found);
}

Worker* WorkerTable::find(WorkerId id) {
  const auto found = workers_.find(id);
  return found == workers_.end() ? nullptr : &found->second;
}

Worker* WorkerTable::find(const std::string& name) {
  for (auto& [id, worker] : workers_) {
    if (worker.hello.name == name) return &worker;
  }
  return nullptr;
}

Worker* WorkerTable::of_peer(PeerId peer) {
  const auto found = peers_.find(peer);
  return found == peers_.end() ? nullptr : find(found->second);
}

std::string WorkerTable::identity_of(const std::string& model) const {
  std::map<std::string, int> votes;
  for (const auto& [id, worker] : workers_) {
    if (const ModelInfo* info = model_of(worker, model)) ++votes[info->identity];
  }
  std::string best;
  int most = 0;
  for (const auto& [id, worker] : workers_) {
    const ModelInfo* info = model_of(worker, model);
    if (info != nullptr && votes[info->identity] > most) {
      most = votes[info->identity];
      best = info->identity;
    }
  }
  return best;
}

const ModelInfo* WorkerTable::model(const std::string& name) const {
  const std::string identity = identity_of(name);
  for (const auto& [id, worker] : workers_) {
    const ModelInfo* info = model_of(worker, name);
    if (info != nullptr && info->identity == identity) return info;
  }
  return nullptr;
}

std::set<std::string> WorkerTable::model_names() const {
  std::set<std::string> names;
  for (const auto& [id, worker] : workers_) {
    for (const ModelInfo& model : worker.hello.models) names.insert(model.name);
  }
  return names;
}

const ModelInfo* model_of(const Worker& worker, const std::string& name) {
  for (const ModelInfo& model : worker.hello.models) {
    if (model.name == name) return &model;
  }
  return nullptr;
}

bool asks_for(const Request& request, const Worker& worker) {
  const std::vector<std::string>& names = request.workers;
  return names.empty() || std::find(names.begin(), names.end(), worker.hello.name) != names.end();
}

std::string other_lora(const Request& request, const ModelInfo& reference, const ModelInfo& info) {
  const auto identity = [](const ModelInfo& model, const std::string& name) {
    const auto found = std::find_if(
        model.loras.begin(), model.loras.end(),
        [&](const LoraInfo& lora) { return lora.name == name || lora.identity == name; });
    return found == model.loras.end() ? std::string() : found->identity;
  };
  for (const LoraRef& lora : request.loras) {
    if (identity(reference, lora.name) != identity(info, lora.name)) return lora.name;
  }
  return {};
}

}  // namespace pa
