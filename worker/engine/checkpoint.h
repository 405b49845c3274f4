#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "shared/core/buffer.h"
#include "shared/core/id.h"
#include "shared/core/result.h"
#include "shared/core/tensor_spec.h"
#include "shared/sampling/program.h"

/// A trajectory written down between two steps, so that it goes on elsewhere, bit for bit on a device
/// of equal numerics_id.
namespace pa {

/// Version of the form; this one and the one before it are read (today only 1 exists).
inline constexpr std::uint32_t kCheckpointVersion = 1;

struct Checkpoint {
  RequestId request;
  std::int64_t sample = 0;
  std::uint64_t program = 0;  ///< fingerprint() of what it runs.
  std::size_t stage = 0;      ///< The next one.
  std::int64_t steps = 0;     ///< Done so far.
  double seconds = 0;         ///< Of devices, so far.
  Shape row;
  std::vector<int> slots;  ///< Those that are read again, ascending.
  at::Tensor values;       ///< [slots.size(), row...] F32 on the CPU.
};

/// XXH3-64 over everything in a program: equal programs run alike.
[[nodiscard]] std::uint64_t fingerprint(const Program& program);

/// The slots whose values `stage` or a later one reads, or that are the result; ascending.
[[nodiscard]] std::vector<int> live_slots(const Program& program, std::size_t stage);

/// By stage and slot: whether the value that the slot has after the stage is read later, or is the result.
[[nodiscard]] std::vector<std::vector<bool>> kept_slots(const Program& program);

/// MessagePack: {"checkpoint": version, "digest": XXH3-128 of `state`, "state": the members}.
[[nodiscard]] Buffer encode(const Checkpoint& checkpoint);

/// Errors: kInvalid in words: no checkpoint, of another version, damaged.
[[nodiscard]] Result<Checkpoint> decode_checkpoint(std::span<const std::byte> bytes);

/// Whether it is where this sample of this request, run by this program, may go on.
///
/// Errors: kInvalid in words.
[[nodiscard]] Status check_checkpoint(const Checkpoint& checkpoint, const RequestId& request,
                                      std::int64_t sample, const Program& program,
                                      const Shape& row);

}  // namespace pa
