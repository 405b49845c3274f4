#include "coordinator/journal/spool.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "shared/io/failpoint.h"

namespace pa {
namespace {

constexpr std::string_view kInput = ".input";
constexpr std::string_view kResult = ".result";

Error failed(const std::string& path, const char* what, int number) {
  const std::string text = path + ": " + what + ": " + std::strerror(number);
  return number == ENOSPC || number == EDQUOT ? overloaded(text) : internal(text);
}

Status write_at(const std::string& path, int fd, std::uint64_t offset,
                std::span<const std::byte> bytes) {
  if (const int wanted = failpoint("journal.write")) return failed(path, "cannot write", wanted);
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return failed(path, "cannot write", written < 0 ? errno : EIO);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return {};
}

}  // namespace

std::string Spool::input_path(const RequestId& request) const {
  return folder_ + "/" + to_string(request) + std::string(kInput);
}

std::string Spool::result_path(const RequestId& request) const {
  return folder_ + "/" + to_string(request) + std::string(kResult);
}

Status Spool::write_input(const RequestId& request, std::span<const std::byte> bytes) {
  const std::string path = input_path(request);
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (file.get() < 0) return failed(path, "cannot create", errno);
  folder_changed_ = true;
  PA_TRY(write_at(path, file.get(), 0, bytes));
  unsynced_.insert_or_assign(path, std::move(file));
  return {};
}

Status Spool::write_result(const RequestId& request, std::uint64_t offset,
                           std::span<const std::byte> rows) {
  const std::string path = result_path(request);
  auto open = unsynced_.find(path);
  if (open == unsynced_.end()) {
    Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    if (file.get() < 0) return failed(path, "cannot open", errno);
    folder_changed_ = true;
    open = unsynced_.emplace(path, std::move(file)).first;
  }
  return write_at(path, open->second.get(), offset, rows);
}

Status Spool::sync() {
  for (const auto& [path, file] : unsynced_) {
    int error = failpoint("journal.sync");
    if (error == 0 && ::fdatasync(file.get()) != 0) error = errno;
    if (error != 0) return failed(path, "cannot sync", error);
  }
  unsynced_.clear();
  if (!folder_changed_) return {};
  const Descriptor folder(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0 || ::fsync(folder.get()) != 0) return failed(folder_, "cannot sync", errno);
  folder_changed_ = false;
  return {};
}

Result<Buffer> Spool::map_input(const RequestId& request, std::uint64_t bytes) const {
  if (bytes == 0) return Buffer{};
  const std::string path = input_path(request);
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (file.get() < 0 || ::fstat(file.get(), &info) != 0) return failed(path, "cannot open", errno);
  if (static_cast<std::uint64_t>(info.st_size) != bytes) {
    return internal(path + ": has " + std::to_string(info.st_size) + " bytes, expected " +
                    std::to_string(bytes));
  }
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0);
  if (memory == MAP_FAILED) return failed(path, "cannot map", errno);
  return Buffer(std::shared_ptr<std::byte>(static_cast<std::byte*>(memory),
                                           [bytes](std::byte* data) { ::munmap(data, bytes); }),
                bytes);
}

Status Spool::read_result(const RequestId& request, std::uint64_t offset,
                          std::span<std::byte> rows) const {
  const std::string path = result_path(request);
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return failed(path, "cannot open", errno);
  while (!rows.empty()) {
    const ssize_t got = ::pread(file.get(), rows.data(), rows.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(path, "cannot read", errno);
    if (got == 0) return internal(path + ": ends too early");
    rows = rows.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

void Spool::erase(const RequestId& request) {
  for (const std::string& path : {input_path(request), result_path(request)}) {
    unsynced_.erase(path);
    ::unlink(path.c_str());
  }
}

void Spool::keep_only(const std::set<RequestId>& requests) {
  std::vector<std::filesystem::path> unknown;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    const auto& path = entry.path();
    if (path.extension() != kInput && path.extension() != kResult) continue;
    const auto id = parse_request_id(path.stem().string());
    if (id && !requests.contains(*id)) unknown.push_back(path);
  }
  for (const auto& path : unknown) std::filesystem::remove(path, error);
}

}  // namespace pa
