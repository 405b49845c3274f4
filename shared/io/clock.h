#pragma once

#include "shared/core/time.h"

namespace pa {

/// The real time, from CLOCK_MONOTONIC: the one place where it enters. Any thread.
[[nodiscard]] TimePoint steady_now();

}  // namespace pa
