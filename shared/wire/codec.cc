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

namespace pa {
namespace {

constexpr std::uint32_t kOldestProtocol = 1;

constexpr std::size_t kMaxArray = 65536;
constexpr std::size_t kMaxKeys = 64;
constexpr std::size_t kMaxDepth = 12;  // ClusterStatus reaches 8.
constexpr std::size_t kIdBytes = 16;
constexpr std::size_t kEagerReserve = 256;

// ---------------------------------------------------------------------------------------- fields
// The members of every struct, in their order on the wire. `need`: an error if missing; `may`: keeps
// its default.

template <class T>
struct Fields;

template <class T>
concept Structure = requires {
  sizeof(Fields<T>);
};

template <>
struct Fields<StreamId> {
  static void visit(auto& v, auto& m) {
    v.need("kind", m.kind);
    v.need("request", m.request);
    v.may("shard", m.shard);
  }
};

template <>
struct Fields<Want> {
  static void visit(auto& v, auto& m) {
    v.need("stream", m.stream);
    v.need("from", m.from);
    v.need("window", m.window);
    v.may("again", m.again);
  }
};

template <>
struct Fields<Put> {
  static void visit(auto& v, auto& m) {
    v.need("stream", m.stream);
    v.need("offset", m.offset);
    v.need("at", m.at);
  }
};

template <>
struct Fields<Got> {
  static void visit(auto& v, auto& m) {
    v.need("stream", m.stream);
    v.need("upto", m.upto);
  }
};

template <>
struct Fields<TensorSpec> {
  static void visit(auto& v, auto& m) {
    v.need("name", m.name);
    v.need("dtype", m.dtype);
    v.need("shape", m.shape);
  }
};

template <>
struct Fields<TensorEntry> {
  static void visit(auto& v, auto& m) {
    v.need("spec", m.spec);
    v.may("digest", m.digest);
  }
};

template <>
struct Fields<Error> {
  static void visit(auto& v, auto& m) {
    v.need("code", m.code);
    v.may("message", m.message);
    v.may("field", m.field);
  }
};

template <>
struct Fields<Submit> {
  static void visit(auto& v, auto& m) {
    v.need("protocol", m.protocol);
    v.need("request", m.request);
    v.need("body", m.body);
    v.may("tensors", m.tensors);
    v.may("plan_only", m.plan_only);
    v.may("window", m.window);
    v.may("result_from", m.result_from);
    v.may("result_run", m.result_run);
    v.may("sharing", m.sharing);
    v.may("segment", m.segment);
  }
};

template <>
struct Fields<PlanShare> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.may("device", m.device);
    v.may("weight", m.weight);
    v.need("samples", m.samples);
    v.may("reason", m.reason);
    v.may("finish_seconds", m.finish_seconds);
  }
};

template <>
struct Fields<Accepted> {
  static void visit(auto& v, auto& m) {
    v.need("request", m.request);
    v.need("run", m.run);
    v.need("result", m.result);
    v.may("plan", m.plan);
    v.may("seconds", m.seconds);
    v.may("limit", m.limit);
    v.may("segment", m.segment);
  }
};

template <>
struct Fields<Refused> {
  static void visit(auto& v, auto& m) {
    v.need("request", m.request);
    v.need("error", m.error);
    v.may("retry_after_seconds", m.retry_after_seconds);
  }
};

template <>
struct Fields<DeviceProgress> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.may("device", m.device);
    v.may("assigned", m.assigned);
    v.may("done", m.done);
    v.may("steps", m.steps);
    v.may("seconds", m.seconds);
  }
};

template <>
struct Fields<RequestProgress> {
  static void visit(auto& v, auto& m) {
    v.need("request", m.request);
    v.need("samples", m.samples);
    v.need("done", m.done);
    v.may("steps", m.steps);
    v.may("steps_total", m.steps_total);
    v.may("devices", m.devices);
    v.may("waiting_for", m.waiting_for);
  }
};

template <>
struct Fields<SampleReport> {
  static void visit(auto& v, auto& m) {
    v.need("sample", m.sample);
    v.may("worker", m.worker);
    v.may("device", m.device);
    v.may("attempts", m.attempts);
    v.may("steps", m.steps);
    v.may("seconds", m.seconds);
    v.may("error", m.error);
    v.may("failed", m.failed);
  }
};

template <>
struct Fields<Done> {
  static void visit(auto& v, auto& m) {
    v.need("request", m.request);
    v.may("run", m.run);
    v.need("failed", m.failed);
    v.may("error", m.error);
    v.need("result_bytes", m.result_bytes);
    v.may("seconds", m.seconds);
    v.may("queue_seconds", m.queue_seconds);
    v.may("samples", m.samples);
    v.may("warnings", m.warnings);
  }
};

