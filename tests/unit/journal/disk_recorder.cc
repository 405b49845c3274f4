#include "tests/unit/journal/disk_recorder.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "shared/core/result.h"

namespace pa::test {
namespace {

constexpr std::size_t kSector = 512;

class Recorder {
 public:
  void begin(const std::string& folder) {
    const std::lock_guard lock(mutex_);
    folder_ = folder;
    operations_.clear();
    open_.clear();
  }
  std::size_t moment() {
    const std::lock_guard lock(mutex_);
    return operations_.size();
  }
  std::vector<DiskOperation> end() {
    const std::lock_guard lock(mutex_);
    folder_.clear();
    open_.clear();
    return std::exchange(operations_, {});
  }

  /// Called under the lock of the operation itself, so that the order is the system's.
  template <class Call>
  auto during(const Call& call) {
    const std::lock_guard lock(mutex_);
    return call(*this);
  }

  void opened(const char* path, int flags, bool was_there, int fd) {
    const auto name = under(path);
    if (!name || fd < 0) return;
    open_[fd] = *name;
    if ((flags & O_CREAT) != 0 && !was_there) add({DiskOperation::Kind::kCreate, *name, 0, {}});
    if ((flags & O_TRUNC) != 0 && was_there) add({DiskOperation::Kind::kTruncate, *name, 0, {}});
  }
  void closed(int fd) { open_.erase(fd); }
  void wrote(int fd, std::uint64_t offset, const void* bytes, ssize_t count) {
    const auto file = open_.find(fd);
    if (file == open_.end() || count <= 0) return;
    add({DiskOperation::Kind::kWrite, file->second, offset,
         std::string(static_cast<const char*>(bytes), static_cast<std::size_t>(count))});
  }
  void truncated(int fd, std::uint64_t length, int result) {
    const auto file = open_.find(fd);
    if (file == open_.end() || result != 0) return;
    add({DiskOperation::Kind::kTruncate, file->second, length, {}});
  }
  void synced(int fd, int result) {
    const auto file = open_.find(fd);
    if (file == open_.end() || result != 0) return;
    const bool is_folder = std::filesystem::is_directory(folder_ + "/" + file->second);
    add({is_folder ? DiskOperation::Kind::kSyncFolder : DiskOperation::Kind::kSync,
         file->second,
         0,
         {}});
  }
  void unlinked(const char* path, int result) {
    const auto name = under(path);
    if (name && result == 0) add({DiskOperation::Kind::kUnlink, *name, 0, {}});
  }

 private:
  std::optional<std::string> under(const char* path) const {
    const std::string text(path);
    if (folder_.empty()) return std::nullopt;
    if (text == folder_) return "";
    if (!text.starts_with(folder_ + "/")) return std::nullopt;
    return text.substr(folder_.size() + 1);
  }
  void add(DiskOperation operation) { operations_.push_back(std::move(operation)); }

