#include "shared/io/failpoint.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <thread>

#include "shared/core/result.h"
#include "shared/io/mutex.h"

namespace pa::detail {
namespace {

struct Point {
  std::string action;
  long from = 1;
  long hits = 0;
};

class Points {
 public:
  explicit Points(std::string_view text) {
    while (!text.empty()) {
      const std::string_view one = text.substr(0, text.find(','));
      text.remove_prefix(std::min(text.size(), one.size() + 1));
      const std::size_t equals = one.find('=');
      if (equals == std::string_view::npos) broken(__FILE__, __LINE__, "PA_FAILPOINTS: no '='");
      std::string_view action = one.substr(equals + 1);
      Point point;
      if (const std::size_t at = action.find('@'); at != std::string_view::npos) {
        point.from = std::strtol(std::string(action.substr(at + 1)).c_str(), nullptr, 10);
        action = action.substr(0, at);
      }
      point.action = action;
      points_.emplace(one.substr(0, equals), point);
    }
  }

  int hit(std::string_view name) {
    std::string action;
    {
      const MutexLock lock(mutex_);
      const auto found = points_.find(name);
      if (found == points_.end()) return 0;
      Point& point = found->second;
      ++point.hits;
      if (point.hits < point.from) return 0;
      const bool once = point.action != "enospc" && point.action != "eio";
      if (once && point.hits > point.from) return 0;
      action = point.action;
    }
    if (action == "enospc") return ENOSPC;
    if (action == "eio") return EIO;
    if (action == "flip") return EBADMSG;
    if (action == "sleep") {
      std::this_thread::sleep_for(std::chrono::milliseconds{100});
      return 0;
    }
    while (action == "hang") std::this_thread::sleep_for(std::chrono::hours{1});
    if (action == "kill") ::kill(::getpid(), SIGKILL);
    broken(__FILE__, __LINE__, "PA_FAILPOINTS: no action '" + action + "'");
  }

 private:
  Mutex mutex_;
  std::map<std::string, Point, std::less<>> points_ GUARDED_BY(mutex_);
};

const char* given() { return std::getenv("PA_FAILPOINTS"); }

}  // namespace

const bool kFailpointsOn = given() != nullptr;

int hit_failpoint(const char* name) {
  static Points points(given());
  return points.hit(name);
}

}  // namespace pa::detail
