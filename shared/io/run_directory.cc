#include "shared/io/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace pa {
namespace {

constexpr mode_t kOthers = 077;

std::string system_says(const std::string& what) {
  return what + ": " + std::strerror(errno);  // NOLINT(concurrency-mt-unsafe)
}

Status check_private(const std::string& path, uid_t owner_wanted) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return unavailable("no run directory " + path);
    return internal(system_says("run directory " + path));
  }
  if (!S_ISDIR(status.st_mode)) return invalid("run directory " + path + " is not a directory");
  if (status.st_uid != owner_wanted) {
    return invalid("run directory " + path + " belongs to user " + std::to_string(status.st_uid) +
                   ", not to user " + std::to_string(owner_wanted));
  }
  if ((status.st_mode & kOthers) != 0) {
    return invalid("run directory " + path + " is open to others; expected mode 0700 (chmod 700 " +
                   path + ")");
  }
  return {};
}

Status make_directory(const std::string& path) {
  for (std::size_t end = path.find('/', 1); end != std::string::npos;
       end = path.find('/', end + 1)) {
    ::mkdir(path.substr(0, end).c_str(), 0755);  // What exists is fine; the last one tells.
  }
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return internal(system_says("cannot make run directory " + path));
  }
  return {};
}

/// What the lock file says of its holder.
std::string holder(int lock) {
  std::array<char, 32> text{};
  const ssize_t bytes = ::pread(lock, text.data(), text.size() - 1, 0);
  const std::string pid(text.data(), bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  return pid.empty() ? "another coordinator"
                     : "coordinator process " + pid.substr(0, pid.find('\n'));
}

}  // namespace

Result<RunDirectory> RunDirectory::take(const std::string& path) {
  PA_TRY(make_directory(path));
  PA_TRY(check_private(path, ::geteuid()));
  const std::string lock_path = path + "/coordinator.lock";
  Descriptor lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (lock.get() < 0) return internal(system_says("cannot open " + lock_path));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return internal(system_says("cannot lock " + lock_path));
    return unavailable("run directory " + path + " is in use by " + holder(lock.get()));
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(lock.get(), 0) != 0 ||
      ::pwrite(lock.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return internal(system_says("cannot write " + lock_path));
  }
  return RunDirectory(std::move(lock));
}

Status RunDirectory::remove_stale(const std::string& socket_path) const {
  struct stat status {};
  if (::lstat(socket_path.c_str(), &status) != 0) {
    return errno == ENOENT ? Status{} : internal(system_says(socket_path));
  }
  if (!S_ISSOCK(status.st_mode)) return invalid(socket_path + " exists and is not a socket");
  if (::unlink(socket_path.c_str()) != 0) {
    return internal(system_says("cannot remove " + socket_path));
  }
  return {};
}

Status check_run_directory(const std::string& path) {
  struct stat status {};
  const bool root = ::geteuid() == 0;
  if (root && ::lstat(path.c_str(), &status) == 0) return check_private(path, status.st_uid);
  return check_private(path, ::geteuid());
}

}  // namespace pa