template <>
struct Fields<DoneAck> {
  static void visit(auto& v, auto& m) { v.need("request", m.request); }
};

template <>
struct Fields<Cancel> {
  static void visit(auto& v, auto& m) { v.need("request", m.request); }
};

template <>
struct Fields<StatusQuery> {
  static void visit(auto& v, auto& m) { v.may("tag", m.tag); }
};

template <>
struct Fields<InputSpec> {
  static void visit(auto& v, auto& m) {
    v.need("name", m.name);
    v.need("dtype", m.dtype);
    v.need("shape", m.shape);
    v.may("required", m.required);
  }
};

template <>
struct Fields<SamplingInfo> {
  static void visit(auto& v, auto& m) {
    v.may("prediction", m.prediction);
    v.may("type", m.type);
    v.may("shift", m.shift);
    v.may("multiplier", m.multiplier);
    v.may("zero_terminal_snr", m.zero_terminal_snr);
    v.may("sigma_min", m.sigma_min);
    v.may("sigma_max", m.sigma_max);
    v.may("sigma_data", m.sigma_data);
  }
};

template <>
struct Fields<LoraInfo> {
  static void visit(auto& v, auto& m) {
    v.need("name", m.name);
    v.need("identity", m.identity);
  }
};

template <>
struct Fields<ModelInfo> {
  static void visit(auto& v, auto& m) {
    v.need("name", m.name);
    v.need("identity", m.identity);
    v.need("family", m.family);
    v.may("sampling", m.sampling);
    v.may("latent", m.latent);
    v.may("inputs", m.inputs);
    v.may("labels", m.labels);
    v.may("pixel_min", m.pixel_min);
    v.may("pixel_max", m.pixel_max);
    v.may("parameters", m.parameters);
    v.may("loras", m.loras);
  }
};

template <>
struct Fields<WorkerStatus> {
  static void visit(auto& v, auto& m) {
    v.need("name", m.name);
    v.may("device", m.device);
    v.may("device_name", m.device_name);
    v.may("host", m.host);
    v.may("pid", m.pid);
    v.need("state", m.state);
    v.may("weight", m.weight);
    v.may("models", m.models);
    v.may("assigned", m.assigned);
    v.may("samples_done", m.samples_done);
    v.may("steps_done", m.steps_done);
    v.may("busy_seconds", m.busy_seconds);
    v.may("last_heard_seconds", m.last_heard_seconds);
    v.may("free_memory_bytes", m.free_memory_bytes);
    v.may("numerics_id", m.numerics_id);
  }
};

template <>
struct Fields<RequestStatus> {
  static void visit(auto& v, auto& m) {
    v.need("request", m.request);
    v.may("model", m.model);
    v.may("tag", m.tag);
    v.need("state", m.state);
    v.may("samples", m.samples);
    v.may("done", m.done);
    v.may("age_seconds", m.age_seconds);
  }
};

template <>
struct Fields<ClusterStatus> {
  static void visit(auto& v, auto& m) {
    v.may("tag", m.tag);
    v.may("epoch", m.epoch);
    v.may("version", m.version);
    v.may("journal", m.journal);
    v.may("uptime_seconds", m.uptime_seconds);
    v.may("workers", m.workers);
    v.may("requests", m.requests);
    v.may("part", m.part);
    v.may("more", m.more);
  }
};

template <>
struct Fields<Hello> {
  static void visit(auto& v, auto& m) {
    v.need("protocol", m.protocol);
    v.need("boot", m.boot);
    v.need("name", m.name);
    v.may("host", m.host);
    v.may("pid", m.pid);
    v.need("device", m.device);
    v.may("device_name", m.device_name);
    v.may("weight", m.weight);
    v.may("numerics_id", m.numerics_id);
    v.may("models", m.models);
    v.may("credit_samples", m.credit_samples);
    v.may("max_rows", m.max_rows);
    v.may("yields", m.yields);
    v.may("window", m.window);
  }
};

template <>
struct Fields<Welcome> {
  static void visit(auto& v, auto& m) {
    v.need("epoch", m.epoch);
    v.need("worker", m.worker);
    v.need("beat_interval", m.beat_interval);
    v.need("window", m.window);
  }
};

template <>
struct Fields<Rejected> {
  static void visit(auto& v, auto& m) { v.need("error", m.error); }
};

