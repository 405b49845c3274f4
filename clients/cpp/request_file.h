#pragma once

#include <string>
#include <vector>

#include "clients/cpp/client_job.h"
#include "shared/core/result.h"

namespace pa {

/// A request file: one safetensors file whose metadata key `request` is the request's JSON, and whose
/// tensors are its data.
struct RequestFile {
  std::string json;                  ///< As it stands in the file, not checked.
  std::vector<InputTensor> tensors;  ///< Their bytes are those of the file, mapped.
};

/// Errors: kInvalid, naming the file: not readable, no safetensors file, or without `request`.
[[nodiscard]] Result<RequestFile> read_request_file(const std::string& path);

/// Errors: as write_safetensors().
[[nodiscard]] Status write_request_file(const std::string& path, const RequestFile& request);

}  // namespace pa
