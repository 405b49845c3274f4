#include "shared/io/loop.h"

#include <algorithm>
#include <ctime>

#include "shared/io/clock.h"

namespace pa {

void Loop::watch(Pollable& pollable) { watched_.push_back(&pollable); }

void Loop::unwatch(Pollable& pollable) { std::erase(watched_, &pollable); }

TimePoint Loop::now() const { return steady_now(); }

bool Loop::any_ready() const {
  // All are asked: for some, asking is what makes their descriptors tell of the next change.
  bool ready = false;
  for (Pollable* pollable : watched_) ready = pollable->ready() || ready;
  return ready;
}

void Loop::wait(std::optional<TimePoint> until) {
  fds_.clear();
  for (const Pollable* pollable : watched_) pollable->descriptors(fds_);
  polled_.clear();
  for (const int fd : fds_) polled_.push_back({fd, POLLIN, 0});

  Duration left = Duration::max();
  if (any_ready()) {
    left = Duration::zero();
  } else if (until) {
    left = *until - std::min(now(), *until);
  }
  timespec timeout{};
  if (left != Duration::max()) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
    timeout.tv_sec = static_cast<std::time_t>(seconds.count());
    timeout.tv_nsec = static_cast<long>((left - seconds).count());
  }
  ::ppoll(polled_.data(), polled_.size(), left == Duration::max() ? nullptr : &timeout, nullptr);
  for (Pollable* pollable : watched_) pollable->woken();
}

}  // namespace pa
