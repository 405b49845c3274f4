// Workers of `pa up` as its command line describes them.

#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "clients/cli/command_line.h"
#include "shared/core/names.h"
#include "shared/core/units.h"

namespace pa::cli {
namespace {

Status set_key(WorkerSpec& worker, std::string_view key, const std::string& value) {
  if (key == "name") {
    PA_TRY(check_worker_name(value));
    worker.name = value;
  } else if (key == "device") {
    PA_TRY(check_device(value));
    worker.device = value;
  } else if (key == "weight") {
    const char* end = value.data() + value.size();
    const auto parsed = std::from_chars(value.data(), end, worker.weight);
    if (parsed.ec != std::errc{} || parsed.ptr != end || !(worker.weight >= 0) ||
        worker.weight > 1e9) {
      return invalid("expected a number from 0 to 1e9");
    }
  } else if (key == "sim") {
    const std::size_t plus = value.find('+');
    const std::string_view text(value);
    if (plus == std::string::npos || !parse_duration(text.substr(0, plus)) ||
        !parse_duration(text.substr(plus + 1))) {
      return invalid("expected FIXED+PER_ROW, as in 5ms+10ms");
    }
    worker.sim = value;
  } else {
    return invalid("expected one of name, device, weight and sim");
  }
  return {};
}

}  // namespace

Result<WorkerSpec> parse_worker(std::string_view text) {
  WorkerSpec worker;
  std::set<std::string_view> seen;
  std::string_view rest = text;
  for (bool more = true; more;) {
    const std::size_t comma = rest.find(',');
    const std::string_view entry = rest.substr(0, comma);
    more = comma != std::string_view::npos;
    if (more) rest.remove_prefix(comma + 1);
    const std::size_t equals = entry.find('=');
    const std::string_view key = entry.substr(0, equals);
    const std::string value(equals == std::string_view::npos ? "" : entry.substr(equals + 1));
    Status status =
        equals == std::string_view::npos
            ? invalid("expected KEY=VALUE, as in name=a,device=cpu,weight=40,sim=5ms+10ms")
            : set_key(worker, key, value);
    if (status.ok() && !seen.insert(key).second) status = invalid("given twice");
    if (!status.ok()) {
      return invalid("--worker: '" + std::string(entry) + "': " + status.error().message);
    }
  }
  return worker;
}

Status name_workers(std::vector<WorkerSpec>& workers) {
  std::map<std::string, int> unnamed;  // By device.
  for (const WorkerSpec& worker : workers) {
    if (worker.name.empty()) ++unnamed[worker.device];
  }
  std::map<std::string, int> given;
  std::set<std::string> names;
  for (WorkerSpec& worker : workers) {
    if (worker.name.empty()) {
      worker.name = worker.device;
      if (unnamed[worker.device] > 1) worker.name += "-" + std::to_string(++given[worker.device]);
    }
    if (!names.insert(worker.name).second) {
      return invalid("two workers are called '" + worker.name + "': give them names of their own");
    }
  }
  return {};
}

}  // namespace pa::cli
