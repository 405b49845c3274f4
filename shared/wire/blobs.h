#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shared/wire/messages.h"

/// Blobs: tensors that come again and again, as the conditioning of a prompt does. Whoever has received one keeps it for
/// a while, under its digest, and need not be sent it a second time (Want.have).
namespace pa {

/// Smaller tensors are not worth asking for.
inline constexpr std::uint64_t kBlobFromBytes = 64u << 10;

/// A tensor by its contents, and where it lies in a buffer.
struct Blob {
  Digest digest;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

/// Blobs in a buffer. Blobs of other scopes are other blobs, whatever their digests: digests can be forged.
struct Blobs {
  std::string scope;
  std::vector<Blob> blobs;
};

/// Whether a tensor of so many bytes can be a blob.
[[nodiscard]] inline bool is_blob(const Digest& digest, std::uint64_t bytes) {
  return digest != Digest{} && bytes >= kBlobFromBytes;
}

/// The scope of what the client `who` (as in Incoming) put itself.
[[nodiscard]] std::string client_scope(const std::string& who);

/// What the stream of `tensors` carries of those that `have` says are here, as in Want.have. `have` may be shorter.
[[nodiscard]] std::vector<Range> ranges_here(const std::vector<TensorSpec>& tensors,
                                             const std::vector<bool>& have);

}  // namespace pa
