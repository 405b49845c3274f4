#include "shared/io/segment_maps.h"

#include <algorithm>
#include <utility>

namespace pa {

Buffer SegmentMaps::find(const Segment& segment, TimePoint now) {
  if (segment.bytes() > kMostBytes) return {};
  std::string identity = segment.identity();
  if (identity.empty()) return {};
  const auto found = std::find_if(known_.begin(), known_.end(),
                                  [&](const Known& known) { return known.identity == identity; });
  Known known{std::move(identity), {}, now};
  if (found != known_.end()) {
    known.map = std::move(found->map);
    known_.erase(found);
    if (known.map.empty()) {
      if (Result<Buffer> map = segment.map_shared(Segment::Access::kWrite); map.ok())
        known.map = std::move(*map);
    }
  } else if (known_.size() >= kMost) {
    known_.pop_front();
  }
  known_.push_back(std::move(known));
  return known_.back().map;
}

void SegmentMaps::expire(TimePoint now) {
  while (!known_.empty() && now - known_.front().used >= kIdle) known_.pop_front();
}

}  // namespace pa
