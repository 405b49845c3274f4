#include "shared/wire/blobs.h"

namespace pa {

std::string client_scope(const std::string& who) { return "client " + who; }

std::vector<Range> ranges_here(const std::vector<TensorSpec>& tensors,
                               const std::vector<bool>& have) {
  std::vector<Range> ranges;
  std::uint64_t position = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Result<std::uint64_t> bytes = byte_size(tensors[i]);
    PA_CHECK(bytes.ok());
    if (i < have.size() && have[i] && *bytes > 0) {
      if (!ranges.empty() && ranges.back().offset + ranges.back().bytes == position) {
        ranges.back().bytes += *bytes;
      } else if (ranges.size() < kMostRanges) {
        ranges.push_back({position, *bytes});
      }
    }
    position += *bytes;
  }
  return ranges;
}

}  // namespace pa
