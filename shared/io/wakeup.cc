#include "shared/io/wakeup.h"

#include <sys/eventfd.h>

#include <cstdint>

#include "shared/core/result.h"

namespace pa {

Wakeup::Wakeup() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { PA_CHECK(fd_.get() >= 0); }

void Wakeup::signal() {
  if (signalled_.exchange(true)) return;
  const std::uint64_t one = 1;
  PA_CHECK(::write(fd(), &one, sizeof(one)) == sizeof(one));
}

void Wakeup::drain() {
  if (!signalled_.load()) return;
  // Read before the flag falls: a signal in between finds it up, writes nothing, and its sender's
  // value is seen by the look at the queue that follows.
  std::uint64_t count = 0;
  if (::read(fd(), &count, sizeof(count)) == sizeof(count)) signalled_.store(false);
}

}  // namespace pa
