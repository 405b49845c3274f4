#include "shared/io/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>

#include "shared/core/version.h"
#include "shared/io/log.h"

namespace pa {
namespace {

/// Fields of /proc/self/stat, proc(5), in the units it has them.
struct ProcessStat {
  double cpu_ticks = 0;       // utime + stime, fields 14 and 15.
  double threads = 0;         // Field 20.
  double start_ticks = 0;     // Since boot; field 22.
  double virtual_bytes = 0;   // Field 23.
  double resident_pages = 0;  // Field 24.
};

std::optional<ProcessStat> read_stat() {
  std::ifstream stream("/proc/self/stat");
  std::string text;
  if (!std::getline(stream, text)) return std::nullopt;
  // Field 2 is the program's name in parentheses, which may hold blanks and parentheses.
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  ProcessStat stat;
  std::string field;
  for (int number = 3; number <= 24 && fields >> field; ++number) {
    const double value = std::strtod(field.c_str(), nullptr);
    if (number == 14 || number == 15) stat.cpu_ticks += value;
    if (number == 20) stat.threads = value;
    if (number == 22) stat.start_ticks = value;
    if (number == 23) stat.virtual_bytes = value;
    if (number == 24) stat.resident_pages = value;
  }
  if (!fields) return std::nullopt;
  return stat;
}

double ticks_per_second() { return static_cast<double>(::sysconf(_SC_CLK_TCK)); }

/// Seconds since 1970 at which this machine was started.
std::optional<double> boot_time() {
  std::ifstream stream("/proc/stat");
  for (std::string word; stream >> word;) {
    double seconds = 0;
    if (word == "btime" && stream >> seconds) return seconds;
  }
  return std::nullopt;
}

std::optional<double> open_files() {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc/self/fd"), ::closedir);
  if (!folder) return std::nullopt;
  double count = -3;  // ".", ".." and the folder itself.
  while (::readdir(folder.get()) != nullptr) ++count;
  return count;
}

std::optional<double> most_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::nullopt;
  return static_cast<double>(limit.rlim_cur);
}

/// The one value of a metric without labels, or none.
void add_value(Metrics& metrics, const std::string& name, MetricKind kind, const std::string& help,
               std::function<std::optional<double>()> read) {
  metrics.on_scrape(name, kind, help, {}, [read = std::move(read)] {
    const std::optional<double> value = read();
    return value ? std::vector<MetricSample>{{{}, *value}} : std::vector<MetricSample>{};
  });
}

/// Likewise, of /proc/self/stat.
void add_stat(Metrics& metrics, const std::string& name, MetricKind kind, const std::string& help,
              double (*pick)(const ProcessStat&)) {
  add_value(metrics, name, kind, help, [pick]() -> std::optional<double> {
    const std::optional<ProcessStat> stat = read_stat();
    return stat ? std::optional<double>(pick(*stat)) : std::nullopt;
  });
}

}  // namespace

void add_process_metrics(Metrics& metrics) {
  add_stat(metrics, "process_cpu_seconds_total", MetricKind::kCounter, "CPU time spent.",
           [](const ProcessStat& stat) { return stat.cpu_ticks / ticks_per_second(); });
  add_stat(metrics, "process_resident_memory_bytes", MetricKind::kGauge, "Memory that is resident.",
           [](const ProcessStat& stat) {
             return stat.resident_pages * static_cast<double>(::sysconf(_SC_PAGESIZE));
           });
  add_stat(metrics, "process_virtual_memory_bytes", MetricKind::kGauge, "Address space in use.",
           [](const ProcessStat& stat) { return stat.virtual_bytes; });
  add_stat(metrics, "process_threads", MetricKind::kGauge, "Threads.",
           [](const ProcessStat& stat) { return stat.threads; });
  add_value(metrics, "process_start_time_seconds", MetricKind::kGauge,
            "When the process began, since 1970.", []() -> std::optional<double> {
              const std::optional<ProcessStat> stat = read_stat();
              const std::optional<double> boot = boot_time();
              if (!stat || !boot) return std::nullopt;
              return *boot + stat->start_ticks / ticks_per_second();
            });
  add_value(metrics, "process_open_fds", MetricKind::kGauge, "Open file descriptors.", open_files);
  add_value(metrics, "process_max_fds", MetricKind::kGauge, "File descriptors it may open.",
            most_files);

  metrics.on_scrape(
      "pa_log_messages_total", MetricKind::kCounter,
      "Log events, also those that rate limiting kept from being written.", {"level"}, [] {
        std::vector<MetricSample> samples;
        const auto counts = log_counts();
        for (std::size_t i = 0; i < counts.size(); ++i) {
          samples.push_back({{std::string(kLogLevelNames[i])}, static_cast<double>(counts[i])});
        }
        return samples;
      });
  metrics.gauges("pa_build_info", "1; which version of the program this is.", {"version"})
      .with({std::string(version())})
      .set(1);
}

}  // namespace pa
