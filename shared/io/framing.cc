#include "shared/io/framing.h"

#include <algorithm>
#include <string>

#include "shared/wire/codec.h"

namespace pa {
namespace {

constexpr std::uint64_t kHeaderBytes = 1u << 20;

Error too_large(const std::string& what, std::uint64_t bytes, std::uint64_t limit) {
  return invalid(what + " of " + std::to_string(bytes) + " bytes exceeds the limit of " +
                 std::to_string(limit));
}

}  // namespace

FrameLimits frame_limits(Channel channel, std::uint64_t chunk_bytes) {
  return {kHeaderBytes, channel == Channel::kWorkerControl ? 0 : chunk_bytes};
}

std::uint64_t largest_frame_bytes(const FrameLimits& limits) {
  constexpr std::uint64_t kMargin = 4u << 10;
  return std::max(limits.header_bytes, limits.payload_bytes) + kMargin;
}

Status check_frames(const FrameLimits& limits, const Message& message, std::uint64_t header_bytes,
                    std::uint64_t payload_bytes) {
  if (header_bytes > limits.header_bytes) {
    return too_large(std::string(name_of(message)), header_bytes, limits.header_bytes);
  }
  if (payload_bytes == 0) return {};
  if (!std::holds_alternative<Put>(message)) {
    return invalid(std::string(name_of(message)) + " with a payload");
  }
  if (payload_bytes > limits.payload_bytes) {
    return too_large("payload", payload_bytes, limits.payload_bytes);
  }
  return {};
}

Result<Message> read_frames(const FrameLimits& limits, std::span<const std::byte> header,
                            std::uint64_t payload_bytes, std::size_t frames) {
  if (frames < 1 || frames > kMostFrames) {
    return invalid("message of " + std::to_string(frames) + " frames");
  }
  if (header.size() > limits.header_bytes) {
    return too_large("header", header.size(), limits.header_bytes);
  }
  PA_ASSIGN(Message message, decode(header));
  PA_TRY(check_frames(limits, message, header.size(), payload_bytes));
  return message;
}

}  // namespace pa
