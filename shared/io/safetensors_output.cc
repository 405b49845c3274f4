#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "shared/io/safetensors.h"

namespace pa {
namespace {

constexpr std::uint64_t kAlignment = 64;  // Of the data section: for aligned loads from a map.
constexpr mode_t kFileMode = 0644;

/// The order of tensors in a file, and the offset of each in the data section.
struct Layout {
  std::vector<std::size_t> order;
  std::vector<std::uint64_t> begin;  ///< By index in the caller's list, as is `size`.
  std::vector<std::uint64_t> size;
  std::uint64_t total = 0;
};

Result<Layout> layout_of(const std::vector<TensorSpec>& specs) {
  Layout layout;
  std::set<std::string_view> names;
  for (const TensorSpec& spec : specs) {
    if (spec.name == "__metadata__" || !names.insert(spec.name).second) {
      return invalid("two tensors, or a tensor and the metadata, are called '" + spec.name + "'");
    }
    PA_ASSIGN(const std::uint64_t bytes, byte_size(spec));
    layout.size.push_back(bytes);
  }
  layout.order.resize(specs.size());
  std::iota(layout.order.begin(), layout.order.end(), std::size_t{0});
  std::stable_sort(layout.order.begin(), layout.order.end(), [&](std::size_t a, std::size_t b) {
    return size_of(specs[a].dtype) > size_of(specs[b].dtype);
  });
  layout.begin.resize(specs.size());
  for (const std::size_t i : layout.order) {
    layout.begin[i] = layout.total;
    if (layout.size[i] > std::numeric_limits<std::int64_t>::max() / 2 - layout.total) {
      return invalid("the tensors together exceed 2^62 bytes");
    }
    layout.total += layout.size[i];
  }
  return layout;
}

/// Length and text of a header, at least `least` bytes long with them, a multiple of kAlignment.
Result<std::string> header_of(const std::vector<TensorSpec>& specs, const Layout& layout,
                              const Metadata& metadata, std::uint64_t least) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  for (const std::size_t i : layout.order) {
    header[specs[i].name] = {{"dtype", name_of(specs[i].dtype)},
                             {"shape", specs[i].shape},
                             {"data_offsets", {layout.begin[i], layout.begin[i] + layout.size[i]}}};
  }
  std::string text(sizeof(std::uint64_t), '\0');
  try {
    text += header.dump();
  } catch (const nlohmann::json::exception&) {
    return invalid("a name or the metadata is not UTF-8");
  }
  const std::uint64_t needed = std::max<std::uint64_t>(text.size(), least);
  text.resize((needed + kAlignment - 1) / kAlignment * kAlignment, ' ');
  const std::uint64_t length = text.size() - sizeof length;
  if (length > kMaxSafetensorsHeader) {
    return invalid("the header would be longer than " + std::to_string(kMaxSafetensorsHeader) +
                   " bytes");
  }
  std::memcpy(text.data(), &length, sizeof length);
  return text;
}

/// What the last system call said about `path`.
Error system_error(const std::string& path, int number) {
  const std::string words = path + ": " + std::strerror(number);
  const bool full = number == ENOSPC || number == EDQUOT || number == EFBIG;
  return full ? overloaded(words) : internal(words);
}

/// A file that goes away unless it is published under its real name.
class PendingFile {
 public:
  static Result<PendingFile> create(const std::string& path) {
    PendingFile file;
    file.path_ = path;
    file.pending_ = path + ".partial-XXXXXX";
    file.fd_ = ::mkostemp(file.pending_.data(), O_CLOEXEC);
    if (file.fd_ < 0) {
      const int number = errno;
      file.pending_.clear();
      return system_error(path, number);
    }
    return file;
  }
  PendingFile(PendingFile&& other) noexcept
      : path_(std::move(other.path_)),
        pending_(std::exchange(other.pending_, {})),
        fd_(std::exchange(other.fd_, -1)) {}
  PendingFile& operator=(PendingFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(pending_, other.pending_);
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~PendingFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!pending_.empty()) ::unlink(pending_.c_str());
  }

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] const std::string& path() const { return path_; }

  [[nodiscard]] Status write(std::uint64_t at, std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
      const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return system_error(path_, written < 0 ? errno : ENOSPC);
      at += static_cast<std::uint64_t>(written);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    return {};
  }

  [[nodiscard]] Status publish(Durability durability) {
    if (::fchmod(fd_, kFileMode) != 0) return system_error(path_, errno);
    const bool durable = durability == Durability::kPowerFailure;
    if (durable && ::fsync(fd_) != 0) return system_error(path_, errno);
    if (std::rename(pending_.c_str(), path_.c_str()) != 0) return system_error(path_, errno);
    pending_.clear();
    if (!durable) return {};
    const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
    const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return system_error(path_, errno);
    const bool synced = ::fsync(fd) == 0;
    const int number = errno;
    ::close(fd);
    return synced ? Status() : system_error(path_, number);
  }

 private:
  PendingFile() = default;
  std::string path_;
  std::string pending_;
  int fd_ = -1;
};

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

}  // namespace

