#include "clients/cpp/client_memory.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "shared/io/digest.h"

namespace pa {
namespace {

/// Digested and copied at once, so that the copy finds them in the cache.
constexpr std::uint64_t kStride = 256u << 10;

bool fits(const Segment& segment, std::uint64_t bytes) {
  return segment.bytes() >= bytes && segment.bytes() / 2 <= bytes;
}

/// Makes room among `kept` for one more of `bytes`, which are kMostBytes at most: the oldest go.
template <class Kept>
void make_room(std::deque<Kept>& kept, std::size_t most, std::uint64_t bytes) {
  std::uint64_t sum = bytes;
  for (const Kept& one : kept) sum += one.memory.segment.bytes();
  while (!kept.empty() && (kept.size() >= most || sum > ClientMemory::kMostBytes)) {
    sum -= kept.front().memory.segment.bytes();
    kept.pop_front();
  }
}

/// `offset` and the size must fit.
bool write(const Mapped& memory, std::uint64_t offset, std::span<const std::byte> source) {
  if (memory.map.empty()) return memory.segment.write(offset, source).ok();
  std::memcpy(memory.map.data() + offset, source.data(), source.size());
  return true;
}

}  // namespace

std::optional<ClientMemory::Placed> ClientMemory::place(std::uint64_t total,
                                                        const std::vector<Part>& parts) {
  Placed placed;
  Mapped& memory = placed.memory;
  const auto fitting = std::find_if(spare_.begin(), spare_.end(), [&](const Spare& spare) {
    return fits(spare.memory.segment, total);
  });
  if (fitting != spare_.end()) {
    memory = std::move(fitting->memory);
    spare_.erase(fitting);
    // Its pages are there: writing through a map costs half of Segment::write().
    if (memory.map.empty()) {
      if (Result<Buffer> map = memory.segment.map_shared(Segment::Access::kWrite); map.ok())
        memory.map = std::move(*map);
    }
  } else {
    Result<Segment> fresh = Segment::create(total);
    if (!fresh.ok()) return std::nullopt;
    memory.segment = std::move(*fresh);
  }
  for (const Part& part : parts) {
    Digester digester;
    for (std::uint64_t done = 0; done < part.bytes.size(); done += kStride) {
      const Buffer stretch = part.bytes.slice(done, std::min(kStride, part.bytes.size() - done));
      digester.add(stretch.bytes());
      if (!write(memory, part.at + done, stretch.bytes())) return std::nullopt;
    }
    placed.digests.push_back(digester.digest());
    copied_bytes_ += part.bytes.size();
  }
  return placed;
}

bool ClientMemory::hand_over(std::uint64_t id, const Segment& segment) {
  const Result<Segment> readable = segment.read_only();
  return readable.ok() && transport_.share(id, *readable);
}

void ClientMemory::reuse(Mapped memory) {
  if (memory.segment.bytes() > kMostBytes) return;
  make_room(spare_, kMostSpare, memory.segment.bytes());
  spare_.push_back({std::move(memory)});
}

Segment ClientMemory::handed(std::uint64_t id, std::uint64_t bytes) {
  std::optional<Segment> segment = transport_.shared(id);
  return segment && segment->bytes() >= bytes ? std::move(*segment) : Segment();
}

/// The memory of an earlier result that nobody has any more; none if there is none that fits.
Mapped ClientMemory::take_returned() {
  Mapped found;
  std::erase_if(lent_, [&](Lent& lent) {
    if (!lent.acknowledged || !lent.dropped->load(std::memory_order_acquire)) return false;
    const bool serves = fits(lent.memory.segment, result_bytes_);
    if (serves && found.segment) return false;  // For the one after.
    if (serves) found = std::move(lent.memory);
    return true;
  });
  return found;
}

Mapped ClientMemory::offer_result(std::uint64_t id) {
  if (result_bytes_ == 0) return {};
  Mapped memory = take_returned();
  if (!memory.segment) {
    Result<Segment> fresh = Segment::create(result_bytes_);
    if (!fresh.ok()) return {};
    memory.segment = std::move(*fresh);
  }
  return transport_.share(id, memory.segment) ? memory : Mapped();
}

Buffer ClientMemory::lend(const RequestId& request, Mapped memory) {
  Buffer map = memory.map;
  if (memory.segment.bytes() > kMostBytes) return map;
  make_room(lent_, kMostLent, memory.segment.bytes());
  auto dropped = std::make_shared<std::atomic<bool>>(false);
  lent_.push_back({request, std::move(memory), dropped});
  std::byte* const data = map.data();
  const std::uint64_t bytes = map.size();
  return {std::shared_ptr<std::byte>(data,
                                     [map = std::move(map), dropped](std::byte*) mutable {
                                       map = {};
                                       dropped->store(true, std::memory_order_release);
                                     }),
          bytes};
}

void ClientMemory::acknowledged(const RequestId& request) {
  for (Lent& lent : lent_) lent.acknowledged = lent.acknowledged || lent.request == request;
}

}  // namespace pa
