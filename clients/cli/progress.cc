#include "clients/cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "clients/cli/formatted.h"
#include "clients/cpp/result_report.h"
#include "shared/io/clock.h"

namespace pa::cli {
namespace {

constexpr std::size_t kBarWidth = 20;
constexpr std::size_t kUsualWidth = 100;
constexpr Duration kRedraw = std::chrono::milliseconds{100};

std::string bar(double part) {
  const auto filled = static_cast<std::size_t>(std::lround(part * static_cast<double>(kBarWidth)));
  return "[" + std::string(filled, '#') + std::string(kBarWidth - filled, '-') + "]";
}

std::string device_text(const DeviceProgress& device) {
  std::string text = "  " + device.worker + " " + std::to_string(device.done) + "/" +
                     std::to_string(device.assigned);
  if (device.seconds > 0 && device.steps > 0) {
    text += " " + rate_text(static_cast<double>(device.steps) / device.seconds) + " it/s";
  }
  return text;
}

std::size_t terminal_width() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1) return size.ws_col - 1u;
  return kUsualWidth;
}

}  // namespace

std::string time_left_text(double seconds) {
  const auto whole = static_cast<long>(std::ceil(std::clamp(seconds, 0.0, 1e8)));
  if (whole < 100) return formatted("%ld s", whole);
  if (whole < 6000) return formatted("%ld:%02ld min", whole / 60, whole % 60);
  return formatted("%ld:%02ld h", whole / 3600, whole % 3600 / 60);
}

std::string progress_text(const RequestProgress& progress, Duration elapsed, std::size_t width) {
  const double part = progress.steps_total > 0
                          ? std::clamp(static_cast<double>(progress.steps) /
                                           static_cast<double>(progress.steps_total),
                                       0.0, 1.0)
                          : 0.0;
  std::string text = formatted("%3d%% ", static_cast<int>(part * 100)) + bar(part) + " " +
                     std::to_string(progress.done) + "/" + std::to_string(progress.samples);
  if (!progress.waiting_for.empty()) {
    text += "  waiting: " + progress.waiting_for;
    return text.substr(0, width);
  }
  std::string left;
  if (part > 0 && part < 1 && elapsed > Duration::zero()) {
    left = "  " + time_left_text(to_seconds(elapsed) * (1 - part) / part) + " left";
  }
  for (const DeviceProgress& device : progress.devices) {
    const std::string more = device_text(device);
    if (text.size() + more.size() + left.size() > width) {
      if (text.size() + left.size() + 5 <= width) text += "  ...";
      break;
    }
    text += more;
  }
  return (text + left).substr(0, width);
}

ProgressBar::ProgressBar() : terminal_(::isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() { clear(); }

void ProgressBar::show(const RequestProgress& progress) {
  const TimePoint now = steady_now();
  if (!began_) began_ = now;
  if (!terminal_) {
    if (progress.waiting_for != waiting_for_ && !progress.waiting_for.empty()) {
      notice("waiting: " + progress.waiting_for);
    }
    waiting_for_ = progress.waiting_for;
    return;
  }
  if (last_drawn_ && now - *last_drawn_ < kRedraw) return;
  last_drawn_ = now;
  drawn_ = true;
  const std::string text = progress_text(progress, now - *began_, terminal_width());
  std::fprintf(stderr, "\r\x1b[K%s", text.c_str());
  std::fflush(stderr);
}

void ProgressBar::notice(std::string_view text) {
  clear();
  std::fprintf(stderr, "pa: %.*s\n", static_cast<int>(text.size()), text.data());
}

void ProgressBar::clear() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace pa::cli