  std::mutex mutex_;
  std::string folder_;
  std::vector<DiskOperation> operations_;
  std::map<int, std::string> open_;
};

Recorder& recorder() {
  static Recorder instance;
  return instance;
}

template <class Function>
Function* real(const char* name) {
  void* const found = ::dlsym(RTLD_NEXT, name);
  PA_CHECK(found != nullptr);
  return reinterpret_cast<Function*>(found);
}

void put(const DiskOperation& operation, std::string& content) {
  if (operation.kind == DiskOperation::Kind::kTruncate) {
    content.resize(operation.offset, '\0');
    return;
  }
  const std::size_t end = operation.offset + operation.bytes.size();
  if (content.size() < end) content.resize(end, '\0');
  content.replace(operation.offset, operation.bytes.size(), operation.bytes);
}

/// Some of its sectors, or all of it, or nothing.
void put_torn(const DiskOperation& operation, std::string& content, std::mt19937_64& random) {
  if (operation.kind == DiskOperation::Kind::kTruncate) {
    if (random() % 2 == 0) put(operation, content);
    return;
  }
  for (std::size_t at = 0; at < operation.bytes.size(); at += kSector) {
    if (random() % 2 == 0) continue;
    put({DiskOperation::Kind::kWrite, operation.path, operation.offset + at,
         operation.bytes.substr(at, kSector)},
        content);
  }
}

int open_as(const char* path, int flags, mode_t mode) {
  return recorder().during([&](Recorder& all) {
    const bool was_there = ::access(path, F_OK) == 0;
    static auto* const kCall = real<int(const char*, int, ...)>("open64");
    const int fd = kCall(path, flags, mode);
    all.opened(path, flags, was_there, fd);
    return fd;
  });
}

ssize_t write_as(int fd, const void* bytes, size_t count, off_t offset) {
  return recorder().during([&](Recorder& all) {
    static auto* const kCall = real<ssize_t(int, const void*, size_t, off_t)>("pwrite64");
    const ssize_t written = kCall(fd, bytes, count, offset);
    all.wrote(fd, static_cast<std::uint64_t>(offset), bytes, written);
    return written;
  });
}

int truncate_as(int fd, off_t length) {
  return recorder().during([&](Recorder& all) {
    static auto* const kCall = real<int(int, off_t)>("ftruncate64");
    const int result = kCall(fd, length);
    all.truncated(fd, static_cast<std::uint64_t>(length), result);
    return result;
  });
}

int sync_as(const char* name, int fd) {
  return recorder().during([&](Recorder& all) {
    const int result = real<int(int)>(name)(fd);
    all.synced(fd, result);
    return result;
  });
}

}  // namespace

void record_disk(const std::string& folder) { recorder().begin(folder); }
std::size_t disk_moment() { return recorder().moment(); }
std::vector<DiskOperation> end_disk_recording() { return recorder().end(); }

void DiskImage::apply(const DiskOperation& operation) {
  using Kind = DiskOperation::Kind;
  switch (operation.kind) {
    case Kind::kCreate:
      files_[operation.path] = {};
      return;
    case Kind::kWrite:
    case Kind::kTruncate:
      files_[operation.path].pending.push_back(operation);
      return;
    case Kind::kSync: {
      File& file = files_[operation.path];
      for (const DiskOperation& pending : file.pending) put(pending, file.synced);
      file.pending.clear();
      return;
    }
    case Kind::kSyncFolder:
      for (auto& [path, file] : files_) {
        if (std::filesystem::path(path).parent_path() == operation.path) file.named = true;
      }
      std::erase_if(leaving_, [&](const auto& entry) {
        return std::filesystem::path(entry.first).parent_path() == operation.path;
      });
      return;
    case Kind::kUnlink:
      if (files_[operation.path].named) leaving_[operation.path] = files_[operation.path];
      files_.erase(operation.path);
      return;
  }
}

void DiskImage::write_to(const std::string& folder, Unsynced unsynced,
                         std::mt19937_64& random) const {
  const auto coin = [&] { return random() % 2 == 0; };
  const auto write = [&](const std::string& path, const File& file) {
    std::string content = file.synced;
    for (const DiskOperation& operation : file.pending) {
      if (unsynced == Unsynced::kWritten) put(operation, content);
      if (unsynced == Unsynced::kTorn) put_torn(operation, content, random);
    }
    const std::filesystem::path to = folder + "/" + path;
    std::filesystem::create_directories(to.parent_path());
    std::ofstream(to, std::ios::binary) << content;
  };
  for (const auto& [path, file] : leaving_) {
    if (unsynced == Unsynced::kLost || (unsynced == Unsynced::kTorn && coin())) write(path, file);
  }
  for (const auto& [path, file] : files_) {
    if (file.named || unsynced == Unsynced::kWritten || (unsynced == Unsynced::kTorn && coin()))
      write(path, file);
  }
}

}  // namespace pa::test

// What SQLite and the spool call instead of the system's.
extern "C" {

int open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return pa::test::open_as(path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return pa::test::open_as(path, flags, mode);
}
int close(int fd) {
  return pa::test::recorder().during([&](auto& all) {
    all.closed(fd);
    static auto* const kCall = pa::test::real<int(int)>("close");
    return kCall(fd);
  });
}
ssize_t pwrite(int fd, const void* bytes, size_t count, off_t offset) {
  return pa::test::write_as(fd, bytes, count, offset);
}
ssize_t pwrite64(int fd, const void* bytes, size_t count, off64_t offset) {
  return pa::test::write_as(fd, bytes, count, offset);
}
int ftruncate(int fd, off_t length) noexcept { return pa::test::truncate_as(fd, length); }
int ftruncate64(int fd, off64_t length) noexcept { return pa::test::truncate_as(fd, length); }
int fsync(int fd) { return pa::test::sync_as("fsync", fd); }
int fdatasync(int fd) { return pa::test::sync_as("fdatasync", fd); }
int unlink(const char* path) noexcept {
  return pa::test::recorder().during([&](auto& all) {
    static auto* const kCall = pa::test::real<int(const char*)>("unlink");
    const int result = kCall(path);
    all.unlinked(path, result);
    return result;
  });
}

}  // extern "C"
