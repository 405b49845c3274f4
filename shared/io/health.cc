#include "shared/io/health.h"

#include <array>
#include <cstdio>

namespace pa {
namespace {

HttpResponse answer(const std::string& why_not) {
  if (why_not.empty()) return {.body = "ok\n"};
  return {.status = 503, .body = why_not + "\n"};
}

}  // namespace

Health::Health(Clock clock, Duration max_silence)
    : clock_(std::move(clock)), max_silence_(max_silence) {
  turned();
}

void Health::turned() {
  last_turn_.store(clock_().time_since_epoch().count(), std::memory_order_relaxed);
}

void Health::set_ready() { set_not_ready({}); }

void Health::set_not_ready(std::string why) {
  const std::lock_guard lock(mutex_);
  not_ready_ = std::move(why);
}

std::string Health::silence() const {
  const TimePoint last{Duration{last_turn_.load(std::memory_order_relaxed)}};
  const Duration age = clock_() - last;
  if (age <= max_silence_) return {};
  std::array<char, 80> text{};
  std::snprintf(text.data(), text.size(), "the loop has not turned for %.1f seconds",
                to_seconds(age));
  return text.data();
}

HttpResponse Health::healthz() const { return answer(silence()); }

HttpResponse Health::readyz() const {
  std::string why_not = silence();
  if (why_not.empty()) {
    const std::lock_guard lock(mutex_);
    why_not = not_ready_;
  }
  return answer(why_not);
}

}  // namespace pa
