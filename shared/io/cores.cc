#include "shared/io/cores.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>
#include <thread>

namespace pa {
namespace {

constexpr std::int64_t kNoQuota = std::numeric_limits<std::int64_t>::max();

/// Cores in a "QUOTA PERIOD" of microseconds, as in cgroup v2's cpu.max; kNoQuota for "max".
std::int64_t quota_of(const std::string& file) {
  std::ifstream stream(file);
  std::int64_t quota = 0;
  std::int64_t period = 0;
  if (!(stream >> quota >> period) || quota <= 0 || period <= 0) return kNoQuota;
  return quota / period + (quota % period == 0 ? 0 : 1);
}

/// The control group of this process below the hierarchy's root: "/system.slice/x.service".
std::string control_group() {
  std::ifstream stream("/proc/self/cgroup");
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("0::")) return line.substr(3);
  }
  return "/";
}

}  // namespace

std::int64_t usable_cores() {
  std::int64_t cores = std::max(1u, std::thread::hardware_concurrency());
  std::string group = control_group();
  while (true) {
    cores = std::min(cores, quota_of("/sys/fs/cgroup" + group + "/cpu.max"));
    const std::size_t slash = group.rfind('/');
    if (slash == std::string::npos || group == "/") break;
    group.resize(slash == 0 ? 1 : slash);
  }
  return cores;
}

}  // namespace pa
