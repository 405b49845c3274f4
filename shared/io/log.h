#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

/// Structured logs: one line an event, to standard error.
///
///   log_info("worker.joined", {{"worker", name}, {"device", device}});
///
/// An event's name is a literal, "noun.verb", and always means the same. What varies is in fields.
/// Identical events beyond kLogBurst a second are counted instead of written; the next line of that
/// event tells how many in its field "suppressed".
///
/// Thread-safe. A line blocks for as long as standard error does.
namespace pa {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError };
inline constexpr std::array<std::string_view, 4> kLogLevelNames{"debug", "info", "warning",
                                                                "error"};

/// text: `12:00:01.123 info worker.joined worker=a device=cpu`, in UTC.
/// json: `{"ts":"2026-01-02T12:00:01.123Z","level":"info","event":"worker.joined","worker":"a"}`.
enum class LogFormat : std::uint8_t { kText, kJson };
inline constexpr std::array<std::string_view, 2> kLogFormatNames{"text", "json"};

/// Lines of one event and second, at most.
inline constexpr std::uint64_t kLogBurst = 10;
/// Bytes of one field's value that are written; the rest is cut off.
inline constexpr std::size_t kLogValueBytes = 4096;

struct LogOptions {
  LogLevel level = LogLevel::kInfo;  ///< Below it nothing is written.
  LogFormat format = LogFormat::kText;
};

/// A field's value. Text is not copied: it must live until the call returns.
class LogValue {
 public:
  // NOLINTBEGIN(google-explicit-constructor): so that fields read as {"samples", 3}.
  LogValue(bool value) : value_(value) {}
  LogValue(double value) : value_(value) {}
  LogValue(std::string_view value) : value_(value) {}
  LogValue(const char* value) : value_(std::string_view(value)) {}
  LogValue(const std::string& value) : value_(std::string_view(value)) {}
  template <std::signed_integral T>
  LogValue(T value) : value_(static_cast<std::int64_t>(value)) {}
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) LogValue(T value) : value_(static_cast<std::uint64_t>(value)) {}
  // NOLINTEND(google-explicit-constructor)

  using Variant = std::variant<bool, std::int64_t, std::uint64_t, double, std::string_view>;
  [[nodiscard]] const Variant& get() const { return value_; }

 private:
  Variant value_;
};

struct LogField {
  std::string_view key;
  LogValue value;
};
using LogFields = std::initializer_list<LogField>;

/// Replaces the process's options. The defaults serve before.
void log_configure(const LogOptions& options);

void log_debug(std::string_view event, LogFields fields = {});
void log_info(std::string_view event, LogFields fields = {});
void log_warning(std::string_view event, LogFields fields = {});
void log_error(std::string_view event, LogFields fields = {});

/// Events of each level so far, written or not (below the level in force they do not count).
[[nodiscard]] std::array<std::uint64_t, 4> log_counts();

/// What log_info() and its like write to. A test makes its own, with a clock and a sink.
class Logger {
 public:
  using Clock = std::function<std::chrono::system_clock::time_point()>;
  using Sink = std::function<void(std::string_view line)>;  ///< Without the line's end.

  Logger(const LogOptions& options, Clock clock, Sink sink);
  ~Logger();
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  void configure(const LogOptions& options);
  void write(LogLevel level, std::string_view event, LogFields fields);
  [[nodiscard]] std::array<std::uint64_t, 4> counts() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pa
