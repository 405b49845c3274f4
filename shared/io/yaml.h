#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/core/result.h"
#include "shared/core/time.h"

/// Strict reading of YAML files that people write: configuration, model.yaml. Never for peers' bytes.
///
///   YamlFile file = YamlFile::load(path);
///   YamlMap root = file.root();
///   root.read_integer("max_rows", options.max_rows, {1, 1024});
///   YamlMap http = root.map("http");
///   http.read_integer("port", options.port, {0, 65535});
///   PA_TRY(file.finish());
///
/// Mistakes do not stop the reading: they are collected, and finish() tells them all in the order
/// of the file, each as "FILE:LINE:COLUMN: KEY: what was expected, and what was found".
///
/// Stricter than YAML: one document; no duplicate key, anchor, alias or tag; a boolean is `true` or
/// `false`; a number is decimal, without leading zeros; and a string that would read as another
/// type (`yes`, `on`, `0123`, `1.0`, `~`) must be quoted.
namespace pa {

class YamlMap;
struct YamlNode;
struct YamlErrors;

/// Values from `min` to `max`, both allowed.
template <class T>
struct YamlRange {
  T min = std::numeric_limits<T>::lowest();
  T max = std::numeric_limits<T>::max();
};

template <>
struct YamlRange<Duration> {
  Duration min = Duration::zero();  // Durations in files are never negative.
  Duration max = Duration::max();
};

/// A value of the file, and where it stands. Cheap to copy; valid while its YamlFile lives.
///
/// Getters return nullopt (or nothing) after noting an error, if the value is of another type or out of range.
class YamlValue {
 public:
  [[nodiscard]] std::optional<bool> boolean() const;
  [[nodiscard]] std::optional<std::int64_t> integer(YamlRange<std::int64_t> range = {}) const;
  /// Finite.
  [[nodiscard]] std::optional<double> number(YamlRange<double> range = {}) const;
  [[nodiscard]] std::optional<std::string> string() const;
  /// One of `names`; the index of it.
  [[nodiscard]] std::optional<std::size_t> choice(std::span<const std::string_view> names) const;
  /// "500ms", "1.5s", "10m": see parse_duration().
  [[nodiscard]] std::optional<Duration> duration(YamlRange<Duration> range = {}) const;
  /// "8MiB", "512B": see parse_bytes().
  [[nodiscard]] std::optional<std::uint64_t> bytes(YamlRange<std::uint64_t> range = {}) const;
  /// The elements of a list; none for null, and after noting an error.
  [[nodiscard]] std::vector<YamlValue> list() const;
  /// A map with known keys.
  [[nodiscard]] std::optional<YamlMap> map() const;
  /// The entries of a map whose keys are free, in the order of the file; none for null, and after
  /// noting an error.
  [[nodiscard]] std::vector<std::pair<std::string, YamlValue>> entries() const;

  /// `null`, `~` or nothing.
  [[nodiscard]] bool is_null() const;
  [[nodiscard]] bool is_map() const;
  [[nodiscard]] bool is_list() const;
  /// A scalar in quotes, or one that reads as no other type.
  [[nodiscard]] bool is_string() const;

  /// Notes an error at this value: "FILE:LINE:COLUMN: KEY: message".
  void reject(std::string_view message) const;
  /// "FILE:LINE:COLUMN", counted from 1.
  [[nodiscard]] std::string place() const;

 private:
  friend class YamlMap;
  friend class YamlFile;
  YamlValue(YamlNode* node, YamlErrors* errors) : node_(node), errors_(errors) {}

  /// Notes "expected WHAT, found VALUE".
  void expected(std::string_view what) const;

  YamlNode* node_;
  YamlErrors* errors_;
};

/// A map with known keys: those that were asked for. Any other is an error, which names the nearest
/// known one. Cheap to copy; valid while its YamlFile lives.
class YamlMap {
 public:
  /// The value of `key`, which is known from now on; nullopt if it is absent.
  [[nodiscard]] std::optional<YamlValue> find(std::string_view key);
  /// The map at `key`; one without entries if it is absent, null or (after noting an error) no map.
  [[nodiscard]] YamlMap map(std::string_view key);

  // Each leaves `out` alone, and returns false, if the key is absent or (after noting an error) its
  // value is wrong.
  bool read_boolean(std::string_view key, bool& out);
  bool read_integer(std::string_view key, std::int64_t& out, YamlRange<std::int64_t> range = {});
  bool read_number(std::string_view key, double& out, YamlRange<double> range = {});
  bool read_string(std::string_view key, std::string& out);
  bool read_duration(std::string_view key, Duration& out, YamlRange<Duration> range = {});
  bool read_bytes(std::string_view key, std::uint64_t& out, YamlRange<std::uint64_t> range = {});

  /// Notes an error at the map itself, for instance that a key is missing.
  void reject(std::string_view message) const;

 private:
  friend class YamlFile;
  friend class YamlValue;
  YamlMap(YamlNode* node, YamlErrors* errors) : node_(node), errors_(errors) {}

  YamlNode* node_;  // Null: a map without entries.
  YamlErrors* errors_;
};

/// One parsed file, with the errors found so far.
class YamlFile {
 public:
  /// Errors of one file that finish() tells; the rest are counted.
  static constexpr std::size_t kMaxErrors = 20;
  static constexpr std::uint64_t kMaxBytes = 1u << 20;

  /// Reads a file of at most kMaxBytes. A file that cannot be read or parsed has no value to give,
  /// and finish() says why.
  [[nodiscard]] static YamlFile load(const std::string& path);
  /// Parses `text`; `name` stands for the file in messages.
  [[nodiscard]] static YamlFile parse(std::string_view text, std::string name);
  /// Parses a value given on a command line. Messages have no line and column.
  [[nodiscard]] static YamlFile parse_option(std::string_view text, std::string name);

  /// The whole document as a map. Empty for an empty file.
  [[nodiscard]] YamlMap root();
  /// The whole document, whatever it is.
  [[nodiscard]] YamlValue value();

  /// kInvalid with every error so far, a line each; unknown keys are found here. Call it last.
  [[nodiscard]] Status finish();

  YamlFile(YamlFile&&) noexcept;
  YamlFile& operator=(YamlFile&&) noexcept;
  ~YamlFile();

 private:
  YamlFile(std::string name, bool has_places);

  std::unique_ptr<YamlErrors> errors_;
  std::unique_ptr<YamlNode> root_;
};

/// `text` as a YAML scalar that reads back as the string `text`: quoted where it must be.
[[nodiscard]] std::string yaml_quote(std::string_view text);

}  // namespace pa
