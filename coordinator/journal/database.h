#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/core/id.h"
#include "shared/core/result.h"

namespace pa {

/// The journal's records in one SQLite file (write-ahead log, every commit synced). Knows nothing of
/// what records mean; keeps a digest with each, so that a flipped bit is seen.
///
/// Errors: kOverloaded if the disk is full; kUnavailable if another process has the file open, or it is
/// of another version (both are named); otherwise kInternal.
///
/// Thread: one at a time.
class JournalDatabase {
 public:
  /// Tombstones of erased requests that are kept, the latest.
  static constexpr int kTombstones = 4096;

  /// Opens the file, or makes it. If it is damaged, it is moved to `path`.damaged, and what could be read is
  /// in the new one; read() tells.
  [[nodiscard]] static Result<JournalDatabase> open(const std::string& path);
  ~JournalDatabase();
  JournalDatabase(JournalDatabase&&) noexcept;
  JournalDatabase& operator=(JournalDatabase&&) noexcept;

  /// Counts lives: durably one more than at the last call, or `first` at the very first.
  [[nodiscard]] Result<std::uint64_t> next_epoch(std::uint64_t first);

  // Between begin() and commit(). After an error, only rollback().
  [[nodiscard]] Status begin();
  [[nodiscard]] Status put_request(const RequestId& request, std::string_view record);
  [[nodiscard]] Status put_sample(const RequestId& request, std::int64_t sample,
                                  std::string_view record);
  [[nodiscard]] Status put_outcome(const RequestId& request, std::string_view record);
  /// Removes all records of the request, and leaves a tombstone if it had any.
  [[nodiscard]] Status erase(const RequestId& request);
  [[nodiscard]] Status commit();
  void rollback();

  struct Request {
    RequestId id;
    std::string record;
    std::vector<std::pair<std::int64_t, std::string>> samples;
    std::string outcome;  ///< Empty: none.
  };
  struct Contents {
    std::vector<Request> requests;  ///< In the order of put_request().
    std::vector<RequestId> erased;  ///< The latest last.
    std::vector<std::string> damage;
  };
  /// All records whose digests are right.
  [[nodiscard]] Contents read();

 private:
  struct Connection;
  explicit JournalDatabase(std::unique_ptr<Connection> connection);

  std::unique_ptr<Connection> connection_;
};

}  // namespace pa
