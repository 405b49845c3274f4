#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "shared/core/buffer.h"
#include "shared/wire/blobs.h"
#include "shared/wire/buffer_pool.h"

namespace pa {

/// Blobs that this process has received, those used last, up to a number of bytes.
///
/// Thread: loop only.
class BlobStore {
 public:
  /// 0: it keeps none.
  explicit BlobStore(std::uint64_t max_bytes) : max_bytes_(max_bytes) {}

  /// The contents, not to be written to; empty if they are not here. Counts hits and misses.
  [[nodiscard]] Buffer find(const std::string& scope, const Digest& digest, std::uint64_t bytes);
  /// Copies those blobs that are not here out of `memory`; the ones unused for longest make room.
  /// What lies outside of it, is larger than all the room, or has not the digest, is left out.
  void keep(const Blobs& blobs, const Buffer& memory);

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t hits() const { return hits_; }
  [[nodiscard]] std::uint64_t misses() const { return misses_; }

 private:
  using Key = std::tuple<std::string, Digest, std::uint64_t>;
  struct Kept {
    Key key;
    Buffer contents;
  };

  void make_room(std::uint64_t bytes);

  BufferPool pool_{std::uint64_t{32}
                   << 20};  ///< For the next ones: fresh pages cost more than a copy.
  std::uint64_t max_bytes_;
  std::uint64_t bytes_ = 0;
  std::uint64_t hits_ = 0;
  std::uint64_t misses_ = 0;
  std::list<Kept> kept_;  ///< The one used last comes first.
  std::map<Key, std::list<Kept>::iterator> by_key_;
};

}  // namespace pa
