#include "worker/io/shared_shard.h"

#include <cstdlib>
#include <cstring>

namespace pa {
namespace {

constexpr std::size_t kAlignment = 64;

Buffer allocate(std::uint64_t bytes) {
  void* const data =
      std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (data == nullptr) return {};
  return {
      std::shared_ptr<std::byte>(static_cast<std::byte*>(data), [](std::byte* p) { std::free(p); }),
      bytes};
}

/// The sources of one tensor, `count` of them from `first` on.
Result<Buffer> join(const Source* first, std::size_t count, std::uint64_t bytes,
                    const Buffer& memory) {
  if (count == 1) return memory.slice(first->offset, bytes);
  Buffer copy = allocate(bytes);
  if (copy.empty()) return overloaded("no memory for a shard's tensors");
  std::uint64_t at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(copy.data() + at, memory.data() + first[i].offset, first[i].bytes);
    at += first[i].bytes;
  }
  return copy;
}

}  // namespace

Result<std::vector<Buffer>> gather_inputs(const Assign& assign, const Buffer& memory) {
  PA_ASSIGN(const InputLayout layout, input_layout(assign.tensors));
  std::vector<Buffer> parts;
  std::size_t next = 0;
  for (std::size_t i = 0; i < assign.tensors.size(); ++i) {
    PA_ASSIGN(const std::uint64_t bytes, byte_size(assign.tensors[i]));
    const std::size_t first = next;
    std::uint64_t have = 0;
    for (; have < bytes && next < assign.sources.size(); ++next) {
      const Source& source = assign.sources[next];
      const bool inside =
          source.offset <= memory.size() && source.bytes <= memory.size() - source.offset;
      const bool fits = source.bytes > 0 && source.bytes <= bytes - have;
      if (!inside || !fits || source.at != layout.offsets[i] + have) {
        return invalid("a source of tensor '" + assign.tensors[i].name +
                       "' is not where it should be");
      }
      have += source.bytes;
    }
    if (have != bytes) return invalid("tensor '" + assign.tensors[i].name + "' is not whole");
    PA_ASSIGN(Buffer part, join(assign.sources.data() + first, next - first, bytes, memory));
    parts.push_back(std::move(part));
  }
  if (next != assign.sources.size()) return invalid("there are sources of no tensor");
  return parts;
}

}  // namespace pa
