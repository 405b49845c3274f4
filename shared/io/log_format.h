#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "shared/io/log.h"

namespace pa {

/// One event, as Logger writes it. `suppressed` events of this name were left out since the last
/// line; `last_of_burst`: more of them may be left out from now on.
struct LogLine {
  std::chrono::system_clock::time_point time;
  LogLevel level = LogLevel::kInfo;
  std::string_view event;
  LogFields fields;
  std::uint64_t suppressed = 0;
  bool last_of_burst = false;
};

/// Without an end of line, and with none inside; valid UTF-8.
[[nodiscard]] std::string format_log_text(const LogLine& line);
[[nodiscard]] std::string format_log_json(const LogLine& line);

}  // namespace pa
