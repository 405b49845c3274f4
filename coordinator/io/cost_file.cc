#include "coordinator/io/cost_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "shared/io/log.h"

namespace pa {
namespace {

constexpr Duration kPause = std::chrono::seconds{30};

}  // namespace

std::string CostFile::load() const {
  if (path_.empty()) return {};
  const std::ifstream file(path_);
  if (!file) return {};
  std::ostringstream text;
  text << file.rdbuf();
  CostModel trial;
  if (const Status read = trial.load(text.str()); !read.ok()) {
    log_warning("costs.unreadable", {{"file", path_}, {"error", read.error().message}});
    return {};
  }
  return text.str();
}

void CostFile::keep(const CostModel& costs, TimePoint now) {
  if (path_.empty() || costs.version() == version_ || now < next_) return;
  next_ = now + kPause;
  flush(costs);
}

void CostFile::flush(const CostModel& costs) {
  if (path_.empty() || costs.version() == version_) return;
  version_ = costs.version();
  const std::string part = path_ + ".part";
  std::ofstream file(part, std::ios::trunc);
  file << costs.save();
  file.close();
  const bool written = file && std::rename(part.c_str(), path_.c_str()) == 0;
  if (!written && !failed_)
    log_warning("costs.not_kept", {{"file", path_}, {"error", std::strerror(errno)}});
  failed_ = !written;
}

}  // namespace pa
