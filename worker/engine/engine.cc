#include "worker/engine/engine.h"

#include <ATen/ATen.h>
#include <ATen/DeviceAccelerator.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <utility>

#include "worker/engine/row_choice.h"
#include "worker/engine/row_math.h"
#include "worker/engine/shard_run.h"
#include "worker/models/model_store.h"
#include "worker/models/tensors.h"
#include "worker/models/torch_errors.h"

namespace pa {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// A row that is in the pass.
struct PassRow {
  ShardRun* shard = nullptr;
  std::int64_t row = 0;
  Polarity polarity = Polarity::kPositive;
};

/// What the network gets for these rows.
Rows assemble(const std::vector<PassRow>& pass, c10::Device device) {
  std::vector<QueryRow> queries;
  for (const PassRow& row : pass) queries.push_back(row.shard->query(row.row, row.polarity));

  Rows rows;
  std::vector<RowRef> xs;
  std::vector<float> times;
  bool scaled = false;
  for (const QueryRow& query : queries) {
    xs.push_back(query.x);
    times.push_back(query.time);
    scaled = scaled || query.input_scale != 1.0F;
  }
  if (scaled) {
    Shape shape = xs.front().base.sizes().vec();
    shape[0] = std::ssize(xs);
    rows.x = at::empty(shape, xs.front().base.options());
    for (std::size_t i = 0; i < xs.size(); ++i) {
      const std::vector<WeightedRow> term{
          {queries[i].input_scale, xs[i].base.select(0, xs[i].first)}};
      combine(rows.x.select(0, static_cast<std::int64_t>(i)), term);
    }
  } else {
    rows.x = gather(xs).contiguous();
  }
  rows.sigma = at::tensor(times).to(device);
  for (const auto& entry : *queries.front().inputs) {
    std::vector<RowRef> refs;
    for (const QueryRow& query : queries) refs.push_back(query.inputs->at(entry.first));
    rows.inputs[entry.first] = gather(refs);
  }
  return rows;
}

/// A shard, and which rows each of its own fits together with.
struct Shard {
  std::shared_ptr<Replica> replica;  // In use while the shard runs.
  std::unique_ptr<ShardRun> run;
  std::vector<std::array<std::int64_t, kPolarities>> groups;
};

}  // namespace

struct Engine::State {
  State(ModelStore& models_in, EngineOptions options_in)
      : models(models_in), options(std::move(options_in)) {}

  ModelStore& models;
  EngineOptions options;
  std::vector<Shard> shards;                            // Oldest first.
  std::vector<EngineReport> refused;                    // Of shards that could not start.
  std::vector<ShardJob> waiting;                        // For their models to be loaded.
  std::map<std::string, std::int64_t> groups;           // Rows of equal fit() -> a number.
  std::map<const Replica*, std::int64_t> memory_limit;  // Rows that fit, learned from failures.

  void start(ShardJob job);
  std::vector<PassRow> choose();
  void evaluate(const std::vector<PassRow>& pass, std::vector<EngineReport>& out);
  void sleep_like_sim(Clock::time_point start, std::size_t rows) const;
};

void Engine::State::start(ShardJob job) {
  const ShardJob kept{job.shard, job.request, {}, job.samples, {}, {}, {}};
  Result<std::shared_ptr<Replica>> replica = models.acquire(job.body.model);
  if (!replica.ok() && replica.error().code == Code::kOverloaded && !shards.empty()) {
    waiting.push_back(std::move(job));  // For models in use to make room.
    return;
  }
  Result<std::unique_ptr<ShardRun>> run =
      !replica.ok() ? Error{replica.error().code, replica.error().message, "/model"}
                    : guarded<std::unique_ptr<ShardRun>>([&] {
                        return ShardRun::start(std::move(job), **replica, models.device());
                      });
  if (!run.ok()) {
    refused.emplace_back(failed_rows(kept, 0, std::ssize(kept.samples), run.error()));
    return;
  }
  if (shards.empty()) groups.clear();
  Shard shard{std::move(replica).value(), std::move(run).value(), {}};
  for (std::int64_t row = 0; row < shard.run->rows(); ++row) {
    auto& row_groups = shard.groups.emplace_back();
    for (const Polarity polarity : {Polarity::kPositive, Polarity::kNegative}) {
      if (!shard.run->waits(row, polarity)) continue;
      const auto next = static_cast<std::int64_t>(groups.size());
      row_groups[static_cast<std::size_t>(polarity)] =
          groups.emplace(shard.run->fit(row, polarity), next).first->second;
    }
  }
  shards.push_back(std::move(shard));
}

