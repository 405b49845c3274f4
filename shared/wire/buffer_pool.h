#pragma once

#include <cstdint>
#include <memory>

#include "shared/core/buffer.h"

namespace pa {

/// Memory for buffers, 64-byte aligned. Freed blocks of 1 MiB and more are kept for the next buffer, because the first
/// touch of fresh pages costs more than copying into them; at most `keep_bytes` of them, the oldest given back first.
///
/// Buffers may outlive the pool, and the last reference to one may be dropped by any thread.
class BufferPool {
 public:
  explicit BufferPool(std::uint64_t keep_bytes);

  /// A buffer of `bytes` bytes, contents unspecified; empty() if `bytes` is 0 or there is no memory.
  [[nodiscard]] Buffer allocate(std::uint64_t bytes);

  /// Bytes of the freed blocks that are kept.
  [[nodiscard]] std::uint64_t kept_bytes() const;

 private:
  struct Shelf;
  std::shared_ptr<Shelf> shelf_;
};

}  // namespace pa
