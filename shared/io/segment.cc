#include "shared/io/segment.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace pa {
namespace {

/// Linux writes at most this much at once.
constexpr std::size_t kMostAtOnce = 1u << 30;

std::string system_says(const std::string& what) {
  return what + ": " + std::strerror(errno);  // NOLINT(concurrency-mt-unsafe)
}

}  // namespace

Result<Segment> Segment::create(std::uint64_t bytes) {
  PA_CHECK(bytes > 0);
  Descriptor descriptor(::memfd_create("pa", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (descriptor.get() < 0) return overloaded(system_says("no memory to share"));
  if (::ftruncate(descriptor.get(), static_cast<off_t>(bytes)) != 0 ||
      ::fcntl(descriptor.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    return overloaded(system_says("no " + std::to_string(bytes) + " bytes to share"));
  }
  return Segment(std::move(descriptor), bytes);
}

Result<Segment> Segment::adopt(Descriptor descriptor) {
  const int seals = ::fcntl(descriptor.get(), F_GET_SEALS);
  struct statfs system {};
  struct stat status {};
  if (seals < 0 || ::fstatfs(descriptor.get(), &system) != 0 ||
      ::fstat(descriptor.get(), &status) != 0) {
    return invalid("what was handed over is no memfd");
  }
  // A fault in huge pages that are not there is SIGBUS, too.
  if (system.f_type != TMPFS_MAGIC) return invalid("a memfd of huge pages was handed over");
  if ((seals & F_SEAL_SHRINK) == 0) {
    return invalid("a memfd that could shrink was handed over; expected F_SEAL_SHRINK");
  }
  if (status.st_size <= 0) return invalid("an empty memfd was handed over");
  return Segment(std::move(descriptor), static_cast<std::uint64_t>(status.st_size));
}

Result<Segment> Segment::read_only() const {
  const std::string path = "/proc/self/fd/" + std::to_string(descriptor());
  Descriptor reader(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (reader.get() < 0) return overloaded(system_says(path));
  return Segment(std::move(reader), bytes_);
}

Result<Buffer> Segment::map() const {
  void* const data =
      ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, descriptor(), 0);
  if (data == MAP_FAILED) return overloaded(system_says("cannot map shared memory"));
  return Buffer(std::shared_ptr<std::byte>(static_cast<std::byte*>(data),
                                           [bytes = bytes_](std::byte* p) { ::munmap(p, bytes); }),
                bytes_);
}

Status Segment::write(std::uint64_t offset, std::span<const std::byte> source) const {
  if (offset > bytes_ || source.size() > bytes_ - offset) {
    return invalid("bytes beyond the end of shared memory");
  }
  while (!source.empty()) {
    const ssize_t written =
        ::pwrite(descriptor(), source.data(), std::min(source.size(), kMostAtOnce),
                 static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const bool refused = errno == EPERM || errno == EBADF;
      return refused ? invalid(system_says("shared memory cannot be written to"))
                     : overloaded(system_says("no memory to share"));
    }
    source = source.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return {};
}

Status Segment::read(std::uint64_t offset, std::span<std::byte> target) const {
  if (offset > bytes_ || target.size() > bytes_ - offset) {
    return invalid("bytes beyond the end of shared memory");
  }
  while (!target.empty()) {
    const ssize_t got = ::pread(descriptor(), target.data(), std::min(target.size(), kMostAtOnce),
                                static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return internal(system_says("shared memory cannot be read"));
    target = target.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

Status Segment::freeze() const {
  if (::fcntl(descriptor(), F_ADD_SEALS, F_SEAL_WRITE) == 0) return {};
  if (errno == EBUSY) return invalid("a process has mapped shared memory for writing");
  return internal(system_says("shared memory cannot be frozen"));
}

}  // namespace pa