std::vector<PassRow> Engine::State::choose() {
  std::vector<PassRow> pass;
  std::optional<RowChoice> choice;
  for (const Shard& shard : shards) {
    const Request& body = shard.run->job().body;
    for (std::int64_t row = 0; row < shard.run->rows(); ++row) {
      for (const Polarity polarity : {Polarity::kPositive, Polarity::kNegative}) {
        if (!shard.run->waits(row, polarity)) continue;
        if (!choice) {
          const auto limit = memory_limit.find(&shard.run->replica());
          choice.emplace(limit == memory_limit.end() ? options.max_rows
                                                     : std::min(options.max_rows, limit->second));
        }
        WaitingRow waiting;
        waiting.group =
            shard.groups[static_cast<std::size_t>(row)][static_cast<std::size_t>(polarity)];
        waiting.max_rows = body.max_rows.value_or(0);
        waiting.alone = body.deterministic;
        if (choice->offer(waiting)) pass.push_back({shard.run.get(), row, polarity});
        if (choice->full()) return pass;
      }
    }
  }
  return pass;
}

void Engine::State::sleep_like_sim(Clock::time_point start, std::size_t rows) const {
  if (!options.sim) return;
  const double seconds =
      options.sim->fixed_seconds + options.sim->per_row_seconds * static_cast<double>(rows);
  std::this_thread::sleep_until(
      start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)));
}

void Engine::State::evaluate(const std::vector<PassRow>& pass, std::vector<EngineReport>& out) {
  Replica& replica = pass.front().shard->replica();
  const c10::Device device = torch_device(models.device());
  const auto count = std::ssize(pass);
  const Clock::time_point start = Clock::now();
  double network_seconds = 0;
  double switch_seconds = 0;
  const Result<at::Tensor> answer = guarded<at::Tensor>([&]() -> Result<at::Tensor> {
    PA_ASSIGN(const bool switched, replica.loras.put_on(pass.front().shard->job().body.loras));
    if (switched) switch_seconds = seconds_since(start);
    const Rows rows = assemble(pass, device);
    const Clock::time_point network_start = Clock::now();
    PA_ASSIGN(at::Tensor result, replica.network->forward(rows));
    if (!device.is_cpu()) at::accelerator::synchronizeDevice(device.index());
    network_seconds = seconds_since(network_start);
    if (result.sizes() != rows.x.sizes() || result.scalar_type() != at::kFloat) {
      return internal("the network answered with " + to_string(result.sizes().vec()) +
                      "; expected F32 " + to_string(rows.x.sizes().vec()));
    }
    return result.contiguous();
  });
  if (!answer.ok() && answer.error().code == Code::kOverloaded && count > 1) {
    // The failed pass's tensors are gone by now. Fewer rows may fit.
    if (!device.is_cpu()) at::accelerator::emptyCache();
    memory_limit[&replica] = count / 2;
    return;
  }
  const Status taken = guarded<void>([&]() -> Status {
    for (std::int64_t i = 0; i < count; ++i) {
      const PassRow& row = pass[static_cast<std::size_t>(i)];
      if (answer.ok()) {
        row.shard->answer(row.row, row.polarity, {*answer, i});
      } else {
        row.shard->fail(row.row, answer.error());
      }
    }
    return {};
  });
  if (!taken.ok()) {
    for (const PassRow& row : pass) row.shard->fail(row.row, taken.error());
  }
  sleep_like_sim(start, pass.size());

  const double seconds = seconds_since(start);
  for (const PassRow& row : pass) row.shard->spend(row.row, seconds / static_cast<double>(count));
  out.emplace_back(PassDone{replica.info.name, count, seconds, network_seconds, switch_seconds});
  std::vector<ShardRun*> touched;
  for (const PassRow& row : pass) {
    if (touched.empty() || touched.back() != row.shard) touched.push_back(row.shard);
  }
  for (ShardRun* const shard : touched) {
    out.emplace_back(shard->take_moved());
    shard->take_finished(out);
  }
  std::erase_if(shards, [](const Shard& shard) { return shard.run->finished(); });
}

Engine::Engine(ModelStore& models, EngineOptions options)
    : state_(std::make_unique<State>(models, std::move(options))) {}
Engine::~Engine() = default;

void Engine::add(ShardJob job) {
  const c10::InferenceMode guard;
  state_->start(std::move(job));
}

void Engine::cancel(ShardId shard) {
  const c10::InferenceMode guard;
  std::erase_if(state_->shards, [&](const Shard& s) { return s.run->job().shard == shard; });
  std::erase_if(state_->waiting, [&](const ShardJob& job) { return job.shard == shard; });
  std::erase_if(state_->refused, [&](const EngineReport& report) {
    const auto* const rows = std::get_if<RowsFinished>(&report);
    return rows != nullptr && rows->shard == shard;
  });
}

bool Engine::idle() const {
  return state_->shards.empty() && state_->refused.empty() && state_->waiting.empty();
}

void Engine::pass(std::vector<EngineReport>& out) {
  const c10::InferenceMode guard;
  if (state_->shards.empty()) {
    for (ShardJob& job : std::exchange(state_->waiting, {})) state_->start(std::move(job));
  }
  std::move(state_->refused.begin(), state_->refused.end(), std::back_inserter(out));
  state_->refused.clear();
  const std::vector<PassRow> rows = state_->choose();
  if (!rows.empty()) state_->evaluate(rows, out);
}

}  // namespace pa
