// pa doctor: what is wrong with this box, or with the way to its cluster.

#include <sys/resource.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "clients/cli/cluster_file.h"
#include "clients/cli/commands.h"
#include "clients/cli/exit_code.h"
#include "clients/cli/formatted.h"
#include "shared/core/version.h"
#include "shared/io/clock.h"
#include "shared/io/cores.h"
#include "shared/io/curve_keys.h"
#include "shared/io/endpoints.h"
#include "shared/io/run_directory.h"
#include "shared/io/segment.h"
#include "shared/io/segment_socket.h"

namespace pa::cli {
namespace {

namespace fs = std::filesystem;

constexpr Duration kAnswerLimit = std::chrono::seconds{3};
constexpr std::uint64_t kFewDescriptors = 1024;
constexpr std::uint64_t kLittleMemory = std::uint64_t{1} << 30;
constexpr std::string_view kIpc = "ipc://";

enum class Verdict : std::uint8_t { kGood, kWarning, kProblem };

constexpr const char* kVerdicts[] = {"good", "warning", "problem"};

struct Finding {
  Verdict verdict;
  std::string what;
  std::string text;
};

class Doctor {
 public:
  void good(std::string what, std::string text) { add(Verdict::kGood, what, text); }
  void warn(std::string what, std::string text) { add(Verdict::kWarning, what, text); }
  void problem(std::string what, std::string text) { add(Verdict::kProblem, what, text); }

  [[nodiscard]] const std::vector<Finding>& findings() const { return findings_; }

 private:
  void add(Verdict verdict, std::string& what, std::string& text) {
    findings_.push_back({verdict, std::move(what), std::move(text)});
  }

