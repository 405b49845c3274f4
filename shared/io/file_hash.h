#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "shared/core/result.h"

namespace pa {

/// SHA-256 of files. Those of large files are kept from run to run, in a file of their own, under
/// what tells that a file is still the same: device, inode, size and time of the last change.
///
/// A cache that cannot be read or written is none, and nobody is told. Processes may share one.
///
/// Thread: any one at a time.
class FileHashes {
 public:
  /// Files from this size on are kept; smaller ones take no time.
  static constexpr std::uint64_t kKeptBytes = std::uint64_t{32} << 20;

  /// Keeps hashes in `cache_file`; nowhere if that is empty.
  explicit FileHashes(std::string cache_file = {});

  /// In hexadecimal. `go_on` is asked every few megabytes.
  ///
  /// Errors: kInvalid if the file cannot be read, kCancelled.
  [[nodiscard]] Result<std::string> sha256(const std::string& path,
                                           const std::function<bool()>& go_on = {});

 private:
  void remember(const std::string& key, const std::string& hash);

  std::string cache_file_;
  std::map<std::string, std::string> kept_;
};

/// Where this user's hashes are kept: in $CACHE_DIRECTORY (of systemd), $XDG_CACHE_HOME or ~/.cache;
/// empty if there is none of them.
[[nodiscard]] std::string default_hash_cache();

}  // namespace pa
