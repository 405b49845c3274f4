#include "shared/io/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>

namespace pa {
namespace {

using Json = nlohmann::json;

/// One entry of the header, as it stands there.
struct Entry {
  TensorSpec spec;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// Reads a header as a stream of events: no tree is built, so a hostile header costs no more than
/// its own length, however deeply it is nested.
class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  std::vector<Entry> entries;
  Metadata metadata;
  std::string problem;

  bool start_object(std::size_t /*elements*/) override {
    switch (place_) {
      case Place::kOutside:
        place_ = Place::kTop;
        return true;
      case Place::kTopValue:
        if (key_ == "__metadata__") {
          place_ = Place::kMetadata;
        } else {
          place_ = Place::kEntry;
          fields_seen_.clear();
          entries.emplace_back().spec.name = key_;
        }
        return true;
      default:
        return unexpected("an object");
    }
  }

  bool key(string_t& name) override {
    switch (place_) {
      case Place::kTop:
        if (!names_.insert(name).second) return fail("has '" + shown(name) + "' twice");
        key_ = name;
        place_ = Place::kTopValue;
        return true;
      case Place::kMetadata:
        if (metadata.contains(name)) return fail("has metadata '" + shown(name) + "' twice");
        key_ = name;
        place_ = Place::kMetadataValue;
        return true;
      case Place::kEntry:
        if (name != "dtype" && name != "shape" && name != "data_offsets") {
          return fail("has an unknown field '" + shown(name) + "' in " + tensor());
        }
        if (!fields_seen_.insert(name).second) {
          return fail("has '" + name + "' twice in " + tensor());
        }
        field_ = name;
        place_ = Place::kField;
        return true;
      default:
        return unexpected("a key");
    }
  }

  bool end_object() override {
    switch (place_) {
      case Place::kEntry:
        if (fields_seen_.size() != 3)
          return fail("lacks dtype, shape or data_offsets in " + tensor());
        place_ = Place::kTop;
        return true;
      case Place::kMetadata:
        place_ = Place::kTop;
        return true;
      default:
        place_ = Place::kOutside;
        return true;
    }
  }

  bool start_array(std::size_t /*elements*/) override {
    if (place_ != Place::kField || field_ == "dtype") return unexpected("an array");
    numbers_.clear();
    place_ = Place::kArray;
    return true;
  }

  bool end_array() override {
    place_ = Place::kEntry;
    Entry& entry = entries.back();
    if (field_ == "shape") {
      for (const std::uint64_t n : numbers_) {
        if (n > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
          return fail("has a dimension beyond 2^63-1 in " + tensor());
        }
        entry.spec.shape.push_back(static_cast<std::int64_t>(n));
      }
      return true;
    }
    if (numbers_.size() != 2)
      return fail("has data_offsets that are not two numbers in " + tensor());
    entry.begin = numbers_[0];
    entry.end = numbers_[1];
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadataValue) {
      metadata.emplace(key_, value);
      place_ = Place::kMetadata;
      return true;
    }
    if (place_ != Place::kField || field_ != "dtype") return unexpected("a string");
    const std::optional<DType> dtype = dtype_named(value);
    if (!dtype) return fail("has an unknown dtype '" + shown(value) + "' in " + tensor());
    entries.back().spec.dtype = *dtype;
    place_ = Place::kEntry;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::kArray) return unexpected("a number");
    numbers_.push_back(value);
    return true;
  }

