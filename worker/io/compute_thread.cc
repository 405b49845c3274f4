#include "worker/io/compute_thread.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "shared/io/clock.h"
#include "shared/io/log.h"
#include "shared/io/segment.h"

namespace pa {
namespace {

/// How long the compute thread waits when the loop does not take its reports: it is stopped, or swamped.
constexpr std::chrono::milliseconds kFullReports{1};
/// Reading ahead may take this part of the box's free memory.
constexpr std::int64_t kReadAheadPart = 2;

}  // namespace

ComputeThread::ComputeThread(ComputeOptions options, Wakeup& wakeup)
    : options_(std::move(options)),
      wakeup_(wakeup),
      orders_(options_.queue),
      reports_(options_.queue),
      thread_([this] { main(); }) {}

ComputeThread::~ComputeThread() {
  stopping_ = true;
  orders_.close();
  reports_.close();
  thread_.join();
}

std::optional<Result<ComputeReady>> ComputeThread::poll_ready() { return ready_.try_pop(); }

std::string ComputeThread::loading() const {
  const MutexLock lock(loading_mutex_);
  return loading_;
}

std::vector<LoadedModel> ComputeThread::loaded() const {
  const MutexLock lock(loading_mutex_);
  return loaded_;
}

void ComputeThread::note_loaded(const ModelStore& store) {
  std::vector<LoadedModel> now = store.loaded();
  const MutexLock lock(loading_mutex_);
  loaded_ = std::move(now);
}

void ComputeThread::run(ShardJob job) {
  waiting_.emplace_back(std::move(job));
  push_orders();
}

void ComputeThread::cancel(ShardId shard) {
  waiting_.emplace_back(shard);
  push_orders();
}

void ComputeThread::leave(ShardId shard, std::int64_t sample) {
  waiting_.emplace_back(Leave{shard, sample});
  push_orders();
}

void ComputeThread::save(ShardId shard, std::int64_t sample) {
  waiting_.emplace_back(Save{shard, sample});
  push_orders();
}

void ComputeThread::prefetch(const std::string& model) {
  std::vector<StoredTensor> weights;
  {
    const MutexLock lock(loading_mutex_);
    const auto found = weights_.find(model);
    if (found == weights_.end()) return;
    weights = found->second;
  }
  const std::int64_t memory = pa::free_memory_bytes(Device{});
  if (read_ahead_.start(std::move(weights), memory / kReadAheadPart))
    log_info("model.read_ahead", {{"model", model}});
}

void ComputeThread::push_orders() {
  while (!waiting_.empty() && orders_.try_push(waiting_.front())) waiting_.pop_front();
}

std::optional<EngineReport> ComputeThread::poll() {
  push_orders();
  return reports_.try_pop();
}

std::int64_t ComputeThread::free_memory_bytes() const {
  return started_ ? pa::free_memory_bytes(options_.device) : -1;
}

void ComputeThread::main() {
  const c10::InferenceMode inference;
  options_.store.loading = &is_loading_;
  ModelStore store(options_.device, options_.store);
  Result<ComputeReady> ready = start(store);
  const bool good = ready.ok();
  started_ = good;
  if (!ready_.try_push(ready)) broken(__FILE__, __LINE__, "the device became ready twice");
  wakeup_.signal();
  if (!good) return;
  Engine engine(store, options_.engine);
  serve(engine, store);
}

Result<ComputeReady> ComputeThread::start(ModelStore& store) {
  const TimePoint began = steady_now();
  PA_TRY(start_device(options_.device, options_.threads));
  PA_TRY(store.load(options_.models, [this](const std::string& model, double part) {
    const MutexLock lock(loading_mutex_);
    loading_ = model + " " + std::to_string(static_cast<int>(100 * part)) + "%";
    return !stopping_;
  }));
  {
    const MutexLock lock(loading_mutex_);
    weights_ = store.weights();
  }
  ComputeReady ready;
  ready.models = store.infos();
  ready.broken = store.broken();
  ready.device_name = device_name(options_.device);
  ready.numerics_id = numerics_id(options_.device);
  ready.load_seconds = to_seconds(steady_now() - began);
  return ready;
}

void ComputeThread::serve(Engine& engine, const ModelStore& store) {
  std::vector<EngineReport> reports;
  note_loaded(store);
  while (obey(engine)) {
    reports.clear();
    is_computing_ = true;
    engine.pass(reports);
    is_computing_ = false;
    note_loaded(store);
    const bool broken = std::any_of(reports.begin(), reports.end(), [](const auto& made) {
      return std::holds_alternative<DeviceBroken>(made);
    });
    for (EngineReport& made : reports) {
      if (!report(std::move(made))) return;
    }
    wakeup_.signal();
    if (broken) return;  // Whatever else the device says is not to be believed.
  }
}

bool ComputeThread::obey(Engine& engine) {
  while (true) {
    std::optional<Order> order = engine.idle() ? orders_.pop() : orders_.try_pop();
    if (!order) return !stopping_;  // nothing new, and something to do; or closed
    if (auto* job = std::get_if<ShardJob>(&*order)) {
      for (const std::vector<Buffer>& tensor : job->pieces) {
        for (const Buffer& piece : tensor) Segment::prefault(piece.bytes());
      }
      engine.add(std::move(*job));
    } else if (const auto* leave = std::get_if<Leave>(&*order)) {
      engine.leave(leave->shard, leave->sample);
    } else if (const auto* save = std::get_if<Save>(&*order)) {
      engine.save(save->shard, save->sample);
    } else {
      engine.cancel(std::get<ShardId>(*order));
    }
  }
}

bool ComputeThread::report(EngineReport made) {
  while (!reports_.try_push(made)) {
    if (stopping_) return false;
    wakeup_.signal();
    std::this_thread::sleep_for(kFullReports);
  }
  return true;
}

}  // namespace pa
