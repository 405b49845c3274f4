#include "worker/io/shared_shard.h"

namespace pa {

Result<std::vector<std::vector<Buffer>>> find_inputs(const Assign& assign, const Buffer& memory) {
  PA_ASSIGN(const InputLayout layout, input_layout(assign.tensors));
  std::vector<std::vector<Buffer>> tensors;
  std::size_t next = 0;
  for (std::size_t i = 0; i < assign.tensors.size(); ++i) {
    PA_ASSIGN(const std::uint64_t bytes, byte_size(assign.tensors[i]));
    std::vector<Buffer>& pieces = tensors.emplace_back();
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
      pieces.push_back(memory.slice(source.offset, source.bytes));
      have += source.bytes;
    }
    if (have != bytes) return invalid("tensor '" + assign.tensors[i].name + "' is not whole");
  }
  if (next != assign.sources.size()) return invalid("there are sources of no tensor");
  return tensors;
}

}  // namespace pa
