#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "coordinator/journal/journal.h"
#include "shared/core/result.h"

/// How journal entries look in their database: MessagePack arrays around messages of the protocol, so
/// that one thing has one form. Tensors are not in them, only their sizes and digests.
namespace pa {

/// A request, with what is needed to know its input's file again.
struct RequestRecord {
  Submit submit;
  ModelInfo model;
  std::uint64_t input_bytes = 0;
  Digest input_digest;
  std::int64_t written_at = 0;  ///< Seconds since 1970.
};
[[nodiscard]] std::string pack(const RequestRecord& record);
[[nodiscard]] Result<RequestRecord> unpack_request(std::string_view record);

/// One finished sample, with what is needed to know its row in the result's file again.
struct SampleRecord {
  SampleReport report;
  std::uint64_t row_bytes = 0;  ///< 0 if it failed.
  std::uint64_t result_bytes = 0;
  Digest row_digest;
};
[[nodiscard]] std::string pack(const SampleRecord& record);
[[nodiscard]] Result<SampleRecord> unpack_sample(std::string_view record);

[[nodiscard]] std::string pack(const Done& outcome);
[[nodiscard]] Result<Done> unpack_outcome(std::string_view record);

}  // namespace pa
