#include "coordinator/core/load_times.h"

#include <algorithm>

namespace pa {
namespace {

constexpr std::size_t kMostModels = 256;  ///< Of one worker.
/// Where nothing was measured: two bytes a parameter, a gigabyte a second.
constexpr double kSecondsAParameter = 2e-9;
/// Likewise, other LoRAs, as a part of loading it all.
constexpr double kSwitchPart = 0.3;

}  // namespace

void LoadTimes::told(const std::string& worker, std::span<const LoadedModel> loaded) {
  if (loaded.empty()) return;
  Models& models = workers_[worker];
  for (auto& [name, known] : models) known.is_loaded = false;
  for (const LoadedModel& model : loaded) {
    const auto found = models.find(model.model);
    if (found == models.end() && models.size() >= kMostModels) continue;
    models[model.model] = {true, model.loras, model.load_seconds, model.switch_seconds};
  }
}

void LoadTimes::forget(const std::string& worker) { workers_.erase(worker); }

std::vector<std::string> LoadTimes::loaded(const std::string& worker) const {
  std::vector<std::string> names;
  const auto models = workers_.find(worker);
  if (models == workers_.end()) return names;
  for (const auto& [name, known] : models->second) {
    if (known.is_loaded) names.push_back(name);
  }
  return names;
}

double LoadTimes::usual_load(const ModelInfo& model) const {
  double slowest = 0;
  for (const auto& [worker, models] : workers_) {
    const auto found = models.find(model.name);
    if (found != models.end()) slowest = std::max(slowest, found->second.load_seconds);
  }
  return slowest > 0 ? slowest : kSecondsAParameter * static_cast<double>(model.parameters);
}

double LoadTimes::usual_switch(const ModelInfo& model, double load_seconds) const {
  double slowest = 0;
  for (const auto& [worker, models] : workers_) {
    const auto found = models.find(model.name);
    if (found != models.end()) slowest = std::max(slowest, found->second.switch_seconds);
  }
  return slowest > 0 ? slowest : kSwitchPart * load_seconds;
}

const LoadTimes::Known* LoadTimes::find(const std::string& worker, const std::string& model) const {
  const auto models = workers_.find(worker);
  if (models == workers_.end()) return nullptr;
  const auto found = models->second.find(model);
  return found == models->second.end() ? nullptr : &found->second;
}

double LoadTimes::load_seconds(const Known* known, const ModelInfo& model) const {
  return known != nullptr && known->load_seconds > 0 ? known->load_seconds : usual_load(model);
}

double LoadTimes::switch_seconds(const Known* known, const ModelInfo& model) const {
  return known != nullptr && known->switch_seconds > 0
             ? known->switch_seconds
             : usual_switch(model, load_seconds(known, model));
}

double LoadTimes::seconds(const std::string& worker, const ModelInfo& model,
                          const std::string& loras) const {
  if (!tells(worker)) return 0;
  const Known* const known = find(worker, model.name);
  if (known == nullptr || !known->is_loaded) return seconds_anew(worker, model, loras);
  return known->loras == loras ? 0 : switch_seconds(known, model);
}

double LoadTimes::seconds_anew(const std::string& worker, const ModelInfo& model,
                               const std::string& loras) const {
  const Known* const known = find(worker, model.name);
  return load_seconds(known, model) + (loras.empty() ? 0 : switch_seconds(known, model));
}

}  // namespace pa
