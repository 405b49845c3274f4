#include "shared/io/segment.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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

bool Segment::is_writable() const {
  const int flags = ::fcntl(descriptor(), F_GETFL);
  const int seals = ::fcntl(descriptor(), F_GET_SEALS);
  return flags >= 0 && (flags & O_ACCMODE) == O_RDWR && seals >= 0 &&
         (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) == 0;
}

void Segment::prefault(std::span<std::byte> part) {
  constexpr int kPopulateRead = 22;  // MADV_POPULATE_READ of Linux 5.14; others refuse it.
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const std::uintptr_t into_page = reinterpret_cast<std::uintptr_t>(part.data()) % page;
  if (part.empty()) return;
  (void)::madvise(part.data() - into_page, part.size() + into_page, kPopulateRead);
}

Result<Buffer> Segment::map() const {
  return map_with(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE);
}

Result<Buffer> Segment::map_shared(Access access) const {
  return map_with(access == Access::kWrite ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED);
}

Result<Buffer> Segment::map_with(int protection, int flags) const {
  void* const data = ::mmap(nullptr, bytes_, protection, flags, descriptor(), 0);
  if (data == MAP_FAILED) {
    const bool refused = errno == EPERM || errno == EACCES;
    const std::string reason = system_says("cannot map shared memory");
    return refused ? invalid(reason) : overloaded(reason);
  }
  return Buffer(std::shared_ptr<std::byte>(static_cast<std::byte*>(data),
                                           [bytes = bytes_](std::byte* p) { ::munmap(p, bytes); }),
                bytes_);
}

std::string Segment::identity() const {
  // Of tmpfs: the inode's number, which is used again, and a random generation, which tells it from
  // earlier ones (exportfs, shmem_encode_fh()).
  alignas(file_handle) std::array<char, sizeof(file_handle) + MAX_HANDLE_SZ> room{};
  auto* const handle = reinterpret_cast<file_handle*>(room.data());
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount = 0;
  if (::name_to_handle_at(descriptor(), "", handle, &mount, AT_EMPTY_PATH) != 0) return {};
  const std::size_t bytes = std::min<std::size_t>(handle->handle_bytes, MAX_HANDLE_SZ);
  return std::to_string(mount) + ":" + std::string(room.data() + sizeof(file_handle), bytes);
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
  if (errno == EBUSY) return unavailable("a process has mapped shared memory for writing");
  return internal(system_says("shared memory cannot be frozen"));
}

}  // namespace pa
