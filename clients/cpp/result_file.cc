#include "clients/cpp/result_file.h"

#include <utility>

namespace pa {
namespace {

/// Room for the metadata: the request, and a report of a sample with names of some length.
constexpr std::uint64_t kMetadataBytes = 64 << 10;
constexpr std::uint64_t kMetadataBytesPerSample = 512;

}  // namespace

Result<ResultFile> ResultFile::create(const std::string& path, const Accepted& accepted,
                                      std::int64_t samples) {
  const std::uint64_t room =
      kMetadataBytes + static_cast<std::uint64_t>(samples) * kMetadataBytesPerSample;
  PA_ASSIGN(SafetensorsOutput output, SafetensorsOutput::create(path, {accepted.result}, room));
  return ResultFile(std::move(output));
}

Status ResultFile::finish(const ResultReport& report) {
  return output_.finish({{"request", report.request}, {"result", result_json(report)}},
                        Durability::kPowerFailure);
}

}  // namespace pa
