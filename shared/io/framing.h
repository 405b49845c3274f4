#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "shared/core/buffer.h"
#include "shared/core/result.h"
#include "shared/io/transport.h"
#include "shared/wire/messages.h"

/// A message is one frame (its header, see shared/wire/codec.h), or two: a Put's bytes follow.
namespace pa {

/// What a transport lets pass on a channel, in either direction.
struct FrameLimits {
  std::uint64_t header_bytes = 0;
  std::uint64_t payload_bytes = 0;  ///< 0: no second frame.
};

/// Frames of one message, at most.
inline constexpr std::size_t kMostFrames = 2;

/// 1 MiB, and a chunk of `chunk_bytes` but on control. A Hello with hundreds of models is that large,
/// and nothing else on control comes near.
[[nodiscard]] FrameLimits frame_limits(Channel channel, std::uint64_t chunk_bytes);

/// What a transport must take before it looks: the larger limit, and a little, so that what exceeds
/// the limits narrowly is reported and what exceeds them widely never allocated.
[[nodiscard]] std::uint64_t largest_frame_bytes(const FrameLimits& limits);

/// What must hold of frames on their way out.
///
/// Errors: kInvalid, a frame is larger than the limit, or a payload does not belong to a Put.
[[nodiscard]] Status check_frames(const FrameLimits& limits, const Message& message,
                                  std::uint64_t header_bytes, std::uint64_t payload_bytes);

/// The message in `frames` frames that came in.
///
/// Errors: kInvalid, as check_frames() and decode(), or if there are none or too many.
[[nodiscard]] Result<Message> read_frames(const FrameLimits& limits,
                                          std::span<const std::byte> header,
                                          std::uint64_t payload_bytes, std::size_t frames);

}  // namespace pa
