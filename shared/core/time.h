#pragma once

#include <chrono>
#include <cstdint>

namespace pa {

using Duration = std::chrono::nanoseconds;

/// The time line that cores live on. It has no now(): time arrives as an argument, real or simulated.
struct Timeline {
  using rep = Duration::rep;
  using period = Duration::period;
  using duration = Duration;
  using time_point = std::chrono::time_point<Timeline>;
  static constexpr bool is_steady = true;
};

/// Nanoseconds since an origin that is fixed while the process lives. Never runs backwards.
using TimePoint = Timeline::time_point;

[[nodiscard]] constexpr double to_seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

[[nodiscard]] constexpr Duration from_seconds(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

}  // namespace pa
