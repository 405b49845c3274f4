#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "shared/core/buffer.h"
#include "shared/io/segment.h"
#include "shared/io/transport.h"

namespace pa {

/// The memory that a client shares with a coordinator on its box: inputs that it hands over instead of
/// sending them, and results that it is handed. Does nothing over connections that share none.
///
/// Thread: the client's loop only.
class ClientMemory {
 public:
  /// Segments kept for the next requests' inputs, since fresh pages cost more than copying into them.
  static constexpr std::size_t kMostSpare = 2;

  /// `transport` must outlive it.
  explicit ClientMemory(ClientTransport& transport) : transport_(transport) {}

  /// As ClientTransport::sharing().
  [[nodiscard]] std::uint64_t token() { return transport_.sharing(); }

  /// A part of a request's inputs, and where it belongs in their concatenation.
  struct Part {
    Buffer bytes;
    std::uint64_t at = 0;
  };
  /// Copies the parts to memory of `total` bytes or more, to be handed over under `id`. Nothing if
  /// there is no such memory, or it is not to be had.
  [[nodiscard]] std::optional<Segment> place(std::uint64_t total, const std::vector<Part>& parts);

  /// False if the coordinator cannot be given it.
  [[nodiscard]] bool hand_over(std::uint64_t id, const Segment& segment);

  /// The request that the segment was for has ended well: nobody reads it any more.
  void reuse(Segment segment);

  /// The memory that a message of the coordinator names; none if it did not come or has less than
  /// `bytes`.
  [[nodiscard]] Segment handed(std::uint64_t id, std::uint64_t bytes);

  /// Bytes copied by place() so far.
  [[nodiscard]] std::uint64_t copied_bytes() const { return copied_bytes_; }

 private:
  ClientTransport& transport_;
  std::vector<Segment> spare_;
  std::uint64_t copied_bytes_ = 0;
};

}  // namespace pa
