#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/core/result.h"
#include "shared/core/time.h"
#include "shared/io/yaml.h"

namespace pa {

/// The keys of a configuration struct, each told once: where its value lives, what it may be, and
/// why. From this one list come the reader, the overrides and the documented file.
///
///   Settings settings;
///   settings.section("limits", "What requests may take.");
///   settings.integer("limits.max_rows", config.max_rows, {1, 1024}, "Rows in one network pass.");
///   settings.load("worker.yaml", {{"limits.max_rows", "4"}});
///   PA_TRY(settings.finish());
///
/// A path has one or two parts. What the struct holds when its keys are told are the defaults. The
/// struct must outlive the Settings.
class Settings {
 public:
  /// Begins a group: paths "NAME.key" follow.
  void section(std::string name, std::string reason);

  void boolean(std::string path, bool& value, std::string reason);
  void integer(std::string path, std::int64_t& value, YamlRange<std::int64_t> range,
               std::string reason);
  void number(std::string path, double& value, YamlRange<double> range, std::string reason);
  void string(std::string path, std::string& value, std::string reason);
  void duration(std::string path, Duration& value, YamlRange<Duration> range, std::string reason);
  void bytes(std::string path, std::uint64_t& value, YamlRange<std::uint64_t> range,
             std::string reason);
  /// An enumeration whose values are 0, 1, ... in the order of `names`.
  template <class Enum>
  void choice(std::string path, Enum& value, const std::vector<std::string_view>& names,
              std::string reason) {
    choice(
        std::move(path), names, [&value] { return static_cast<std::size_t>(value); },
        [&value](std::size_t index) { value = static_cast<Enum>(index); }, std::move(reason));
  }
  /// A map from names, which are free, to numbers.
  void numbers(std::string path, std::map<std::string, double>& value, YamlRange<double> range,
               std::string reason);
  /// A string that `parse` takes or refuses in words; `format` gives it back.
  void text(std::string path, std::function<std::string()> format,
            std::function<Status(const std::string&)> parse, std::string reason);

  /// Reads `file` (none if empty), then `overrides` in order: (path, YAML value); for a map, its
  /// path or "PATH.NAME". Errors are collected.
  void load(const std::string& file,
            const std::vector<std::pair<std::string, std::string>>& overrides);
  /// As load(), from the contents of a file.
  void parse(std::string_view text, std::string name);

  /// Notes that the value at `path` does not go with others; the message is put at its place.
  void reject(std::string_view path, std::string_view message);

  /// kInvalid with all errors, a line each.
  [[nodiscard]] Status finish();

  /// A commented file with every key at its present value.
  [[nodiscard]] std::string document(std::string_view heading) const;

  /// Every path, in order.
  [[nodiscard]] std::vector<std::string> paths() const;

 private:
  struct Setting {
    std::string path;
    std::string reason;
    std::string allowed;  ///< "1 to 1024", "text or json", or empty.
    std::function<void(const YamlValue&)> read;
    std::function<std::string()> write;  ///< The present value as YAML, on one line.
    std::function<void(const std::string& name, const YamlValue&)> read_entry;  ///< Maps only.
    std::string place;  ///< Where the present value came from; empty for a default.
  };

  void choice(std::string path, const std::vector<std::string_view>& names,
              std::function<std::size_t()> get, std::function<void(std::size_t)> set,
              std::string reason);
  void read(YamlFile& file);
  void override_with(const std::string& path, const std::string& text);
  Setting* find(std::string_view path);

  std::vector<Setting> settings_;
  std::map<std::string, std::string> sections_;  ///< Name to reason.
  std::vector<std::string> errors_;
};

}  // namespace pa
