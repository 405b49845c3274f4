#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clients/cpp/client_job.h"
#include "shared/core/id.h"
#include "shared/wire/messages.h"

namespace pa {

/// What there is to tell about a request that was run.
struct ResultReport {
  RequestId id;
  std::string request;  ///< Its JSON.
  Outcome outcome;
  std::vector<DeviceProgress> devices;  ///< As reported last.
};

/// What one worker made of a result.
struct DeviceShare {
  std::string worker;
  std::string device;
  std::int64_t samples = 0;
  std::int64_t steps = 0;
  double seconds = 0;  ///< That it was busy with the request; of the whole request if not known.
};

/// By worker's name; those that made nothing are left out.
[[nodiscard]] std::vector<DeviceShare> device_shares(const ResultReport& report);

/// Three digits or so, without an exponent: "0.667", "9.12", "59.0", "346", "193k".
[[nodiscard]] std::string rate_text(double per_second);

/// "a (cpu) 11 at 9.10 samples/s".
[[nodiscard]] std::string share_text(const DeviceShare& share);

/// "done: 21 samples in 1.2 s; a (cpu) 11 at 9.10 samples/s, b (cpu) 10 at 8.32 samples/s".
[[nodiscard]] std::string result_line(const ResultReport& report);

/// One line of JSON: {"id", "request", "seconds", "queue_seconds", "steps", "run", "devices":
/// [{"worker", "device", "samples", "steps", "seconds"}], "samples": [{"sample", "device", "worker",
/// "attempts", "steps", "seconds"}], "warnings": [...]}. A sample that failed has "error", too.
[[nodiscard]] std::string result_json(const ResultReport& report);

}  // namespace pa
