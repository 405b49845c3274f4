#include "clients/cpp/client_memory.h"

#include <algorithm>
#include <utility>

namespace pa {

std::optional<Segment> ClientMemory::place(std::uint64_t total, const std::vector<Part>& parts) {
  const auto fitting = std::find_if(spare_.begin(), spare_.end(), [&](const Segment& segment) {
    return segment.bytes() >= total && segment.bytes() / 2 <= total;
  });
  Segment segment;
  if (fitting != spare_.end()) {
    segment = std::move(*fitting);
    spare_.erase(fitting);
  } else {
    Result<Segment> fresh = Segment::create(total);
    if (!fresh.ok()) return std::nullopt;
    segment = std::move(*fresh);
  }
  for (const Part& part : parts) {
    if (!segment.write(part.at, part.bytes.bytes()).ok()) return std::nullopt;
    copied_bytes_ += part.bytes.size();
  }
  return segment;
}

bool ClientMemory::hand_over(std::uint64_t id, const Segment& segment) {
  const Result<Segment> readable = segment.read_only();
  return readable.ok() && transport_.share(id, *readable);
}

void ClientMemory::reuse(Segment segment) {
  if (spare_.size() >= kMostSpare) spare_.erase(spare_.begin());
  spare_.push_back(std::move(segment));
}

Segment ClientMemory::handed(std::uint64_t id, std::uint64_t bytes) {
  std::optional<Segment> segment = transport_.shared(id);
  return segment && segment->bytes() >= bytes ? std::move(*segment) : Segment();
}

}  // namespace pa
