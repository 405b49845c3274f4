#include "shared/io/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <atomic>
#include <mutex>

#include "shared/io/log_format.h"
#include "shared/io/log_limiter.h"

namespace pa {

struct Logger::State {
  std::atomic<LogLevel> level;
  std::atomic<LogFormat> format;
  std::array<std::atomic<std::uint64_t>, 4> counts{};
  Clock clock;
  Sink sink;
  std::mutex mutex;
  LogLimiter limiter{kLogBurst};  // Guarded by mutex.
};

Logger::Logger(const LogOptions& options, Clock clock, Sink sink)
    : state_(std::make_unique<State>()) {
  configure(options);
  state_->clock = std::move(clock);
  state_->sink = std::move(sink);
}

Logger::~Logger() = default;

void Logger::configure(const LogOptions& options) {
  state_->level = options.level;
  state_->format = options.format;
}

void Logger::write(LogLevel level, std::string_view event, LogFields fields) {
  if (level < state_->level) return;
  ++state_->counts[static_cast<std::size_t>(level)];
  const std::chrono::system_clock::time_point now = state_->clock();
  LogLimiter::Verdict verdict;
  {
    const std::lock_guard lock(state_->mutex);
    verdict = state_->limiter.admit(event, now);
  }
  if (!verdict.pass) return;
  const LogLine line{now, level, event, fields, verdict.suppressed, verdict.last_of_burst};
  state_->sink(state_->format == LogFormat::kJson ? format_log_json(line) : format_log_text(line));
}

std::array<std::uint64_t, 4> Logger::counts() const {
  std::array<std::uint64_t, 4> counts{};
  for (std::size_t i = 0; i < counts.size(); ++i) counts[i] = state_->counts[i];
  return counts;
}

namespace {

/// A sink on standard error. spdlog serialises lines and keeps its exceptions to itself.
Logger::Sink stderr_sink() {
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  auto logger = std::make_shared<spdlog::logger>("", std::move(sink));
  logger->set_formatter(std::make_unique<spdlog::pattern_formatter>("%v"));
  logger->set_level(spdlog::level::trace);
  logger->flush_on(spdlog::level::trace);
  return [logger](std::string_view line) {
    logger->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
  };
}

/// Never destroyed, so that destructors of other globals may still log.
Logger& process_logger() {
  static Logger& logger = *new Logger(
      LogOptions{}, [] { return std::chrono::system_clock::now(); }, stderr_sink());
  return logger;
}

}  // namespace

void log_configure(const LogOptions& options) { process_logger().configure(options); }

void log_debug(std::string_view event, LogFields fields) {
  process_logger().write(LogLevel::kDebug, event, fields);
}
void log_info(std::string_view event, LogFields fields) {
  process_logger().write(LogLevel::kInfo, event, fields);
}
void log_warning(std::string_view event, LogFields fields) {
  process_logger().write(LogLevel::kWarning, event, fields);
}
void log_error(std::string_view event, LogFields fields) {
  process_logger().write(LogLevel::kError, event, fields);
}

std::array<std::uint64_t, 4> log_counts() { return process_logger().counts(); }

}  // namespace pa
