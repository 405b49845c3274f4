// What the coordinator's decisions cost: a thousand workers and a hundred thousand queued samples through its core, and
// the plan of one large request. Prints a table; wants an idle machine.

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <queue>
#include <vector>

#include "coordinator/core/coordinator.h"
#include "coordinator/core/rehearsal.h"

namespace pa {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::uint64_t kWorkers = 1000;
constexpr std::uint64_t kRequests = 25;
constexpr std::int64_t kSamples = 4000;  // Of a request.
constexpr int kSteps = 4;
constexpr std::int64_t kRows = 8;
constexpr std::uint64_t kControl = 1000000;
constexpr std::uint64_t kData = 2000000;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::uint64_t allocated() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

ModelInfo model() {
  ModelInfo info;
  info.name = "noop";
  info.family = "noop";
  info.identity = "sha256:0";
  return info;
}

/// A device of its own speed: takes what it is assigned, a pass over all of it at a time.
struct Device {
  struct Held {
    ShardId shard;
    RequestId request;
    std::vector<std::int64_t> samples;
    std::int64_t steps = 0;
  };
  WorkerId id;
  double per_row = 0.01;
  std::vector<Held> held;
  bool busy = false;
};

class Cluster {
 public:
  Cluster() : core_(options()) {}

  void join_all() {
    for (std::uint64_t n = 0; n < kWorkers; ++n) {
      Hello hello;
      hello.boot = 1;
      hello.name = "w" + std::to_string(n);
      hello.device = "cuda:0";
      hello.device_name = "card " + std::to_string(n % 5);
      hello.models = {model()};
      hello.max_rows = kRows;
      hello.yields = true;
      feed(event::FromWorker{PeerId{kControl + n}, false, hello});
      feed(event::FromWorker{PeerId{kData + n}, true, Attach{devices_[n].id, 1}});
      devices_[n].per_row = 0.01 * static_cast<double>(1 + n % 5);
    }
  }

  void submit_all() {
    for (std::uint64_t n = 1; n <= kRequests; ++n) {
      Submit submit;
      submit.request = RequestId{0, n};
      submit.body = "{}";
      Request request;
      request.model = "noop";
      request.samples = kSamples;
      request.latent_shape = {4, 8, 8};
      request.schedule = ScheduleSpec{"simple", kSteps, 1.0};
      feed(event::Submitted{PeerId{n}, submit, request});
      feed(event::Journaled{submit.request});
    }
  }

  /// Runs until all is done; the seconds of every step are in `costs`.
  void run() {
    while (!ends_.empty()) {
      const auto [at, n] = ends_.top();
      ends_.pop();
      for (auto due = core_.next_deadline(); due && *due <= at; due = core_.next_deadline()) {
        now_ = std::max(now_, *due);
        feed(event::Tick{});
        if (*due <= now_ && ++idle_ticks_ > 100000) std::abort();
      }
      now_ = at;
      end_pass(n);
    }
  }

  std::vector<double> costs;
  [[nodiscard]] std::int64_t done() const { return done_; }
  [[nodiscard]] std::int64_t waiting() const { return core_.waiting_samples(); }

 private:
  static CoordinatorOptions options() {
    CoordinatorOptions options;
    options.liveness.suspect_after = std::chrono::hours{10};
    options.liveness.lost_after = std::chrono::hours{20};
    return options;
  }

  void feed(const Event& event) {
    actions_.clear();
    const auto start = Clock::now();
    core_.step(event, now_, actions_);
    costs.push_back(since(start));
    for (Action& action : actions_) {
      auto* send = std::get_if<action::Send>(&action);
      if (send == nullptr) continue;
      if (auto* welcome = std::get_if<Welcome>(&send->message)) {
        devices_[send->peer.value - kControl].id = welcome->worker;
      } else if (auto* assign = std::get_if<Assign>(&send->message)) {
        const std::uint64_t n = send->peer.value - kData;
        devices_[n].held.push_back({assign->shard, assign->request, assign->samples, 0});
        begin_pass(n);
      }
    }
  }

  void begin_pass(std::uint64_t n) {
    Device& device = devices_[n];
    if (device.busy || device.held.empty()) return;
    device.busy = true;
    ends_.emplace(now_ + from_seconds(0.005 + device.per_row * kRows), n);
  }

