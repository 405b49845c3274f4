#pragma once

#include <atomic>

#include "shared/io/descriptor.h"
#include "shared/io/pollable.h"

namespace pa {

/// Ends a Loop's sleep from another thread: push to a queue, then signal().
class Wakeup final : public Pollable {
 public:
  /// Aborts if the process is out of descriptors.
  Wakeup();

  /// Any thread. Signals that nobody has seen yet count as one.
  void signal();

  /// Readable while a signal has not been seen.
  [[nodiscard]] int fd() const { return fd_.get(); }

  /// Forgets the signals so far; look at the queues after it. The loop calls it by itself. Thread:
  /// loop only.
  void drain();

  void descriptors(std::vector<int>& out) const override { out.push_back(fd()); }
  bool ready() override { return false; }
  void woken() override { drain(); }

 private:
  Descriptor fd_;
  std::atomic<bool> signalled_ = false;
};

}  // namespace pa
