#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "shared/core/time.h"
#include "shared/wire/messages.h"

namespace pa::cli {

/// One line about a request under way, at most `width` characters:
///
///    48% [#########----------] 10/21  a 6/11 182 it/s  b 4/10 166 it/s  2 s left
///
/// Of a device: samples done and assigned, and its sampler steps a second of being busy. `elapsed` is
/// the time since the first step was under way; the time left follows from the steps done by then.
[[nodiscard]] std::string progress_text(const RequestProgress& progress, Duration elapsed,
                                        std::size_t width);

/// "45 s", "3:20 min", "2:05 h".
[[nodiscard]] std::string time_left_text(double seconds);

/// Draws the line on standard error, over itself, if that is a terminal; at most ten times a second.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void show(const RequestProgress& progress);
  /// A line of its own, above the bar; also if standard error is no terminal.
  void notice(std::string_view text);
  /// Wipes the bar away.
  void clear();

 private:
  bool terminal_ = false;
  bool drawn_ = false;
  std::string waiting_for_;
  std::optional<TimePoint> began_;
  std::optional<TimePoint> last_drawn_;
};

}  // namespace pa::cli
