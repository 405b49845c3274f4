#pragma once

#include <cstdint>

namespace pa {

/// CPU cores this process may use, at least 1: what its affinity mask and its control group's quota
/// (rounded up) allow, whichever is less. In a container std::thread::hardware_concurrency() counts
/// the whole machine's.
[[nodiscard]] std::int64_t usable_cores();

}  // namespace pa
