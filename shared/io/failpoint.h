#pragma once

/// Places where tests make a process fail. Compiled in, and off unless the environment variable
/// PA_FAILPOINTS names some when the process starts: "journal.commit=kill@3,journal.sync=enospc".
///
/// After the name: `kill` (SIGKILL to oneself), `enospc` or `eio` (the operation fails so), or
/// `sleep` (100 ms). `@N`: kill and sleep at the Nth time only, errors from the Nth time on.
namespace pa {

namespace detail {
extern const bool failpoints_on;
[[nodiscard]] int hit_failpoint(const char* name);
}  // namespace detail

/// 0, or the errno that this place is to fail with. Any thread.
[[nodiscard]] inline int failpoint(const char* name) {
  return detail::failpoints_on ? detail::hit_failpoint(name) : 0;
}

}  // namespace pa
