#pragma once

#include <string>

#include "clients/cpp/result_report.h"
#include "shared/core/buffer.h"
#include "shared/core/result.h"
#include "shared/io/safetensors.h"
#include "shared/wire/messages.h"

namespace pa {

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