Status write_safetensors(const std::string& path, const Metadata& metadata,
                         const std::vector<TensorView>& tensors) {
  std::vector<TensorSpec> specs;
  specs.reserve(tensors.size());
  for (const TensorView& tensor : tensors) specs.push_back(tensor.spec);
  PA_ASSIGN(const Layout layout, layout_of(specs));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].bytes.size() != layout.size[i]) {
      return invalid("tensor '" + specs[i].name + "' comes with " +
                     std::to_string(tensors[i].bytes.size()) + " bytes; expected " +
                     std::to_string(layout.size[i]));
    }
  }
  PA_ASSIGN(const std::string header, header_of(specs, layout, metadata, 0));
  PA_ASSIGN(PendingFile file, PendingFile::create(path));
  PA_TRY(file.write(0, bytes_of(header)));
  for (const std::size_t i : layout.order) {
    PA_TRY(file.write(header.size() + layout.begin[i], tensors[i].bytes));
  }
  return file.publish(Durability::kProcess);
}

struct SafetensorsOutput::State {
  PendingFile file;
  std::vector<TensorSpec> specs;
  Layout layout;
  std::uint64_t data_at = 0;  ///< Where the data section begins: the room for the header.
  Buffer map;                 ///< The whole file.
};

SafetensorsOutput::SafetensorsOutput(std::unique_ptr<State> state) : state_(std::move(state)) {}
SafetensorsOutput::SafetensorsOutput(SafetensorsOutput&&) noexcept = default;
SafetensorsOutput& SafetensorsOutput::operator=(SafetensorsOutput&&) noexcept = default;
SafetensorsOutput::~SafetensorsOutput() = default;

Result<SafetensorsOutput> SafetensorsOutput::create(const std::string& path,
                                                    const std::vector<TensorSpec>& tensors,
                                                    std::uint64_t metadata_bytes) {
  PA_ASSIGN(Layout layout, layout_of(tensors));
  PA_ASSIGN(const std::string bare, header_of(tensors, layout, {}, 0));
  PA_ASSIGN(const std::string header,
            header_of(tensors, layout, {},
                      bare.size() + std::min(metadata_bytes, kMaxSafetensorsHeader)));
  PA_ASSIGN(PendingFile file, PendingFile::create(path));
  const std::uint64_t length = header.size() + layout.total;
  // Without blocks of its own, a full disk would be a SIGBUS at some later store.
  if (const int failed = ::posix_fallocate(file.fd(), 0, static_cast<off_t>(length)); failed != 0) {
    return system_error(path, failed);
  }
  void* const address = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
  if (address == MAP_FAILED) return system_error(path, errno);
  Buffer map(std::shared_ptr<std::byte>(static_cast<std::byte*>(address),
                                        [length](std::byte* at) { ::munmap(at, length); }),
             length);
  return SafetensorsOutput(std::make_unique<State>(
      State{std::move(file), tensors, std::move(layout), header.size(), std::move(map)}));
}

Buffer SafetensorsOutput::bytes(std::size_t index) const {
  PA_CHECK(index < state_->specs.size());
  return state_->map.slice(state_->data_at + state_->layout.begin[index],
                           state_->layout.size[index]);
}

Status SafetensorsOutput::finish(const Metadata& metadata, Durability durability) {
  State& state = *state_;
  PA_ASSIGN(const std::string header,
            header_of(state.specs, state.layout, metadata, state.data_at));
  if (header.size() == state.data_at) {
    PA_TRY(state.file.write(0, bytes_of(header)));
    return state.file.publish(durability);
  }
  PA_ASSIGN(PendingFile longer, PendingFile::create(state.file.path()));
  PA_TRY(longer.write(0, bytes_of(header)));
  PA_TRY(longer.write(header.size(), state.map.slice(state.data_at, state.layout.total).bytes()));
  state.file = std::move(longer);
  return state.file.publish(durability);
}

}  // namespace pa