  void end_pass(std::uint64_t n) {
    Device& device = devices_[n];
    device.busy = false;
    WorkerProgress progress{device.id, {}, {}, {}};
    std::vector<SamplesDone> ended;
    for (Device::Held& held : device.held) {
      ++held.steps;
      const auto count = std::ssize(held.samples);
      progress.shards.push_back({held.shard, held.steps * count, 0.1,
                                 std::vector<std::int64_t>(held.samples.size(), held.steps)});
      if (held.steps < kSteps) continue;
      SamplesDone message{device.id, held.shard, static_cast<std::uint64_t>(count) * 1024, {}};
      for (const std::int64_t sample : held.samples) {
        SampleReport report;
        report.sample = sample;
        report.steps = kSteps;
        message.samples.push_back(report);
      }
      ended.push_back(std::move(message));
    }
    progress.passes.push_back({"noop", {4, 8, 8}, kRows, 1, 0.005 + device.per_row * kRows, true});
    const PeerId data{kData + n};
    const std::vector<Device::Held> held = device.held;
    std::erase_if(device.held, [](const Device::Held& one) { return one.steps == kSteps; });
    feed(event::FromWorker{PeerId{kControl + n}, false, std::move(progress)});
    for (SamplesDone& message : ended) {
      const auto of = std::find_if(held.begin(), held.end(),
                                   [&](const auto& one) { return one.shard == message.shard; });
      const StreamId stream{StreamKind::kShardResult, of->request, message.shard};
      const std::uint64_t upto = message.stream_upto;
      done_ += std::ssize(message.samples);
      feed(event::FromWorker{data, true, std::move(message)});
      feed(StreamArrived{stream, upto, false});
    }
    begin_pass(n);
  }

  Coordinator core_;
  TimePoint now_;
  std::vector<Device> devices_{kWorkers};
  std::priority_queue<std::pair<TimePoint, std::uint64_t>,
                      std::vector<std::pair<TimePoint, std::uint64_t>>, std::greater<>>
      ends_;
  std::vector<Action> actions_;
  std::int64_t done_ = 0;
  std::int64_t idle_ticks_ = 0;
};

void print(const char* what, std::vector<double> costs) {
  std::sort(costs.begin(), costs.end());
  double sum = 0;
  for (const double cost : costs) sum += cost;
  const auto at = [&](double part) {
    return 1e6 * costs[static_cast<std::size_t>(part * static_cast<double>(costs.size() - 1))];
  };
  std::printf("%s: %zu steps, mean %.1f us, p50 %.1f, p99 %.1f, p99.9 %.1f, most %.0f us\n", what,
              costs.size(), 1e6 * sum / static_cast<double>(costs.size()), at(0.5), at(0.99),
              at(0.999), 1e6 * costs.back());
}

void plan_one() {
  LevelSnapshot s;
  for (int i = 0; i < 64; ++i) s.devices.push_back({{0.005, 0.01 * (1 + i % 7), {}}, 8, 0, {}});
  s.samples.assign(512, LevelSample{20, -1, 0, 0});
  s.move = 0.01;
  constexpr int kTimes = 200;
  const auto start = Clock::now();
  double sum = 0;
  for (int i = 0; i < kTimes; ++i) sum += level(s, level_settings()[0]).finish;
  std::printf("plan of 512 samples over 64 devices: %.0f us (ends in %.2f s)\n",
              1e6 * since(start) / kTimes, sum / kTimes);
  const auto whole = Clock::now();
  (void)choose_setting(s, level_settings()[0]);
  std::printf("rehearsal of all settings for it, in pieces: %.1f ms\n", 1e3 * since(whole));
}

int main_of() {
  Cluster cluster;
  cluster.join_all();
  const std::uint64_t before = allocated();
  cluster.submit_all();
  print("joining and admission", cluster.costs);
  std::printf("%lld samples queued, %.0f bytes each\n", static_cast<long long>(cluster.waiting()),
              static_cast<double>(allocated() - before) /
                  static_cast<double>(kRequests * static_cast<std::uint64_t>(kSamples)));
  cluster.costs.clear();
  cluster.run();
  print("running", cluster.costs);
  std::printf("%lld samples done\n", static_cast<long long>(cluster.done()));
  plan_one();
  return 0;
}

}  // namespace
}  // namespace pa

int main() { return pa::main_of(); }
