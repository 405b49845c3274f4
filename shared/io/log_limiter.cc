#include "shared/io/log_limiter.h"

namespace pa {
namespace {

// Names are literals, so there are few; this only bounds what a mistake could cost.
constexpr std::size_t kMaxNames = 1024;

}  // namespace

LogLimiter::Verdict LogLimiter::admit(std::string_view event, Time now) {
  auto found = windows_.find(event);
  if (found == windows_.end()) {
    if (windows_.size() >= kMaxNames) windows_.clear();
    found = windows_.emplace(std::string(event), Window{.start = now}).first;
  }
  Window& window = found->second;
  if (now - window.start >= std::chrono::seconds{1} || now < window.start) {
    window.start = now;
    window.passed = 0;
  }
  if (window.passed == burst_) {
    ++window.suppressed;
    return {};
  }
  ++window.passed;
  const Verdict verdict{true, window.passed == burst_, window.suppressed};
  window.suppressed = 0;
  return verdict;
}

}  // namespace pa
