#include "shared/io/signals.h"

#include <pthread.h>
#include <sys/signalfd.h>

#include <csignal>

#include "shared/core/result.h"

namespace pa {
namespace {

sigset_t taken() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  return set;
}

}  // namespace

Signals::Signals() {
  const sigset_t set = taken();
  PA_CHECK(::pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  PA_CHECK(std::signal(SIGPIPE, SIG_IGN) != SIG_ERR);
  fd_ = Descriptor(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  PA_CHECK(fd_.get() >= 0);
}

std::optional<int> Signals::take() {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof(info)) != sizeof(info)) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

void unblock_signals() {
  const sigset_t set = taken();
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_DFL);
}

}  // namespace pa
