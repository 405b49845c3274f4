#include "clients/cpp/result_report.h"

#include <array>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

namespace pa {
namespace {

using Json = nlohmann::ordered_json;

std::string formatted(const char* format, double value) {
  std::array<char, 64> text{};
  const int length = std::snprintf(text.data(), text.size(), format, value);
  return std::string(text.data(), static_cast<std::size_t>(length));
}

}  // namespace

std::vector<DeviceShare> device_shares(const ResultReport& report) {
  std::map<std::string, DeviceShare> shares;
  for (const SampleReport& sample : report.outcome.done.samples) {
    if (sample.failed) continue;
    DeviceShare& share = shares[sample.worker];
    share.worker = sample.worker;
    share.device = sample.device;
    share.seconds = report.outcome.done.seconds;
    ++share.samples;
    share.steps += sample.steps;
  }
  for (const DeviceProgress& device : report.devices) {
    const auto share = shares.find(device.worker);
    if (share != shares.end() && device.seconds > 0) share->second.seconds = device.seconds;
  }
  std::vector<DeviceShare> list;
  for (auto& [worker, share] : shares) list.push_back(std::move(share));
  return list;
}

std::string rate_text(double per_second) {
  if (per_second >= 9999.5) return formatted("%.0fk", per_second / 1000);
  if (per_second >= 99.95) return formatted("%.0f", per_second);
  if (per_second >= 9.995) return formatted("%.1f", per_second);
  return formatted(per_second >= 0.9995 ? "%.2f" : "%.3f", per_second);
}

std::string share_text(const DeviceShare& share) {
  std::string text = share.worker;
  if (share.device != share.worker) text += " (" + share.device + ")";
  text += " " + std::to_string(share.samples);
  if (share.seconds > 0) {
    text += " at " + rate_text(static_cast<double>(share.samples) / share.seconds) + " samples/s";
  }
  return text;
}

std::string result_json(const ResultReport& report) {
  const Done& done = report.outcome.done;
  Json devices = Json::array();
  std::int64_t steps = 0;
  for (const DeviceShare& share : device_shares(report)) {
    steps += share.steps;
    devices.push_back({{"worker", share.worker},
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
                         {"run", report.outcome.accepted.run},
                         {"devices", std::move(devices)},
                         {"samples", std::move(samples)},
                         {"warnings", done.warnings}};
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string result_line(const ResultReport& report) {
  std::int64_t made = 0;
  std::string who;
  for (const DeviceShare& share : device_shares(report)) {
    made += share.samples;
    who += (who.empty() ? "; " : ", ") + share_text(share);
  }
  const double seconds = report.outcome.done.seconds;
  return "done: " + std::to_string(made) + (made == 1 ? " sample" : " samples") +
         formatted(seconds < 9.95 ? " in %.2f s" : " in %.1f s", seconds) + who;
}

}  // namespace pa