  std::vector<Finding> findings_;
};

std::string gibibytes(std::uint64_t bytes) {
  return formatted("%.1f GiB", static_cast<double>(bytes) / (1 << 30));
}

/// The number behind `key` in a file of lines "key   123 kB", in bytes; 0 if it is not there.
std::uint64_t kilobytes_of(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    std::uint64_t kilobytes = 0;
    if (word == key && file >> kilobytes) return kilobytes << 10;
  }
  return 0;
}

void examine_box(Doctor& doctor) {
  doctor.good("programs", "version " + std::string(version()));
  doctor.good("cores", std::to_string(usable_cores()) + " may be used");

  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  const std::string limit =
      std::to_string(files.rlim_cur) + " open files, at most " + std::to_string(files.rlim_max);
  if (files.rlim_cur <= kFewDescriptors) {
    doctor.warn("limits", limit + ": a coordinator needs 4 a worker and 2 a request (ulimit -n)");
  } else {
    doctor.good("limits", limit);
  }

  const std::uint64_t available = kilobytes_of("/proc/meminfo", "MemAvailable:");
  const std::string memory = gibibytes(available) + " available";
  available < kLittleMemory ? doctor.warn("memory", memory) : doctor.good("memory", memory);

  timex clock{};
  const bool synchronised = ::adjtimex(&clock) >= 0 && (clock.status & STA_UNSYNC) == 0;
  if (synchronised) {
    doctor.good("clock", "synchronised");
  } else {
    doctor.warn("clock",
                "not synchronised: times in logs and metrics of several boxes will not "
                "agree (nothing else depends on it)");
  }

  std::size_t gpus = 0;
  std::error_code error;
  while (fs::exists("/dev/nvidia" + std::to_string(gpus), error)) ++gpus;
  doctor.good("devices", gpus == 0 ? "the CPU; no NVIDIA GPU is to be seen"
                                   : "the CPU and " + std::to_string(gpus) + " NVIDIA GPU(s)");
}

/// Whether memory can be shared at all: the same steps as for a request.
bool examine_memory(Doctor& doctor) {
  const auto shared = [&]() -> Status {
    PA_ASSIGN(const Segment segment, Segment::create(std::uint64_t{1} << 20));
    const std::byte byte{1};
    PA_TRY(segment.write(0, std::span(&byte, 1)));
    PA_ASSIGN(const Segment reader, segment.read_only());
    PA_ASSIGN(const Segment adopted, Segment::adopt(Descriptor(::dup(reader.descriptor()))));
    PA_TRY(adopted.map());
    return segment.freeze();
  }();
  if (shared.ok()) return true;
  doctor.warn("shared memory", "not possible here (" + shared.error().message +
                                   "): bytes go through sockets, which is slower");
  return false;
}

void examine_run_directory(Doctor& doctor, const std::string& endpoint) {
  const std::string folder = fs::path(endpoint.substr(kIpc.size())).parent_path().string();
  if (const Status good = check_run_directory(folder); !good.ok()) {
    return doctor.problem("run directory", good.error().message);
  }
  doctor.good("run directory", folder + ", this user's alone");
  if (!examine_memory(doctor)) return;
  const auto connected = SegmentClient::connect(share_path(folder));
  if (connected.ok()) {
    doctor.good("shared memory", "inputs and results go through " + share_path(folder));
  } else {
    doctor.warn("shared memory", "the coordinator shares none (" + connected.error().message +
                                     "; its share_memory may be off): bytes go through sockets");
  }
}

void examine_keys(Doctor& doctor, const std::string& keys) {
  const Result<PeerKeys> read = read_peer_keys(keys);
  if (read.ok()) {
    doctor.good("keys", "public key " + read->own.public_key);
  } else {
    doctor.problem("keys", read.error().message);
  }
}

void examine_cluster(Doctor& doctor, const Where& where) {
  const Result<std::string> endpoint = find_endpoint(where);
  if (!endpoint.ok()) return doctor.problem("cluster", endpoint.error().message);
  if (is_tcp(*endpoint)) {
    examine_keys(doctor, where.keys);
  } else if (const Status good = check_endpoint(*endpoint); !good.ok()) {
    return doctor.problem("cluster", *endpoint + ": " + good.error().message);
  } else {
    examine_run_directory(doctor, *endpoint);
  }
  const auto client = connect_to(where, {});
  if (!client.ok()) return doctor.problem("coordinator", client.error().message);
  (void)(*client)->status(kAnswerLimit);  // The first answer pays for the connection.
  const TimePoint asked = steady_now();
  const Result<ClusterStatus> status = (*client)->status(kAnswerLimit);
  if (!status.ok()) return doctor.problem("coordinator", status.error().message);
  const std::string round_trip = formatted("%.2f ms", to_seconds(steady_now() - asked) * 1e3);
  doctor.good("coordinator",
              "version " + status->version + " answers at " + *endpoint + " in " + round_trip);
  if (status->version != version()) {
    doctor.warn("programs", "the coordinator's version is another: " + status->version);
  }
  std::size_t live = 0;
  for (const WorkerStatus& worker : status->workers) {
    live += worker.state == "live" ? 1 : 0;
    if (worker.state == "lost" || worker.state == "suspect") {
      doctor.warn("worker " + worker.name, worker.state);
    }
  }
  const std::string workers =
      std::to_string(live) + " of " + std::to_string(status->workers.size()) + " workers live";
  live > 0 ? doctor.good("workers", workers) : doctor.problem("workers", workers);
}

}  // namespace

int run(const DoctorCommand& command) {
  Doctor doctor;
  examine_box(doctor);
  examine_cluster(doctor, command.where);
  bool sound = true;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Finding& finding : doctor.findings()) {
    const char* const verdict = kVerdicts[static_cast<std::size_t>(finding.verdict)];
    sound = sound && finding.verdict != Verdict::kProblem;
    if (command.json) {
      list.push_back({{"verdict", verdict}, {"what", finding.what}, {"text", finding.text}});
    } else {
      std::printf("%-8s %s: %s\n", verdict, finding.what.c_str(), finding.text.c_str());
    }
  }
  if (command.json) {
    std::printf("%s\n",
                list.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  }
  return sound ? kDone : kUnavailable;
}

}  // namespace pa::cli
