#pragma once

#include <optional>
#include <string>

#include "clients/cpp/client.h"
#include "clients/cpp/request_builder.h"
#include "shared/core/request.h"

namespace pa::cli {

/// A request as it goes to the coordinator, and what its body says.
struct PreparedRequest {
  Submission submission;
  Request request;
};

/// A request file with what the command line says instead; without a file, all that the command line says.
///
/// op            nullopt: as the file says, or else to sample.
/// file          safetensors; "" for none.
/// Errors: kInvalid, with the file's name where that is at fault.
[[nodiscard]] Result<PreparedRequest> prepare_request(std::optional<Operation> op,
                                                      const std::string& file,
                                                      const RequestOverrides& overrides);

}  // namespace pa::cli
