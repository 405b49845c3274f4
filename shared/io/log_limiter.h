#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace pa {

/// Lets at most `burst` events of a name pass in a second, which begins with the first of them.
class LogLimiter {
 public:
  using Time = std::chrono::system_clock::time_point;

  struct Verdict {
    bool pass = false;
    bool last_of_burst = false;    ///< Passes, and no other will in this second.
    std::uint64_t suppressed = 0;  ///< Passes, and so many did not since the last that did.
  };

  explicit LogLimiter(std::uint64_t burst) : burst_(burst) {}

  /// `now` may run backwards, as wall clocks do; a new second begins then.
  [[nodiscard]] Verdict admit(std::string_view event, Time now);

 private:
  struct Window {
    Time start{};
    std::uint64_t passed = 0;
    std::uint64_t suppressed = 0;
  };

  std::uint64_t burst_;
  std::map<std::string, Window, std::less<>> windows_;
};

}  // namespace pa
