#pragma once

#include <string>

#include "shared/core/result.h"
#include "shared/io/descriptor.h"

namespace pa {

/// A directory for the sockets of one coordinator: mode 0700, this user's, and locked while this
/// object lives. Who can reach the sockets in it is this user.
class RunDirectory {
 public:
  /// Makes the directory, if need be, and takes its lock.
  ///
  /// Errors: kInvalid, it is not a directory, or not this user's alone; kUnavailable, another process
  /// holds it (told by pid); kInternal, the system refused. All name the directory.
  [[nodiscard]] static Result<RunDirectory> take(const std::string& path);

  /// Removes a socket that a dead process left. kInvalid if something else lies there.
  [[nodiscard]] Status remove_stale(const std::string& socket_path) const;

 private:
  explicit RunDirectory(Descriptor lock) : lock_(std::move(lock)) {}

  Descriptor lock_;
};

/// Before connecting to a socket in `path`: kInvalid unless it is a directory of this user's (or
/// this user is root) that nobody else may enter; kUnavailable if it does not exist.
[[nodiscard]] Status check_run_directory(const std::string& path);

}  // namespace pa