template <>
struct Fields<OfferedSample> {
  static void visit(auto& v, auto& m) {
    v.need("sample", m.sample);
    v.may("steps", m.steps);
    v.may("done", m.done);
  }
};

template <>
struct Fields<OfferedShard> {
  static void visit(auto& v, auto& m) {
    v.need("shard", m.shard);
    v.need("request", m.request);
    v.need("run", m.run);
    v.may("attempt", m.attempt);
    v.need("samples", m.samples);
    v.need("held", m.held);
  }
};

template <>
struct Fields<KeptShard> {
  static void visit(auto& v, auto& m) {
    v.need("shard", m.shard);
    v.need("samples", m.samples);
  }
};

template <>
struct Fields<Attach> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.need("boot", m.boot);
    v.may("sharing", m.sharing);
    v.may("offers", m.offers);
  }
};

template <>
struct Fields<Attached> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.may("kept", m.kept);
  }
};

template <>
struct Fields<Rehello> {
  static void visit(auto&, auto&) {}
};

template <>
struct Fields<Heartbeat> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.need("sequence", m.sequence);
    v.may("passes", m.passes);
    v.may("free_memory_bytes", m.free_memory_bytes);
    v.may("busy_for", m.busy_for);
    v.may("shards", m.shards);
  }
};

template <>
struct Fields<HeartbeatAck> {
  static void visit(auto& v, auto& m) { v.need("sequence", m.sequence); }
};

template <>
struct Fields<Source> {
  static void visit(auto& v, auto& m) {
    v.need("offset", m.offset);
    v.need("bytes", m.bytes);
    v.need("at", m.at);
  }
};

template <>
struct Fields<Assign> {
  static void visit(auto& v, auto& m) {
    v.need("shard", m.shard);
    v.need("request", m.request);
    v.need("body", m.body);
    v.need("samples", m.samples);
    v.may("tensors", m.tensors);
    v.need("result", m.result);
    v.may("attempt", m.attempt);
    v.may("segment", m.segment);
    v.may("sources", m.sources);
    v.may("result_segment", m.result_segment);
    v.may("run", m.run);
  }
};

template <>
struct Fields<Revoke> {
  static void visit(auto& v, auto& m) { v.need("shard", m.shard); }
};

template <>
struct Fields<Yield> {
  static void visit(auto& v, auto& m) {
    v.need("shard", m.shard);
    v.need("sample", m.sample);
    v.need("move", m.move);
  }
};

template <>
struct Fields<Yielded> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.need("shard", m.shard);
    v.need("move", m.move);
    v.need("sample", m.sample);
    v.need("steps", m.steps);
    v.need("bytes", m.bytes);
  }
};

template <>
struct Fields<Save> {
  static void visit(auto& v, auto& m) {
    v.need("shard", m.shard);
    v.need("sample", m.sample);
    v.need("save", m.save);
  }
};

template <>
struct Fields<Saved> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.need("shard", m.shard);
    v.need("save", m.save);
    v.need("sample", m.sample);
    v.need("steps", m.steps);
    v.may("cost_seconds", m.cost_seconds);
    v.need("bytes", m.bytes);
  }
};

template <>
struct Fields<ShardProgress> {
  static void visit(auto& v, auto& m) {
    v.need("shard", m.shard);
    v.need("steps", m.steps);
    v.may("seconds", m.seconds);
    v.may("sample_steps", m.sample_steps);
  }
};

template <>
struct Fields<PassReport> {
  static void visit(auto& v, auto& m) {
    v.need("model", m.model);
    v.may("row", m.row);
    v.need("rows", m.rows);
    v.may("passes", m.passes);
    v.need("seconds", m.seconds);
    v.may("fits", m.fits);
  }
};

template <>
struct Fields<WorkerProgress> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.may("shards", m.shards);
    v.may("passes", m.passes);
    v.may("busy_for", m.busy_for);
  }
};

template <>
struct Fields<SamplesDone> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.need("shard", m.shard);
    v.need("stream_upto", m.stream_upto);
    v.need("samples", m.samples);
    v.may("in_place", m.in_place);
  }
};

template <>
struct Fields<SamplePreview> {
  static void visit(auto& v, auto& m) {
    v.need("request", m.request);
    v.may("shard", m.shard);
    v.need("sample", m.sample);
    v.need("step", m.step);
    v.need("width", m.width);
    v.need("height", m.height);
    v.need("rgb", m.rgb);
  }
};

template <>
struct Fields<Draining> {
  static void visit(auto& v, auto& m) { v.need("worker", m.worker); }
};

template <>
struct Fields<Bye> {
  static void visit(auto& v, auto& m) { v.need("worker", m.worker); }
};

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