  bool number_integer(number_integer_t /*value*/) override {
    return unexpected("a negative number");
  }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override {
    return unexpected("a fraction");
  }
  bool null() override { return unexpected("null"); }
  bool boolean(bool /*value*/) override { return unexpected("a boolean"); }
  bool binary(binary_t& /*value*/) override { return unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string& /*last_token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    return fail("is not JSON at byte " + std::to_string(position));
  }

 private:
  enum class Place : std::uint8_t {
    kOutside,
    kTop,
    kTopValue,
    kMetadata,
    kMetadataValue,
    kEntry,
    kField,
    kArray
  };

  bool fail(std::string what) {
    problem = "the header " + std::move(what);
    return false;
  }

  bool unexpected(std::string_view what) {
    std::string where = "at its top level";
    if (place_ == Place::kTopValue) where = "as '" + shown(key_) + "'";
    if (place_ == Place::kMetadataValue) where = "as metadata '" + shown(key_) + "'";
    if (place_ == Place::kField || place_ == Place::kArray)
      where = "in " + field_ + " of " + tensor();
    return fail("has " + std::string(what) + " " + where);
  }

  static std::string shown(std::string_view name) { return std::string(name.substr(0, 200)); }
  std::string tensor() const { return "tensor '" + shown(entries.back().spec.name) + "'"; }

  Place place_ = Place::kOutside;
  std::string key_;
  std::string field_;
  std::set<std::string, std::less<>> names_;
  std::set<std::string, std::less<>> fields_seen_;
  std::vector<std::uint64_t> numbers_;
};

Error in_file(const std::string& path, const Error& error) {
  return {error.code, path + ": " + error.message, error.field};
}

}  // namespace

Result<SafetensorsContents> parse_safetensors(std::span<const std::byte> file) {
  std::uint64_t header_bytes = 0;
  if (file.size() < sizeof header_bytes) {
    return invalid("not a safetensors file: shorter than its 8 bytes of header length");
  }
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  if (header_bytes > kMaxSafetensorsHeader || header_bytes > file.size() - sizeof header_bytes) {
    return invalid("not a safetensors file, or cut short: it announces a header of " +
                   std::to_string(header_bytes) + " bytes in a file of " +
                   std::to_string(file.size()));
  }
  const std::span<const std::byte> header = file.subspan(sizeof header_bytes, header_bytes);
  const std::span<const std::byte> data = file.subspan(sizeof header_bytes + header_bytes);
  if (header.empty() || header.front() != std::byte{'{'}) {
    return invalid("not a safetensors file: its header does not begin with '{'");
  }

  HeaderReader reader;
  const char* const text = reinterpret_cast<const char*>(header.data());
  if (!Json::sax_parse(text, text + header.size(), &reader)) return invalid(reader.problem);

  std::sort(reader.entries.begin(), reader.entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.spec.name) < std::tie(b.begin, b.end, b.spec.name);
  });
  SafetensorsContents contents;
  contents.metadata = std::move(reader.metadata);
  contents.tensors.reserve(reader.entries.size());
  std::uint64_t covered = 0;
  for (Entry& entry : reader.entries) {
    const std::string tensor = "tensor '" + entry.spec.name.substr(0, 200) + "'";
    const Result<std::uint64_t> bytes = byte_size(entry.spec);
    if (!bytes.ok()) return invalid(tensor + ": " + bytes.error().message);
    if (entry.end < entry.begin || entry.end > data.size()) {
      return invalid(tensor + " lies at bytes " + std::to_string(entry.begin) + " to " +
                     std::to_string(entry.end) + " of a data section of " +
                     std::to_string(data.size()) + " bytes");
    }
    if (entry.end - entry.begin != *bytes) {
      return invalid(tensor + " is " + std::string(name_of(entry.spec.dtype)) + " " +
                     to_string(entry.spec.shape) + ", so " + std::to_string(*bytes) +
                     " bytes, but has " + std::to_string(entry.end - entry.begin));
    }
    if (entry.begin != covered) {
      return invalid(
          tensor + " begins at byte " + std::to_string(entry.begin) +
          (entry.begin < covered ? ", inside the one before it" : ", which leaves a gap") +
          "; expected " + std::to_string(covered));
    }
    covered = entry.end;
    contents.tensors.push_back({std::move(entry.spec), data.subspan(entry.begin, *bytes)});
  }
  if (covered != data.size()) {
    return invalid("the tensors end at byte " + std::to_string(covered) + " of a data section of " +
                   std::to_string(data.size()) + " bytes");
  }
  return contents;
}

struct SafetensorsFile::Mapped {
  std::string path;
  void* address = nullptr;
  std::size_t length = 0;
  SafetensorsContents contents;
  std::map<std::string_view, std::size_t> by_name;

  Mapped() = default;
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  ~Mapped() {
    if (address != nullptr) ::munmap(address, length);
  }
  std::span<const std::byte> image() const {
    return {static_cast<const std::byte*>(address), length};
  }
};

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return invalid(path + ": cannot be opened: " + std::strerror(errno));
  auto mapped = std::make_shared<Mapped>();
  mapped->path = path;
  struct ::stat info {};
  Status opened;
  if (::fstat(fd, &info) != 0) {
    opened = invalid(path + ": " + std::strerror(errno));
  } else if (!S_ISREG(info.st_mode)) {
    opened = invalid(path + ": not a regular file");
  } else if (info.st_size > 0) {
    const auto length = static_cast<std::size_t>(info.st_size);
    void* const address = ::mmap(nullptr, length, PROT_READ, MAP_PRIVATE, fd, 0);
    if (address == MAP_FAILED) {
      opened = invalid(path + ": cannot be mapped: " + std::strerror(errno));
    } else {
      mapped->address = address;
      mapped->length = length;
    }
  }
  ::close(fd);
  if (!opened.ok()) return opened.error();

  Result<SafetensorsContents> contents = parse_safetensors(mapped->image());
  if (!contents.ok()) return in_file(path, contents.error());
  mapped->contents = std::move(contents).value();
  for (std::size_t i = 0; i < mapped->contents.tensors.size(); ++i) {
    mapped->by_name.emplace(mapped->contents.tensors[i].spec.name, i);
  }
  return SafetensorsFile(std::move(mapped));
}

const std::string& SafetensorsFile::path() const { return mapped_->path; }
const std::vector<TensorView>& SafetensorsFile::tensors() const {
  return mapped_->contents.tensors;
}
const Metadata& SafetensorsFile::metadata() const { return mapped_->contents.metadata; }

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto found = mapped_->by_name.find(name);
  return found == mapped_->by_name.end() ? nullptr : &tensors()[found->second];
}

std::shared_ptr<const void> SafetensorsFile::keep_alive() const { return mapped_; }
std::span<const std::byte> SafetensorsFile::image() const { return mapped_->image(); }

void forget_pages(std::span<const std::byte> bytes) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
  const std::uintptr_t first = (begin + page - 1) / page * page;
  const std::uintptr_t last = (begin + bytes.size()) / page * page;
  if (first >= last) return;
  // An address of the map, which is nobody's object. That it fails is no harm.
  (void)::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);  // NOLINT
}

}  // namespace pa
