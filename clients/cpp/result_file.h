#pragma once

#include <string>
#include <vector>

#include "clients/cpp/client_job.h"
#include "shared/core/buffer.h"
#include "shared/core/result.h"
#include "shared/io/safetensors.h"
#include "shared/wire/messages.h"

namespace pa {

/// What there is to tell about a request that was run.
struct ResultReport {
  RequestId id;
  std::string request;  ///< Its JSON.
  Outcome outcome;
  std::vector<DeviceProgress> devices;  ///< As reported last.
};

/// One line of JSON: {"id", "request", "seconds", "queue_seconds", "steps", "epoch", "devices": [{"worker",
/// "device", "samples", "steps", "seconds"}], "samples": [{"sample", "device", "worker", "attempts", "steps",
/// "seconds"}], "warnings": [...]}. A sample that failed has "error", too.
[[nodiscard]] std::string result_json(const ResultReport& report);

/// "done: 21 samples in 1.2 s; a (cpu) 11 at 9.1 samples/s, b (cpu) 10 at 8.3 samples/s".
[[nodiscard]] std::string result_line(const ResultReport& report);

/// A result file in the making: the tensor that Accepted promised, and the report in the metadata key
/// `result`, the request's JSON in `request`. The bytes are received straight into the file.
class ResultFile {
 public:
  /// Errors: as SafetensorsOutput::create().
  [[nodiscard]] static Result<ResultFile> create(const std::string& path, const Accepted& accepted,
                                                 std::int64_t samples);

  /// Where the result's bytes belong.
  [[nodiscard]] Buffer bytes() const { return output_.bytes(0); }

  /// Writes the report and gives the file its name. Without, the file vanishes.
  [[nodiscard]] Status finish(const ResultReport& report);

 private:
  explicit ResultFile(SafetensorsOutput output) : output_(std::move(output)) {}
  SafetensorsOutput output_;
};

}  // namespace pa
