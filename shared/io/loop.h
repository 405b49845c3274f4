#pragma once

#include <poll.h>

#include <optional>
#include <vector>

#include "shared/core/time.h"
#include "shared/io/pollable.h"

namespace pa {

/// Where a process's one event thread sleeps: until something it watches may have work, or a time.
///
/// A turn: take what came (messages, signals, values of queues), step, send, and wait() again until
/// the next deadline. Take a bounded number a turn, so that deadlines are met; what is left ends the
/// next wait() at once.
///
/// Thread: one only.
class Loop {
 public:
  /// `pollable` must outlive the loop, or be taken out again.
  void watch(Pollable& pollable);
  void unwatch(Pollable& pollable);

  /// Sleeps until something watched may have work, or `until`; nullopt: for any time. Returns at
  /// once if there is work already. May return for no reason.
  void wait(std::optional<TimePoint> until);

  /// The real time.
  [[nodiscard]] TimePoint now() const;

 private:
  [[nodiscard]] bool any_ready() const;

  std::vector<Pollable*> watched_;
  std::vector<int> fds_;        // Scratch.
  std::vector<pollfd> polled_;  // Scratch.
};

}  // namespace pa
