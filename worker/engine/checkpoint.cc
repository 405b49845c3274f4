#include "worker/engine/checkpoint.h"

#include <ATen/ATen.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <msgpack.hpp>
#include <set>
#include <string>

namespace pa {
namespace {

constexpr std::size_t kDigestBytes = 16;
constexpr std::size_t kMembers = 10;
constexpr std::size_t kMaxRank = 8;
constexpr std::size_t kMaxSlots = 1024;

using Packer = msgpack::packer<msgpack::sbuffer>;

void pack_bytes(Packer& packer, const void* bytes, std::size_t size) {
  packer.pack_bin(static_cast<std::uint32_t>(size));
  packer.pack_bin_body(static_cast<const char*>(bytes), static_cast<std::uint32_t>(size));
}

std::array<char, kDigestBytes> digest_of(const char* bytes, std::size_t size) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, size));
  std::array<char, kDigestBytes> digest{};
  std::memcpy(digest.data(), canonical.digest, kDigestBytes);
  return digest;
}

/// Hashes numbers, whatever lies between them in memory.
class Fingerprint {
 public:
  template <class T>
  void add(T number) {
    bytes_.append(reinterpret_cast<const char*>(&number), sizeof number);
  }
  [[nodiscard]] std::uint64_t value() const { return XXH3_64bits(bytes_.data(), bytes_.size()); }

 private:
  std::string bytes_;
};

Error no_checkpoint() { return invalid("these bytes are no checkpoint"); }

/// The value at `key`. msgpack::type_error if there is none.
const msgpack::object& at(const msgpack::object& map, std::string_view key) {
  if (map.type != msgpack::type::MAP) throw msgpack::type_error();
  for (std::uint32_t i = 0; i < map.via.map.size; ++i) {
    const msgpack::object_kv& entry = map.via.map.ptr[i];
    if (entry.key.type == msgpack::type::STR && entry.key.as<std::string_view>() == key) {
      return entry.val;
    }
  }
  throw msgpack::type_error();
}

const msgpack::object_bin& bytes_at(const msgpack::object& map, std::string_view key) {
  const msgpack::object& value = at(map, key);
  if (value.type != msgpack::type::BIN) throw msgpack::type_error();
  return value.via.bin;
}

Result<Checkpoint> read_state(const msgpack::object& state) {
  Checkpoint checkpoint;
  checkpoint.request.high = at(state, "request_high").as<std::uint64_t>();
  checkpoint.request.low = at(state, "request_low").as<std::uint64_t>();
  checkpoint.sample = at(state, "sample").as<std::int64_t>();
  checkpoint.program = at(state, "program").as<std::uint64_t>();
  checkpoint.stage = at(state, "stage").as<std::uint64_t>();
  checkpoint.steps = at(state, "steps").as<std::int64_t>();
  checkpoint.seconds = at(state, "seconds").as<double>();
  checkpoint.row = at(state, "row").as<Shape>();
  checkpoint.slots = at(state, "slots").as<std::vector<int>>();
  const msgpack::object_bin& values = bytes_at(state, "values");
  if (checkpoint.row.size() > kMaxRank || checkpoint.slots.size() > kMaxSlots) {
    return no_checkpoint();
  }
  Shape shape{std::ssize(checkpoint.slots)};
  shape.insert(shape.end(), checkpoint.row.begin(), checkpoint.row.end());
  const Result<std::uint64_t> size = byte_size({"values", DType::kF32, shape});
  if (!size.ok() || *size != values.size) return no_checkpoint();
  checkpoint.values = at::empty(shape, at::kFloat);
  std::memcpy(checkpoint.values.mutable_data_ptr(), values.ptr, values.size);
  return checkpoint;
}

/// From the slots whose values are read after a stage to those read in it or after it.
void go_back(std::set<int>& live, const Stage& stage) {
  for (const Update& update : stage.updates) live.erase(update.slot);
  for (const Update& update : stage.updates) {
    for (const Term& term : update.terms) live.insert(term.slot);
  }
  for (const NoiseDraw& draw : stage.draws) live.erase(draw.slot);
  live.erase(stage.denoised);
  live.erase(stage.uncond);
  if (stage.input >= 0) live.insert(stage.input);
}

}  // namespace

std::uint64_t fingerprint(const Program& program) {
  Fingerprint print;
  print.add(program.slots);
  print.add(program.result);
  print.add(program.end_sigma);
  for (const Stage& stage : program.stages) {
    print.add(stage.step);
    print.add(stage.input);
    print.add(stage.sigma);
    print.add(stage.denoised);
    print.add(stage.uncond);
    print.add(stage.draws.size());
    for (const NoiseDraw& draw : stage.draws) {
      print.add(draw.from);
      print.add(draw.to);
      print.add(draw.slot);
    }
    print.add(stage.updates.size());
    for (const Update& update : stage.updates) {
      print.add(update.slot);
      print.add(update.terms.size());
      for (const Term& term : update.terms) {
        print.add(term.slot);
        print.add(term.weight);
      }
    }
  }
  return print.value();
}

