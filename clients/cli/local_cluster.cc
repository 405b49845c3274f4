#include "clients/cli/local_cluster.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "clients/cli/free_port.h"
#include "shared/io/allow_list.h"
#include "shared/io/clock.h"
#include "shared/io/cores.h"
#include "shared/io/curve_keys.h"
#include "shared/io/endpoints.h"

namespace pa::cli {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kFirstBackoff = milliseconds{500};
constexpr Duration kLastBackoff = seconds{30};
constexpr Duration kSoon = seconds{10};  ///< An end within this of the start counts as failing.
constexpr int kMostFailures = 5;
constexpr int kWrongConfiguration = 2;  ///< What the daemons exit with.
constexpr Duration kStopPoll = milliseconds{10};
constexpr Duration kCoordinatorStop = seconds{5};

/// The folder this program is in, and the daemons beside it.
fs::path own_folder() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path();
}

/// A YAML scalar: JSON's strings are YAML's.
std::string yaml(const std::string& text) {
  std::string quoted("\"");
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

Status write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc);
  file << text;
  file.close();
  if (!file) return internal(path + ": cannot be written: " + std::strerror(errno));
  return {};
}

std::string metrics_url(int port) {
  return "http://127.0.0.1:" + std::to_string(port) + "/metrics";
}

/// The last lines of a log, for a reader who should not have to open it.
std::string tail(const std::string& path, std::size_t lines) {
  std::ifstream file(path);
  std::vector<std::string> last;
  for (std::string line; std::getline(file, line);) {
    last.push_back("    " + line);
    if (last.size() > lines) last.erase(last.begin());
  }
  std::string text;
  for (const std::string& line : last) text += "\n" + line;
  return text;
}

}  // namespace

/// One of the processes.
struct LocalCluster::Member {
  std::string what;  ///< "coordinator", "worker a".
  ClusterFile::Process* entry = nullptr;
  ChildProcess::Options options;
  std::optional<ChildProcess> child;
  TimePoint started{};
  std::optional<TimePoint> restart_at;
  int failures = 0;
  bool given_up = false;
};

std::string bundled_models() {
  const fs::path bin = own_folder();
  std::error_code error;
  for (const fs::path& candidate :
       {bin / "../share/parallelanything/models", bin / "../../../config/models"}) {
    if (fs::is_directory(candidate, error)) return fs::weakly_canonical(candidate, error).string();
  }
  return {};
}

LocalCluster::LocalCluster(LocalClusterOptions options, Report report)
    : options_(std::move(options)), report_(std::move(report)) {}

LocalCluster::~LocalCluster() {
  members_.clear();
  if (lock_) remove_cluster_file(options_.state);
  std::error_code error;
  if (own_run_dir_) fs::remove_all(run_dir_, error);
}

Result<std::unique_ptr<LocalCluster>> LocalCluster::start(LocalClusterOptions options,
                                                          Report report) {
  std::unique_ptr<LocalCluster> cluster(new LocalCluster(std::move(options), std::move(report)));
  PA_TRY(cluster->prepare());
  PA_TRY(cluster->write_configurations());
  const TimePoint now = steady_now();
  for (const auto& member : cluster->members_) PA_TRY(cluster->launch(*member, now));
  PA_TRY(cluster->save());
  return cluster;
}

Status LocalCluster::prepare() {
  PA_ASSIGN(RunDirectory lock, RunDirectory::take(options_.state));
  lock_ = std::move(lock);
  remove_cluster_file(options_.state);
  run_dir_ = options_.state + "/run";
  if (!check_endpoint(ipc_endpoints(run_dir_).control).ok()) {  // Too long for a socket's address.
    std::string pattern = "/tmp/parallelanything-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) {
      return internal(pattern + ": cannot be made: " + std::strerror(errno));
    }
    run_dir_ = pattern;
    own_run_dir_ = true;
  }
  const Endpoints endpoints = ipc_endpoints(run_dir_);
  file_.client = endpoints.client;
  file_.control = endpoints.control;
  file_.data = endpoints.data;
  file_.pid = ::getpid();
  return {};
}

