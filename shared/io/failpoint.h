#pragma once

/// Places where tests make a process fail. Compiled in, and off unless the environment variable
/// PA_FAILPOINTS names some when the process starts: "journal.commit=kill@3,journal.sync=enospc".
///
/// After the name: `kill` (SIGKILL to oneself), `enospc` or `eio` (the operation fails so), `sleep`
/// (100 ms), `hang` (for ever), or `flip` (bytes come damaged, once). `@N`: errors from the Nth time on, the others at that time only.
namespace pa {

namespace detail {
extern const bool kFailpointsOn;
[[nodiscard]] int hit_failpoint(const char* name);
}  // namespace detail

/// 0, or the errno that this place is to fail with. Any thread.
[[nodiscard]] inline int failpoint(const char* name) {
  return detail::kFailpointsOn ? detail::hit_failpoint(name) : 0;
}

}  // namespace pa
