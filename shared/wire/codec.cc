#include "shared/wire/codec.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <limits>
#include <msgpack.hpp>
#include <type_traits>
#include <utility>

#include "shared/core/utf8.h"
#include "shared/wire/message_fields.h"

namespace pa {
namespace {

using wire::Fields;
using wire::Structure;

constexpr std::uint32_t kOldestProtocol = 1;

constexpr std::size_t kMaxArray = 65536;
constexpr std::size_t kMaxKeys = 64;
constexpr std::size_t kMaxDepth = 12;  // ClusterStatus reaches 8.
constexpr std::size_t kIdBytes = 16;
constexpr std::size_t kEagerReserve = 256;

// ---------------------------------------------------------------------------------------- writing

template <class T>
constexpr bool kIsVector = false;
template <class T>
constexpr bool kIsVector<std::vector<T>> = true;
/// Bytes are no array of numbers.
using Bytes = std::vector<std::uint8_t>;

template <class T>
constexpr bool kIsId = false;
template <class Tag>
constexpr bool kIsId<Id<Tag>> = true;

template <class T>
concept HighLow = std::same_as<T, RequestId> || std::same_as<T, Digest>;

template <class T>
concept Integer = std::integral<T> && !std::same_as<T, bool>;

std::array<char, kIdBytes> to_bytes(std::uint64_t high, std::uint64_t low) {
  std::array<char, kIdBytes> bytes{};
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<char>(high >> (56 - 8 * i));
    bytes[8 + i] = static_cast<char>(low >> (56 - 8 * i));
  }
  return bytes;
}

std::uint64_t from_bytes(const char* bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

struct Sink {
  std::string& out;
  void write(const char* data, std::size_t size) { out.append(data, size); }
};

struct Counter {
  std::uint32_t fields = 0;
  void need(std::string_view, const auto&) { ++fields; }
  void may(std::string_view, const auto&) { ++fields; }
};

class Writer {
 public:
  explicit Writer(std::string& out) : sink_{out}, packer_(sink_) {}

  void need(std::string_view key, const auto& value) {
    text(key);
    write(value);
  }
  void may(std::string_view key, const auto& value) { need(key, value); }

  template <class M>
  void message(std::string_view name, const M& message) {
    begin(message, 2);
    need("t", name);
    need("v", kProtocolVersion);
    Fields<M>::visit(*this, message);
  }

 private:
  template <class T>
  void begin(const T& value, std::uint32_t extra_keys) {
    Counter counter;
    Fields<T>::visit(counter, value);
    packer_.pack_map(counter.fields + extra_keys);
  }

  void text(std::string_view value) {
    const auto size = static_cast<std::uint32_t>(value.size());
    packer_.pack_str(size);
    packer_.pack_str_body(value.data(), size);
  }

  template <class T>
  void write(const T& value) {
    if constexpr (Structure<T>) {
      begin(value, 0);
      Fields<T>::visit(*this, value);
    } else if constexpr (HighLow<T>) {
      const auto bytes = to_bytes(value.high, value.low);
      packer_.pack_bin(kIdBytes);
      packer_.pack_bin_body(bytes.data(), kIdBytes);
    } else if constexpr (std::same_as<T, Bytes>) {
      packer_.pack_bin(static_cast<std::uint32_t>(value.size()));
      packer_.pack_bin_body(reinterpret_cast<const char*>(value.data()),
                            static_cast<std::uint32_t>(value.size()));
    } else if constexpr (kIsVector<T>) {
      packer_.pack_array(static_cast<std::uint32_t>(value.size()));
      for (const auto& item : value) write(item);
    } else if constexpr (kIsId<T>) {
      packer_.pack(value.value);
    } else if constexpr (std::same_as<T, Duration>) {
      packer_.pack(static_cast<std::int64_t>(value.count()));
    } else if constexpr (std::same_as<T, StreamKind>) {
      packer_.pack(static_cast<std::uint8_t>(value));
    } else if constexpr (std::same_as<T, DType> || std::same_as<T, Code>) {
      text(name_of(value));
    } else if constexpr (std::convertible_to<T, std::string_view>) {
      text(value);
    } else {
      packer_.pack(value);
    }
  }

  Sink sink_;
  msgpack::packer<Sink> packer_;
};

// ---------------------------------------------------------------------------------------- reading

std::string_view text_of(const msgpack::object& object) {
  return {object.via.str.ptr, object.via.str.size};
}

/// What was wrong, and where; the place is put together while a failed read unwinds.
struct Problem {
  std::string path;
  std::string what;

  bool operator()(std::string text) {
    what = std::move(text);
    return false;
  }
};

class Reader {
 public:
  /// `lenient`: what is missing or cannot be read keeps its default.
  Reader(const msgpack::object& object, Problem& problem, bool lenient)
      : map_(object.via.map), problem_(problem), lenient_(lenient) {}

  void need(std::string_view key, auto& value) { field(key, value, !lenient_); }
  void may(std::string_view key, auto& value) { field(key, value, false); }

  [[nodiscard]] bool ok() const { return ok_; }

  template <class T>
  static bool structure(const msgpack::object& object, T& value, Problem& problem, bool lenient) {
    if (!check_keys(object, problem)) return false;
    Reader reader(object, problem, lenient);
    Fields<T>::visit(reader, value);
    return reader.ok();
  }

  /// Where `key` is in a map, or its size if it is not there. Looks at `guess` first.
  static std::uint32_t find(const msgpack::object_map& map, std::string_view key,
                            std::uint32_t guess = 0) {
    if (guess < map.size && text_of(map.ptr[guess].key) == key) return guess;
    std::uint32_t i = 0;
    while (i < map.size && text_of(map.ptr[i].key) != key) ++i;
    return i;
  }

  static bool check_keys(const msgpack::object& object, Problem& problem) {
    if (object.type != msgpack::type::MAP) return problem("expected a map");
    const msgpack::object_map& map = object.via.map;
    for (std::uint32_t i = 0; i < map.size; ++i) {
      if (map.ptr[i].key.type != msgpack::type::STR)
        return problem("has a key that is not a string");
      const std::string_view key = text_of(map.ptr[i].key);
      for (std::uint32_t k = 0; k < i; ++k) {
        if (text_of(map.ptr[k].key) == key) return problem("has a key twice");
      }
    }
    return true;
  }

 private:
  template <class T>
  void field(std::string_view key, T& value, bool required) {
    if (!ok_) return;
    const std::uint32_t found = find(map_, key, next_);
    if (found == map_.size) {
      ok_ = !required || problem_("is missing");
    } else {
      next_ = found + 1;
      ok_ = read(map_.ptr[found].val, value) || lenient_;
    }
    if (!ok_) problem_.path = "." + std::string(key) + problem_.path;
  }

  template <class T>
  bool read(const msgpack::object& object, T& value) {
    if constexpr (Structure<T>) {
      return structure(object, value, problem_, lenient_);
    } else if constexpr (HighLow<T>) {
      if (object.type != msgpack::type::BIN || object.via.bin.size != kIdBytes) {
        return problem_("expected 16 bytes");
      }
      value.high = from_bytes(object.via.bin.ptr);
      value.low = from_bytes(object.via.bin.ptr + 8);
      return true;
    } else if constexpr (std::same_as<T, Bytes>) {
      if (object.type != msgpack::type::BIN) return problem_("expected bytes");
      value.assign(object.via.bin.ptr, object.via.bin.ptr + object.via.bin.size);
      return true;
    } else if constexpr (kIsVector<T>) {
      return array(object, value);
    } else if constexpr (kIsId<T>) {
      return read(object, value.value);
    } else if constexpr (std::same_as<T, Duration>) {
      std::int64_t nanoseconds = 0;
      if (!read(object, nanoseconds)) return false;
      value = Duration(nanoseconds);
      return true;
    } else if constexpr (std::same_as<T, StreamKind>) {
      std::uint8_t kind = 0;
      if (!read(object, kind)) return false;
      if (kind > static_cast<std::uint8_t>(StreamKind::kCheckpoint)) {
        return problem_("expected 0 to 4");
      }
      value = static_cast<StreamKind>(kind);
      return true;
    } else if constexpr (std::same_as<T, DType>) {
      if (object.type != msgpack::type::STR) return problem_("expected the name of a dtype");
      const std::optional<DType> dtype = dtype_named(text_of(object));
      if (!dtype) return problem_("names no dtype");
      value = *dtype;
      return true;
    } else if constexpr (std::same_as<T, Code>) {
      if (object.type != msgpack::type::STR) return problem_("expected the name of a code");
      value = code_named(text_of(object));
      return true;
    } else if constexpr (std::same_as<T, std::string>) {
      if (object.type != msgpack::type::STR) return problem_("expected a string");
      if (find_invalid_utf8(text_of(object)) != std::string_view::npos)
        return problem_("is not UTF-8");
      value = text_of(object);
      return true;
    } else if constexpr (std::same_as<T, bool>) {
      if (object.type != msgpack::type::BOOLEAN) return problem_("expected true or false");
      value = object.via.boolean;
      return true;
    } else if constexpr (std::same_as<T, double>) {
      return real(object, value);
    } else {
      static_assert(Integer<T>);
      return integer(object, value);
    }
  }

  template <class T>
  bool array(const msgpack::object& object, std::vector<T>& values) {
    if (object.type != msgpack::type::ARRAY) return problem_("expected an array");
    const msgpack::object_array& items = object.via.array;
    values.clear();
    values.reserve(std::is_arithmetic_v<T> ? items.size
                                           : std::min<std::size_t>(items.size, kEagerReserve));
    for (std::uint32_t i = 0; i < items.size; ++i) {
      if (!read(items.ptr[i], values.emplace_back())) {
        problem_.path = "[" + std::to_string(i) + "]" + problem_.path;
        return false;
      }
    }
    return true;
  }

  bool real(const msgpack::object& object, double& value) {
    switch (object.type) {
      case msgpack::type::POSITIVE_INTEGER:
        value = static_cast<double>(object.via.u64);
        return true;
      case msgpack::type::NEGATIVE_INTEGER:
        value = static_cast<double>(object.via.i64);
        return true;
      case msgpack::type::FLOAT32:
      case msgpack::type::FLOAT64:
        value = object.via.f64;
        break;
      default:
        return problem_("expected a number");
    }
    return std::isfinite(value) || problem_("is not finite");
  }

  template <Integer T>
  bool integer(const msgpack::object& object, T& value) {
    if (object.type == msgpack::type::POSITIVE_INTEGER) {
      if (!std::in_range<T>(object.via.u64)) return problem_("is too large");
      value = static_cast<T>(object.via.u64);
      return true;
    }
    if (object.type == msgpack::type::NEGATIVE_INTEGER) {
      if (!std::in_range<T>(object.via.i64)) return problem_("is too small");
      value = static_cast<T>(object.via.i64);
      return true;
    }
    return problem_("expected a whole number");
  }

  const msgpack::object_map& map_;
  Problem& problem_;
  bool lenient_;
  bool ok_ = true;
  std::uint32_t next_ = 0;  // Where the next key is, if the sender keeps our order.
};

using ReadMessage = bool (*)(const msgpack::object&, Message&, Problem&, bool lenient);

template <std::size_t... I>
constexpr std::array<ReadMessage, sizeof...(I)> readers_of(std::index_sequence<I...>) {
  return {[](const msgpack::object& object, Message& message, Problem& problem, bool lenient) {
    return Reader::structure(object, message.emplace<I>(), problem, lenient);
  }...};
}

constexpr auto kReaders = readers_of(std::make_index_sequence<std::variant_size_v<Message>>{});

Result<Message> read_message(const msgpack::object& object) {
  Problem problem;
  if (!Reader::check_keys(object, problem)) return invalid("message " + problem.what);
  const msgpack::object_map& map = object.via.map;
  const std::uint32_t type = Reader::find(map, "t", 0);
  if (type == map.size || map.ptr[type].val.type != msgpack::type::STR) {
    return invalid("message without a type (key 't')");
  }
  const auto names = message_names();
  const auto name = std::find(names.begin(), names.end(), text_of(map.ptr[type].val));
  if (name == names.end()) return invalid("message of a type that is not known");

  const std::uint32_t version = Reader::find(map, "v", 1);
  if (version == map.size || map.ptr[version].val.type != msgpack::type::POSITIVE_INTEGER) {
    return invalid(std::string(*name) + " without a protocol version (key 'v')");
  }
  const std::uint64_t protocol = map.ptr[version].val.via.u64;
  const bool spoken = protocol >= kOldestProtocol && protocol <= kProtocolVersion;
  if (!spoken && *name != "Hello" && *name != "Submit") {
    return invalid(std::string(*name) + " of protocol " + std::to_string(protocol) + "; this is " +
                   std::to_string(kProtocolVersion));
  }
  Message message;
  if (!kReaders[static_cast<std::size_t>(name - names.begin())](object, message, problem,
                                                                !spoken)) {
    return invalid(std::string(*name) + problem.path + ": " + problem.what);
  }
  if (!spoken) {
    const auto told = static_cast<std::uint32_t>(std::min<std::uint64_t>(protocol, UINT32_MAX));
    if (auto* hello = std::get_if<Hello>(&message)) hello->protocol = told;
    if (auto* submit = std::get_if<Submit>(&message)) submit->protocol = told;
  }
  return message;
}

}  // namespace

void encode(const Message& message, std::string& out) {
  Writer writer(out);
  std::visit([&](const auto& m) { writer.message(name_of(message), m); }, message);
}

std::string encode(const Message& message) {
  std::string out;
  encode(message, out);
  return out;
}

Result<Message> decode(std::span<const std::byte> header) {
  // No array can hold more items than there are bytes, so a short lie allocates little.
  const msgpack::unpack_limit limits(std::min(header.size(), kMaxArray), kMaxKeys, header.size(),
                                     header.size(), 0, kMaxDepth);
  const auto in_place = [](msgpack::type::object_type, std::size_t, void*) { return true; };
  try {
    thread_local msgpack::zone zone;  // Keeps one chunk of 8 KiB between calls.
    zone.clear();
    std::size_t offset = 0;
    bool referenced = false;
    const msgpack::object object =
        msgpack::unpack(zone, reinterpret_cast<const char*>(header.data()), header.size(), offset,
                        referenced, in_place, nullptr, limits);
    if (offset != header.size()) return invalid("message with bytes after its end");
    return read_message(object);
  } catch (const std::exception& problem) {
    return invalid(std::string("not MessagePack: ") + problem.what());
  }
}

}  // namespace pa
