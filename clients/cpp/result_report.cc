// What result files and the command line tell about a finished request.

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "clients/cpp/result_file.h"

namespace pa {
namespace {

using Json = nlohmann::ordered_json;

/// What one device did of a request, counted from the reports of samples.
struct Share {
  std::string device;
  std::int64_t samples = 0;
  std::int64_t steps = 0;
  double seconds = 0;  ///< Busy with the request; 0 if not known.
};

std::map<std::string, Share> shares(const ResultReport& report) {
  std::map<std::string, Share> shares;
  for (const SampleReport& sample : report.outcome.done.samples) {
    if (sample.failed) continue;
    Share& share = shares[sample.worker];
    share.device = sample.device;
    ++share.samples;
    share.steps += sample.steps;
  }
  for (const DeviceProgress& device : report.devices) {
    if (const auto share = shares.find(device.worker); share != shares.end()) {
      share->second.seconds = device.seconds;
    }
  }
  return shares;
}

std::string formatted(const char* format, double value) {
  std::array<char, 64> text{};
  const int length = std::snprintf(text.data(), text.size(), format, value);
  return std::string(text.data(), static_cast<std::size_t>(length));
}

}  // namespace

std::string result_json(const ResultReport& report) {
  const Done& done = report.outcome.done;
  Json devices = Json::array();
  std::int64_t steps = 0;
  for (const auto& [worker, share] : shares(report)) {
    steps += share.steps;
    devices.push_back({{"worker", worker},
                       {"device", share.device},
                       {"samples", share.samples},
                       {"steps", share.steps},
                       {"seconds", share.seconds}});
  }
  Json samples = Json::array();
  for (const SampleReport& sample : done.samples) {
    Json entry = {{"sample", sample.sample}, {"device", sample.device},
                  {"worker", sample.worker}, {"attempts", sample.attempts},
                  {"steps", sample.steps},   {"seconds", sample.seconds}};
    if (sample.failed) {
      entry["error"] = {{"code", std::string(name_of(sample.error.code))},
                        {"message", sample.error.message}};
    }
    samples.push_back(std::move(entry));
  }
  const Json request = Json::parse(report.request, nullptr, /*allow_exceptions=*/false);
  const Json document = {{"id", to_string(report.id)},
                         {"request", request},
                         {"seconds", done.seconds},
                         {"queue_seconds", done.queue_seconds},
                         {"steps", steps},
                         {"epoch", report.outcome.accepted.epoch},
                         {"devices", std::move(devices)},
                         {"samples", std::move(samples)},
                         {"warnings", done.warnings}};
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string result_line(const ResultReport& report) {
  const Done& done = report.outcome.done;
  std::int64_t made = 0;
  std::string who;
  for (const auto& [worker, share] : shares(report)) {
    made += share.samples;
    const double seconds = share.seconds > 0 ? share.seconds : done.seconds;
    who += (who.empty() ? "; " : ", ") + worker + " (" + share.device + ") " +
           std::to_string(share.samples);
    if (seconds > 0)
      who += formatted(" at %.3g samples/s", static_cast<double>(share.samples) / seconds);
  }
  const std::string total = std::to_string(made) + (made == 1 ? " sample" : " samples");
  return "done: " + total +
         formatted(done.seconds < 9.95 ? " in %.2f s" : " in %.1f s", done.seconds) + who;
}

}  // namespace pa
