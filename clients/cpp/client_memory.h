#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "shared/core/buffer.h"
#include "shared/core/id.h"
#include "shared/io/segment.h"
#include "shared/io/transport.h"
#include "shared/wire/messages.h"

namespace pa {

/// Memory to share, and a map of it that is kept with it; empty: none yet.
struct Mapped {
  Segment segment;
  Buffer map;
};

/// The memory that a client shares with a coordinator on its box: inputs that it hands over instead of
/// sending them, results that it is handed, and memory that it hands over for results. Does nothing
/// over connections that share none.
///
/// Memory is kept for the next requests, since fresh pages cost more than copying into them. So a
/// client that asks for the same again and again has its results written to the same memory, as soon
/// as nobody looks at the earlier ones any more.
///
/// Thread: the client's loop only; maps of results may be dropped on any.
class ClientMemory {
 public:
  static constexpr std::size_t kMostSpare = 2;  ///< Segments kept for inputs.
  static constexpr std::size_t kMostLent = 4;   ///< Results whose segments may be used again.
  static constexpr std::uint64_t kMostBytes = 256u << 20;  ///< Kept of each, in all.

  /// `transport` must outlive it.
  explicit ClientMemory(ClientTransport& transport) : transport_(transport) {}

  /// As ClientTransport::sharing().
  [[nodiscard]] std::uint64_t token() { return transport_.sharing(); }

  // ------------------------------------------------------------------------------------------ inputs

  /// A part of a request's inputs, and where it belongs in their concatenation.
  struct Part {
    Buffer bytes;
    std::uint64_t at = 0;
  };
  struct Placed {
    Mapped memory;
    std::vector<Digest> digests;  ///< [parts]
  };
  /// Copies the parts to memory of `total` bytes or more, to be handed over under `id`. Nothing if
  /// there is no such memory, or it is not to be had.
  [[nodiscard]] std::optional<Placed> place(std::uint64_t total, const std::vector<Part>& parts);

  /// False if the coordinator cannot be given it.
  [[nodiscard]] bool hand_over(std::uint64_t id, const Segment& segment);

  /// The request that the memory was for has ended well: nobody reads it any more.
  void reuse(Mapped memory);

  /// Bytes copied by place() so far.
  [[nodiscard]] std::uint64_t copied_bytes() const { return copied_bytes_; }

  // ----------------------------------------------------------------------------------------- results

  /// The memory that a message of the coordinator names; none if it did not come or has less than
  /// `bytes`.
  [[nodiscard]] Segment handed(std::uint64_t id, std::uint64_t bytes);

  /// The next result may have as many bytes as this one; 0: it is not worth sharing.
  void expect_result(std::uint64_t bytes) { result_bytes_ = bytes; }

  /// Memory for a result of as many bytes as are expected, handed over under `id` to be written to.
  /// None if nothing is expected, or it is not to be had.
  [[nodiscard]] Mapped offer_result(std::uint64_t id);

  /// The map, for whoever asked for the result of `request`, which is in memory that was offered.
  /// Once they have dropped what this returns, and the request is acknowledged, the memory serves
  /// another result: nobody may write to this one any more.
  [[nodiscard]] Buffer lend(const RequestId& request, Mapped memory);

  /// The coordinator is told to forget the request: it reads its result no more.
  void acknowledged(const RequestId& request);

 private:
  struct Spare {
    Mapped memory;
  };
  struct Lent {
    RequestId request;
    Mapped memory;
    std::shared_ptr<std::atomic<bool>> dropped;
    bool acknowledged = false;
  };
  [[nodiscard]] Mapped take_returned();

  ClientTransport& transport_;
  std::deque<Spare> spare_;  // Oldest first.
  std::deque<Lent> lent_;    // Oldest first.
  std::uint64_t result_bytes_ = 0;
  std::uint64_t copied_bytes_ = 0;
};

}  // namespace pa
