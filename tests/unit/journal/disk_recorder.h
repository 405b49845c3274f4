#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace pa::test {

/// What this process did to one file, or folder, in the order in which the system was told.
struct DiskOperation {
  enum class Kind : std::uint8_t { kCreate, kWrite, kTruncate, kSync, kSyncFolder, kUnlink };
  Kind kind = Kind::kWrite;
  std::string path;  ///< Under the recorded folder; "" is itself.
  std::uint64_t offset = 0;
  std::string bytes;
};

/// Records everything that any code of this process, SQLite included, does to files under `folder` from now on.
///
/// The executable that links it has its own open(), pwrite(), fsync() and so on, which call the system's.
void record_disk(const std::string& folder);
/// Operations so far: a moment to cut the power at.
[[nodiscard]] std::size_t disk_moment();
[[nodiscard]] std::vector<DiskOperation> end_disk_recording();

/// What a disk may hold after the power was cut. What was synced is there; of the rest:
enum class Unsynced : std::uint8_t {
  kLost,     ///< nothing,
  kWritten,  ///< everything,
  kTorn,     ///< some sectors of 512 bytes, some lengths, some names.
};

/// A disk's files as they are written, and as they are for sure.
class DiskImage {
 public:
  void apply(const DiskOperation& operation);
  /// Makes the files that a power cut leaves now, under `folder`.
  void write_to(const std::string& folder, Unsynced unsynced, std::mt19937_64& random) const;

 private:
  struct File {
    std::string synced;
    std::vector<DiskOperation> pending;
    bool named = false;  ///< Its folder was synced since it was made.
  };
  std::map<std::string, File> files_;
  /// Unlinked, and the folder not synced since.
  std::map<std::string, File> leaving_;
};

}  // namespace pa::test
