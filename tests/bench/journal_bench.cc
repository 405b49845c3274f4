// What the journal costs: requests of 21 small samples from eight clients at once, with it on a disk and without, side by
// side; and what the coordinator's processor time is for each.
//
//   build/release/bench/journal_bench [SECONDS [WORKERS [ROUNDS]]]
//
// `forward` requests are never journalled: they show what else is in the way.

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "clients/cli/local_cluster.h"
#include "clients/cpp/client.h"
#include "shared/io/clock.h"
#include "shared/io/request_json.h"
#include "tests/support/temporary_folder.h"

namespace pa {
namespace {

constexpr int kClients = 8;
constexpr std::int64_t kSamples = 21;
constexpr std::int64_t kSide = 16;  // A sample of 1 KiB.

struct Mode {
  const char* name;
  Operation op;
  bool on_disk;
  std::vector<double> seconds = {};  ///< Of each request.
  double rate = 0;                   ///< Requests a second, the median round's.
  std::vector<double> rates = {};
  double coordinator_seconds = 0;  ///< Of a processor, in all rounds.
};

double quantile(std::vector<double>& values, double part) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1,
                         static_cast<std::size_t>(part * static_cast<double>(values.size())))];
}

/// Of a process so far, in all its threads.
double processor_seconds(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string field;
  double ticks = 0;
  for (int i = 3; i <= 15 && fields >> field; ++i) {
    if (i == 14 || i == 15) ticks += std::stod(field);
  }
  return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

void require(const Status& status) {
  if (!status.ok()) broken(__FILE__, __LINE__, status.error().message);
}

Submission submission(Operation op, const Buffer& x) {
  Request request;
  request.op = op;
  request.model = "noop";
  request.samples = kSamples;
  Submission made;
  made.id = make_request_id();
  if (op == Operation::kForward) {
    made.tensors = {{TensorSpec{"x", DType::kF32, {kSamples, 1, kSide, kSide}}, x}};
  } else {
    request.latent_shape = {1, kSide, kSide};
    request.noise = NoiseKind::kKeyed;
    request.schedule = ScheduleSpec{"simple", 1, 1.0};
  }
  made.body = to_json(request);
  return made;
}

/// Requests one after the other until `end`; how long each took.
std::vector<double> load(const std::string& endpoint, Operation op, TimePoint end) {
  auto client = Client::connect(endpoint, {});
  if (!client.ok()) broken(__FILE__, __LINE__, client.error().message);
  const std::uint64_t bytes = kSamples * kSide * kSide * sizeof(float);
  const Buffer x(
      std::shared_ptr<std::byte>(new std::byte[bytes](), std::default_delete<std::byte[]>()),
      bytes);
  std::vector<double> seconds;
  while (steady_now() < end) {
    const TimePoint start = steady_now();
    Submission one = submission(op, x);
    const RequestId id = one.id;
    Buffer result;
    JobCallbacks callbacks;
    callbacks.on_accepted = [&](const Accepted&) -> Result<Buffer> {
      result = Buffer(
          std::shared_ptr<std::byte>(new std::byte[bytes], std::default_delete<std::byte[]>()),
          bytes);
      return result;
    };
    callbacks.on_shared_result = [&](const Accepted&, Buffer shared) {
      result = std::move(shared);
    };
    const auto outcome = (*client)->run(std::move(one), std::move(callbacks));
    if (!outcome.ok()) broken(__FILE__, __LINE__, outcome.error().message);
    (*client)->acknowledge(id);
    seconds.push_back(to_seconds(steady_now() - start));
  }
  return seconds;
}

void measure(Mode& mode, double seconds, int workers) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directories(folder.path() + "/models/noop");
  std::ofstream(folder.path() + "/models/noop/model.yaml") << "family: noop\n";
  cli::LocalClusterOptions options;
  options.state = folder.path() + "/state";
  options.models_dir = folder.path() + "/models";
  options.journal = mode.on_disk;
  options.programs =
      std::filesystem::canonical("/proc/self/exe").parent_path().parent_path() / "bin";
  for (int i = 0; i < workers; ++i) {
    cli::WorkerSpec worker;
    worker.name = "w" + std::to_string(i);
    options.workers.push_back(worker);
  }
  auto cluster = cli::LocalCluster::start(options, [](std::string_view) {});
  if (!cluster.ok()) broken(__FILE__, __LINE__, cluster.error().message);
  const std::string endpoint = (*cluster)->file().client;
  {
    auto client = Client::connect(endpoint, {});
    while (true) {
      require((*cluster)->tend(steady_now()));
      const auto status = (*client)->status(std::chrono::milliseconds{500});
      if (status.ok() &&
          std::count_if(status->workers.begin(), status->workers.end(),
                        [](const auto& row) { return row.state == "live"; }) == workers)
        break;
      std::this_thread::sleep_for(std::chrono::milliseconds{50});
    }
  }
  (void)load(endpoint, mode.op, steady_now() + std::chrono::seconds{1});
  const std::int64_t coordinator = (*cluster)->file().coordinator.pid;
  const double before = processor_seconds(coordinator);
  const TimePoint start = steady_now();
  const TimePoint end = start + from_seconds(seconds);
  std::vector<std::vector<double>> all(kClients);
  std::vector<std::thread> threads;
  for (int i = 0; i < kClients; ++i) {
    threads.emplace_back(
        [&, i] { all[static_cast<std::size_t>(i)] = load(endpoint, mode.op, end); });
  }
  for (std::thread& thread : threads) thread.join();
  std::size_t requests = 0;
  for (const auto& one : all) {
    requests += one.size();
    mode.seconds.insert(mode.seconds.end(), one.begin(), one.end());
  }
  mode.coordinator_seconds += processor_seconds(coordinator) - before;
  mode.rates.push_back(static_cast<double>(requests) / to_seconds(steady_now() - start));
  (*cluster)->stop(std::chrono::seconds{2}, {});
}

int run(double seconds, int workers, int rounds) {
  std::vector<Mode> modes{{"forward, never journalled", Operation::kForward, false},
                          {"sample, journal in memory", Operation::kSample, false},
                          {"sample, journal on disk", Operation::kSample, true}};
  for (int round = 0; round < rounds; ++round) {
    for (Mode& mode : modes) measure(mode, seconds, workers);
  }
  std::printf("%-28s %12s %10s %10s %24s\n", "", "requests/s", "p50 ms", "p99 ms",
              "coordinator CPU ms each");
  for (Mode& mode : modes) {
    mode.rate = quantile(mode.rates, 0.5);
    std::printf("%-28s %12.1f %10.2f %10.2f %24.2f\n", mode.name, mode.rate,
                1e3 * quantile(mode.seconds, 0.5), 1e3 * quantile(mode.seconds, 0.99),
                1e3 * mode.coordinator_seconds / static_cast<double>(mode.seconds.size()));
  }
  std::printf("on disk / in memory: requests a second %.2f, p99 %.2f\n",
              modes[2].rate / modes[1].rate,
              quantile(modes[2].seconds, 0.99) / quantile(modes[1].seconds, 0.99));
  return 0;
}

}  // namespace
}  // namespace pa

int main(int argc, char** argv) {
  return pa::run(argc > 1 ? std::atof(argv[1]) : 5, argc > 2 ? std::atoi(argv[2]) : 2,
                 argc > 3 ? std::atoi(argv[3]) : 3);
}
