// pa bench --local: a cluster of two workers, batch after batch, one line of JSON each.

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "clients/cli/commands.h"
#include "clients/cli/exit_code.h"
#include "clients/cli/free_port.h"
#include "clients/cli/json_text.h"
#include "clients/cli/local_cluster.h"
#include "clients/cpp/client.h"
#include "shared/io/allocator.h"
#include "shared/io/clock.h"
#include "shared/io/request_json.h"
#include "shared/wire/buffer_pool.h"

namespace pa::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kReadyLimit = seconds{60};
constexpr Duration kStopLimit = seconds{2};
constexpr Duration kBatchPatience = seconds{60};
constexpr std::int64_t kMostRows = 1024;  ///< That a worker can be configured to.
constexpr std::int64_t kMostCredit = 4096;

/// A directory of its own that vanishes with it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() : path_("/tmp/pa-bench-XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) path_.clear();
  }
  ~TemporaryDirectory() {
    std::error_code error;
    if (!path_.empty()) std::filesystem::remove_all(path_, error);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string milliseconds_text(double ms) { return std::to_string(std::llround(ms * 1e6)) + "ns"; }

Result<LocalClusterOptions> options_of(const BenchCommand& command, const std::string& folder) {
  if (folder.empty())
    return internal(std::string("no temporary directory: ") + std::strerror(errno));
  LocalClusterOptions options;
  options.state = folder + "/state";
  options.models_dir = folder + "/models";
  options.max_rows = std::min(command.batch, kMostRows);
  options.share_memory = command.path == BenchCommand::Path::kShared;
  if (command.path == BenchCommand::Path::kTcp) {
    PA_ASSIGN(const std::vector<int> ports, free_ports(1));
    // Two more are needed; whether they are free shows when the coordinator starts.
    options.tcp = "tcp://127.0.0.1:" + std::to_string(std::min(ports[0], 65533));
    options.workers_over_tcp = true;
  }
  options.credit_samples = std::min(std::max<std::int64_t>(command.batch, 16), kMostCredit);
  for (std::size_t i = 0; i < 2; ++i) {
    WorkerSpec worker;
    worker.name = std::string(1, i == 0 ? 'a' : 'b');
    const auto of_worker = [&](const std::vector<double>& values) {
      return values[std::min(i, values.size() - 1)];
    };
    if (!command.weights.empty()) worker.weight = of_worker(command.weights);
    if (command.model == "sleep") {
      worker.sim = milliseconds_text(command.fixed_ms) + "+" +
                   milliseconds_text(of_worker(command.per_sample_ms));
    }
    options.workers.push_back(std::move(worker));
  }
  std::error_code error;
  std::filesystem::create_directories(options.models_dir + "/noop", error);
  std::ofstream model(options.models_dir + "/noop/model.yaml");
  model << "family: noop\n";
  model.close();
  if (error || !model) return internal(options.models_dir + ": cannot be written");
  return options;
}

/// Until both workers are live.
Status wait_until_ready(LocalCluster& cluster, Client& client) {
  const TimePoint end = steady_now() + kReadyLimit;
  while (steady_now() < end) {
    PA_TRY(cluster.tend(steady_now()));
    const auto status = client.status(milliseconds{500});
    if (status.ok()) {
      const auto live =
          std::count_if(status->workers.begin(), status->workers.end(),
                        [](const WorkerStatus& worker) { return worker.state == "live"; });
      if (live == 2) return {};
    }
    std::this_thread::sleep_for(milliseconds{20});
  }
  return unavailable("the workers were not ready in time");
}

/// Batches of one shape, each with a mark that the others have not.
class Batches {
 public:
  Batches(const BenchCommand& command, Client& client, LocalCluster& cluster)
      : client_(client), cluster_(cluster), pool_(std::uint64_t{256} << 20) {
    Request request;
    request.op = Operation::kForward;
    request.model = "noop";
    request.samples = command.batch;
    body_ = to_json(request);
    spec_ = {"x", DType::kF32, {command.batch, command.sample_bytes / 4}};
    const auto bytes = static_cast<std::uint64_t>(command.batch * (command.sample_bytes / 4) * 4);
    input_ = pool_.allocate(bytes);
    std::mt19937_64 random(command.seed);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (std::size_t i = 0; i < bytes / sizeof(float); ++i) put(i, uniform(random));
  }

  /// Runs one batch and returns when its result was there. kInternal if that is not its input.
  Result<TimePoint> run() {
    if (input_.empty()) return overloaded("no memory for a batch");
    const auto rows = static_cast<std::size_t>(spec_.shape[0]);
    const auto row = static_cast<std::size_t>(spec_.shape[1]);
    for (std::size_t i = 0; i < rows; ++i) {
      constexpr std::uint64_t kExact = 1u << 24;  // Whole numbers that a float tells apart.
      put(i * row, static_cast<float>(next_mark_++ % kExact));
    }
    return run_marked();
  }

 private:
  void put(std::size_t index, float value) {
    std::memcpy(input_.data() + index * sizeof(float), &value, sizeof(float));
  }

  Result<TimePoint> run_marked() {
    Buffer output;
    Submission submission;
    submission.id = make_request_id();
    submission.body = body_;
    submission.tensors = {{spec_, input_}};
    JobCallbacks callbacks;
    callbacks.on_accepted = [&](const Accepted& accepted) -> Result<Buffer> {
      PA_ASSIGN(const std::uint64_t bytes, byte_size(accepted.result));
      output = pool_.allocate(bytes);
      return output;
    };
    callbacks.on_shared_result = [&](const Accepted&, Buffer result) {
      output = std::move(result);
    };
    const RequestId id = submission.id;
    PA_ASSIGN(const Outcome outcome, client_.run(std::move(submission), std::move(callbacks)));
    const TimePoint done = steady_now();
    client_.acknowledge(id);
    PA_TRY(cluster_.tend(done));
    if (outcome.done.samples.size() != static_cast<std::size_t>(spec_.shape[0]) ||
        output.size() != input_.size() ||
        std::memcmp(output.data(), input_.data(), input_.size()) != 0) {
      return internal("the output is not the input");
    }
    return done;
  }

  Client& client_;
  LocalCluster& cluster_;
  BufferPool pool_;
  std::string body_;
  TensorSpec spec_;
  Buffer input_;
  std::uint64_t next_mark_ = 0;
};

void print_error(const Error& error) {
  std::printf("%s\n", error_json(error.message).c_str());
  std::fflush(stdout);
}

/// Closed loop: one batch after the other. Open loop: at times drawn beforehand, and timed from those.
int measure(const BenchCommand& command, Batches& batches) {
  std::mt19937_64 random(command.seed);
  std::exponential_distribution<double> gap(command.rate > 0 ? command.rate : 1);
  for (std::int64_t i = 0; i < command.warmup; ++i) {
    if (const auto done = batches.run(); !done.ok()) {
      print_error(done.error());
      return exit_code(done.error().code);
    }
  }
  int code = kDone;
  TimePoint arrival = steady_now();
  for (std::int64_t i = 0; i < command.batches; ++i) {
    if (command.rate > 0) {
      arrival += from_seconds(gap(random));
      std::this_thread::sleep_for(arrival - steady_now());
    } else {
      arrival = steady_now();
    }
    const auto done = batches.run();
    if (done.ok()) {
      std::printf("{\"seconds\": %.9f}\n", to_seconds(*done - arrival));
      std::fflush(stdout);
    } else {
      print_error(done.error());
      code = exit_code(done.error().code);
    }
  }
  return code;
}

int bench(const BenchCommand& command, const std::string& folder) {
  const auto options = options_of(command, folder);
  if (!options.ok()) return fail(options.error());
  auto started = LocalCluster::start(*options, [](std::string_view line) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
  });
  if (!started.ok()) return fail(started.error());
  LocalCluster& cluster = **started;
  ClientOptions client_options;
  client_options.patience = kBatchPatience;
  client_options.keys = cluster.keys_dir() + "/client.secret";
  auto client =
      Client::connect(options->tcp.empty() ? cluster.file().client : options->tcp, client_options);
  if (!client.ok()) return fail(client.error());
  if (const Status ready = wait_until_ready(cluster, **client); !ready.ok())
    return fail(ready.error());
  std::printf("{\"pids\": [%lld, %lld]}\n", static_cast<long long>(cluster.file().workers[0].pid),
              static_cast<long long>(cluster.file().workers[1].pid));
  std::fflush(stdout);
  Batches batches(command, **client, cluster);
  const int code = measure(command, batches);
  client->reset();
  cluster.stop(kStopLimit, {});
  return code;
}

}  // namespace

int run(const BenchCommand& command) {
  if (command.sample_bytes % 4 != 0) {
    return fail(invalid("expected a multiple of 4, found " + std::to_string(command.sample_bytes),
                        "--sample-bytes"));
  }
  const TemporaryDirectory folder;
  return bench(command, folder.path());
}

}  // namespace pa::cli
