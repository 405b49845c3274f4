#include "shared/io/blob_store.h"

#include <cstring>
#include <utility>

#include "shared/io/digest.h"

namespace pa {

Buffer BlobStore::find(const std::string& scope, const Digest& digest, std::uint64_t bytes) {
  if (max_bytes_ == 0 || !is_blob(digest, bytes)) return {};
  const auto found = by_key_.find({scope, digest, bytes});
  if (found == by_key_.end()) {
    ++misses_;
    return {};
  }
  ++hits_;
  kept_.splice(kept_.begin(), kept_, found->second);
  return found->second->contents;
}

void BlobStore::keep(const Blobs& blobs, const Buffer& memory) {
  for (const Blob& blob : blobs.blobs) {
    if (!is_blob(blob.digest, blob.bytes) || blob.bytes > max_bytes_) continue;
    if (blob.offset > memory.size() || blob.bytes > memory.size() - blob.offset) continue;
    Key key{blobs.scope, blob.digest, blob.bytes};
    if (by_key_.contains(key)) continue;
    const auto contents = memory.bytes().subspan(blob.offset, blob.bytes);
    if (digest_of(contents) != blob.digest) continue;
    make_room(blob.bytes);
    Buffer copy = pool_.allocate(blob.bytes);
    if (copy.empty()) return;
    std::memcpy(copy.data(), contents.data(), contents.size());
    bytes_ += blob.bytes;
    kept_.push_front({key, std::move(copy)});
    by_key_.emplace(std::move(key), kept_.begin());
  }
}

void BlobStore::make_room(std::uint64_t bytes) {
  while (bytes_ > max_bytes_ - bytes) {
    bytes_ -= kept_.back().contents.size();
    by_key_.erase(kept_.back().key);
    kept_.pop_back();
  }
}

}  // namespace pa