Status LocalCluster::write_configurations() {
  PA_ASSIGN(const std::vector<int> ports, free_ports(options_.workers.size() + 1));
  const std::string bin = options_.programs.empty() ? own_folder().string() : options_.programs;
  const auto add = [&](const std::string& what, const std::string& program, const std::string& base,
                       ClusterFile::Process& entry) {
    auto member = std::make_unique<Member>();
    member->what = what;
    member->entry = &entry;
    member->options.arguments = {bin + "/" + program, "--config", base + ".yaml"};
    member->options.log_file = base + ".log";
    entry.log = member->options.log_file;
    members_.push_back(std::move(member));
  };

  const std::string coordinator = options_.state + "/coordinator";
  std::string settings =
      "run_dir: " + yaml(run_dir_) +
      "\nshare_memory: " + (options_.share_memory ? "true" : "false") +
      "\njournal:\n  folder: " + yaml(options_.journal ? options_.state + "/journal" : "") +
      "\nhttp:\n  port: " + std::to_string(ports[0]) + "\n";
  if (!options_.tcp.empty()) {
    PA_TRY(make_keys());
    settings += "tcp:\n  address: " + yaml(options_.tcp) + "\n  keys: " + yaml(keys_dir()) + "\n";
  }
  PA_TRY(write_text(coordinator + ".yaml", settings));
  file_.coordinator.metrics = metrics_url(ports[0]);
  add("coordinator", "pa-coordinator", coordinator, file_.coordinator);

  const auto on_cpu =
      std::count_if(options_.workers.begin(), options_.workers.end(),
                    [](const WorkerSpec& worker) { return worker.device == "cpu"; });
  const std::int64_t threads =
      options_.threads > 0
          ? options_.threads
          : std::max<std::int64_t>(usable_cores() / std::max<std::int64_t>(on_cpu, 1), 1);
  file_.workers.resize(options_.workers.size());
  for (std::size_t i = 0; i < options_.workers.size(); ++i) {
    const WorkerSpec& worker = options_.workers[i];
    const std::string base = options_.state + "/worker-" + worker.name;
    const std::string connect =
        options_.workers_over_tcp
            ? "address: " + yaml(options_.tcp) + "\n  keys: " + yaml(keys_dir() + "/worker.secret")
            : "run_dir: " + yaml(run_dir_);
    std::string text = "name: " + yaml(worker.name) + "\ndevice: " + yaml(worker.device) +
                       "\nweight: " + std::to_string(worker.weight) +
                       "\nmodels: " + yaml(options_.models_dir) + "\nconnect:\n  " + connect +
                       "\nhttp:\n  port: " + std::to_string(ports[i + 1]) + "\n";
    if (worker.device == "cpu") text += "threads: " + std::to_string(threads) + "\n";
    if (!worker.sim.empty()) text += "sim: " + yaml(worker.sim) + "\n";
    if (options_.max_rows > 0 || options_.credit_samples > 0) text += "limits:\n";
    if (options_.max_rows > 0) text += "  max_rows: " + std::to_string(options_.max_rows) + "\n";
    if (options_.credit_samples > 0)
      text += "  credit_samples: " + std::to_string(options_.credit_samples) + "\n";
    PA_TRY(write_text(base + ".yaml", text));
    file_.workers[i].name = worker.name;
    file_.workers[i].device = worker.device;
    file_.workers[i].metrics = metrics_url(ports[i + 1]);
    add("worker " + worker.name, "pa-worker", base, file_.workers[i]);
    // Threads of workers that share cores must sleep while they wait for one another.
    members_.back()->options.environment = {{"OMP_WAIT_POLICY", "PASSIVE"}};
  }
  return {};
}

std::string LocalCluster::keys_dir() const { return options_.state + "/keys"; }

Status LocalCluster::make_keys() const {
  const std::string list = keys_dir() + "/allow.yaml";
  const auto make = [&](const std::string& name, std::optional<Identity> identity) -> Status {
    if (fs::exists(keys_dir() + "/" + name + ".secret")) return {};
    PA_ASSIGN(const CurveKeys keys, create_curve_keys(keys_dir(), name));
    return identity ? append_allowed(list, *identity, keys.public_key) : Status{};
  };
  PA_TRY(make(kCoordinatorKeys, std::nullopt));
  PA_TRY(make("worker", Identity{Role::kWorker, "*"}));
  return make("client", Identity{Role::kClient, "client"});
}

Status LocalCluster::launch(Member& member, TimePoint now) {
  PA_ASSIGN(ChildProcess child, ChildProcess::start(member.options));
  member.child.emplace(std::move(child));
  member.started = now;
  member.restart_at.reset();
  member.entry->pid = member.child->pid();
  report_(member.what + ": started, process " + std::to_string(member.child->pid()));
  return {};
}

void LocalCluster::ended(Member& member, const Exit& exit, TimePoint now) {
  member.child.reset();
  member.entry->pid = 0;
  member.failures = now - member.started < kSoon ? member.failures + 1 : 1;
  const bool hopeless = !exit.signalled && exit.code == kWrongConfiguration;
  member.given_up = hopeless || member.failures >= kMostFailures;
  std::string line = member.what + ": " + to_string(exit);
  if (member.given_up) {
    line += "; given up. Its log, " + member.options.log_file +
            ", ends:" + tail(member.options.log_file, 8);
  } else {
    const Duration backoff = std::min(kFirstBackoff * (1 << (member.failures - 1)), kLastBackoff);
    member.restart_at = now + backoff;
    line += "; starting it again (log: " + member.options.log_file + ")";
  }
  report_(line);
}

Status LocalCluster::tend(TimePoint now) {
  bool changed = false;
  for (const auto& member : members_) {
    if (member->child) {
      if (const auto exit = member->child->poll()) {
        ended(*member, *exit, now);
        changed = true;
      }
    } else if (member->restart_at && now >= *member->restart_at) {
      PA_TRY(launch(*member, now));
      changed = true;
    }
  }
  if (changed) PA_TRY(save());
  if (members_.front()->given_up) return internal("the coordinator does not stay up");
  const bool workers_left = std::any_of(members_.begin() + 1, members_.end(),
                                        [](const auto& member) { return !member->given_up; });
  if (!workers_left) return internal("no worker stays up");
  return {};
}

Status LocalCluster::save() { return write_cluster_file(options_.state, file_); }

void LocalCluster::stop(Duration limit, const std::function<bool()>& hurry) {
  const auto stop_some = [&](auto begin, auto end, Duration most) {
    const TimePoint until = steady_now() + most;
    for (auto member = begin; member != end; ++member) {
      if ((*member)->child) (*member)->child->signal(SIGTERM);
    }
    for (;;) {
      bool left = false;
      for (auto member = begin; member != end; ++member) {
        if ((*member)->child && !(*member)->child->poll()) left = true;
      }
      if (!left) return;
      if (steady_now() >= until || (hurry && hurry())) break;
      std::this_thread::sleep_for(kStopPoll);
    }
    for (auto member = begin; member != end; ++member) {
      if (!(*member)->child || (*member)->child->poll()) continue;
      report_((*member)->what + ": did not stop; killed");
      (*member)->child.reset();
    }
  };
  stop_some(members_.begin() + 1, members_.end(), limit);
  stop_some(members_.begin(), members_.begin() + 1, kCoordinatorStop);
}

}  // namespace pa::cli
