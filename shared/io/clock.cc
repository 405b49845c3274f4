#include "shared/io/clock.h"

namespace pa {

TimePoint steady_now() { return TimePoint(std::chrono::steady_clock::now().time_since_epoch()); }

}  // namespace pa
