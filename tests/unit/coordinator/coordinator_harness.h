#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "coordinator/core/coordinator.h"

namespace pa::test {

inline Request sample_request(std::int64_t samples) {
  Request request;
  request.model = "noop";
  request.samples = samples;
  request.latent_shape = {1, 1, 4};
  request.schedule = ScheduleSpec{};
  return request;
}

/// Feeds a coordinator and remembers what it wants done.
class CoordinatorHarness {
 public:
  explicit CoordinatorHarness(CoordinatorOptions options = {}) : core_(std::move(options)) {}

  void feed(const Event& event) {
    core_.step(event, now, actions);
    core_.check_invariants();
  }
  void advance(Duration by) {
    now += by;
    feed(event::Tick{});
  }

  /// A worker with the no-op model, live at once. Control peer 100 + n, data peer 200 + n.
  /// who: as in event::FromWorker.
  WorkerId join(std::uint64_t n, double weight, std::int64_t credit = 64, std::uint64_t boot = 1,
                const std::string& who = "") {
    Hello hello;
    hello.boot = boot;
    hello.name = "w" + std::to_string(n);
    hello.device = "cpu";
    hello.weight = weight;
    hello.credit_samples = credit;
    ModelInfo model;
    model.name = "noop";
    model.family = "noop";
    model.identity = "sha256:0";
    hello.models = {model};
    feed(event::FromWorker{PeerId{100 + n}, false, hello, who});
    const Welcome* welcome = last<Welcome>();
    if (welcome == nullptr) return WorkerId{0};
    const WorkerId id = welcome->worker;
    feed(event::FromWorker{PeerId{200 + n}, true, Attach{id, boot}, who});
    return id;
  }

  /// A forward request of `samples` rows of 4 floats.
  RequestId submit(std::uint64_t n, std::int64_t samples, double deadline = 0, int priority = 0) {
    Submit submit;
    submit.request = RequestId{0, n};
    submit.body = "body " + std::to_string(n);
    submit.tensors = {{{"x", DType::kF32, {samples, 4}}, {}}};
    Request request;
    request.op = Operation::kForward;
    request.model = "noop";
    request.samples = samples;
    request.deadline_seconds = deadline;
    request.priority = priority;
    feed(event::Submitted{PeerId{n}, submit, request});
    if (last<Refused>() == nullptr) {
      const StreamId input{StreamKind::kRequestInput, submit.request, ShardId{0}};
      feed(StreamArrived{input, static_cast<std::uint64_t>(samples) * 16, true});
    }
    return submit.request;
  }

  /// The last message of this type that was sent, or nullptr.
  template <class T>
  const T* last() const {
    const T* found = nullptr;
    for (const Action& action : actions) {
      const auto* send = std::get_if<action::Send>(&action);
      if (send == nullptr) continue;
      if (const T* message = std::get_if<T>(&send->message)) found = message;
    }
    return found;
  }

  [[nodiscard]] const std::map<WorkerId, Worker>& workers() const { return core_.workers().all(); }

  /// Assigns sent to worker n, oldest first.
  std::vector<Assign> assigns(std::uint64_t n) const {
    std::vector<Assign> found;
    for (const Action& action : actions) {
      const auto* send = std::get_if<action::Send>(&action);
      if (send == nullptr || send->peer != PeerId{200 + n}) continue;
      if (const auto* assign = std::get_if<Assign>(&send->message)) found.push_back(*assign);
    }
    return found;
  }

  /// Worker n delivers the first `count` samples of a shard, bytes and word.
  void deliver(std::uint64_t n, const Assign& assign, std::size_t from, std::size_t count) {
    SamplesDone done;
    done.shard = assign.shard;
    done.stream_upto = (from + count) * 16;
    for (std::size_t i = from; i < from + count; ++i) {
      SampleReport report;
      report.sample = assign.samples[i];
      report.steps = 1;
      done.samples.push_back(report);
    }
    const StreamId stream{StreamKind::kShardResult, assign.request, assign.shard};
    feed(event::FromWorker{PeerId{200 + n}, true, done});
    feed(StreamArrived{stream, done.stream_upto, false});
  }
  void deliver_all(std::uint64_t n, const Assign& assign) {
    deliver(n, assign, 0, assign.samples.size());
  }

  std::vector<Action> actions;
  TimePoint now;

 private:
  Coordinator core_;
};

}  // namespace pa::test