std::vector<int> live_slots(const Program& program, std::size_t stage) {
  std::set<int> live{program.result};
  for (std::size_t i = program.stages.size(); i-- > stage;) go_back(live, program.stages[i]);
  return {live.begin(), live.end()};
}

std::vector<std::vector<bool>> kept_slots(const Program& program) {
  std::vector<std::vector<bool>> kept(program.stages.size());
  std::set<int> live{program.result};
  for (std::size_t i = program.stages.size(); i-- > 0;) {
    kept[i].assign(static_cast<std::size_t>(program.slots), false);
    for (const int slot : live) kept[i][static_cast<std::size_t>(slot)] = true;
    go_back(live, program.stages[i]);
  }
  return kept;
}

Buffer encode(const Checkpoint& checkpoint) {
  msgpack::sbuffer state;
  Packer packer(state);
  const at::Tensor values = checkpoint.values.contiguous();
  packer.pack_map(kMembers);
  packer.pack("request_high").pack(checkpoint.request.high);
  packer.pack("request_low").pack(checkpoint.request.low);
  packer.pack("sample").pack(checkpoint.sample);
  packer.pack("program").pack(checkpoint.program);
  packer.pack("stage").pack(static_cast<std::uint64_t>(checkpoint.stage));
  packer.pack("steps").pack(checkpoint.steps);
  packer.pack("seconds").pack(checkpoint.seconds);
  packer.pack("row").pack(checkpoint.row);
  packer.pack("slots").pack(checkpoint.slots);
  packer.pack("values");
  pack_bytes(packer, values.const_data_ptr(), values.nbytes());

  msgpack::sbuffer whole;
  Packer outer(whole);
  const auto digest = digest_of(state.data(), state.size());
  outer.pack_map(3);
  outer.pack("checkpoint").pack(kCheckpointVersion);
  outer.pack("digest");
  pack_bytes(outer, digest.data(), digest.size());
  outer.pack("state");
  pack_bytes(outer, state.data(), state.size());

  auto kept = std::make_shared<msgpack::sbuffer>(std::move(whole));
  auto* const data = reinterpret_cast<std::byte*>(kept->data());
  const std::size_t size = kept->size();
  return {std::shared_ptr<std::byte>(std::move(kept), data), size};
}

Result<Checkpoint> decode_checkpoint(std::span<const std::byte> bytes) {
  try {
    const auto* const data = reinterpret_cast<const char*>(bytes.data());
    const msgpack::unpack_limit limits(16, 64, 64, 0xffffffff, 0, 4);
    const auto by_reference = [](msgpack::type::object_type, std::size_t, void*) { return true; };
    const msgpack::object_handle whole =
        msgpack::unpack(data, bytes.size(), by_reference, nullptr, limits);
    const auto version = at(whole.get(), "checkpoint").as<std::uint32_t>();
    if (version != kCheckpointVersion) {
      return invalid("the checkpoint is of version " + std::to_string(version) +
                     "; this program reads version " + std::to_string(kCheckpointVersion));
    }
    const msgpack::object_bin& digest = bytes_at(whole.get(), "digest");
    const msgpack::object_bin& state = bytes_at(whole.get(), "state");
    const auto expected = digest_of(state.ptr, state.size);
    if (digest.size != expected.size() ||
        std::memcmp(digest.ptr, expected.data(), expected.size()) != 0) {
      return invalid("the checkpoint is damaged: its digest is another");
    }
    const msgpack::unpack_limit inner(kMaxSlots, kMembers, 64, 0xffffffff, 0, 4);
    const msgpack::object_handle members =
        msgpack::unpack(state.ptr, state.size, by_reference, nullptr, inner);
    return read_state(members.get());
  } catch (const std::exception&) {  // Of MessagePack: other bytes, other types, other sizes.
    return no_checkpoint();
  }
}

Status check_checkpoint(const Checkpoint& checkpoint, const RequestId& request, std::int64_t sample,
                        const Program& program, const Shape& row) {
  if (checkpoint.request != request) {
    return invalid("the checkpoint is of request " + to_string(checkpoint.request));
  }
  if (checkpoint.sample != sample) {
    return invalid("the checkpoint is of sample " + std::to_string(checkpoint.sample));
  }
  if (checkpoint.program != fingerprint(program)) {
    return invalid("the checkpoint is of another program: its version samples differently");
  }
  const bool fits = checkpoint.row == row && checkpoint.stage < program.stages.size() &&
                    program.stages[checkpoint.stage].step >= 0 &&
                    checkpoint.slots == live_slots(program, checkpoint.stage);
  if (!fits) return invalid("the checkpoint does not fit its request");
  return {};
}

}  // namespace pa
