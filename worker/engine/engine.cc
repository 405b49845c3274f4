#include "worker/engine/engine.h"

#include <ATen/ATen.h>
#include <ATen/DeviceAccelerator.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <utility>

#include "shared/io/failpoint.h"
#include "worker/engine/row_choice.h"
#include "worker/engine/row_memory.h"
#include "worker/engine/shard_run.h"
#include "worker/engine/stacked_rows.h"
#include "worker/models/device.h"
#include "worker/models/model_store.h"
#include "worker/models/tensors.h"
#include "worker/models/torch_errors.h"

namespace pa {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMaxGroups = 1024;  // Numbered, before they are counted anew.

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// A row that is in the pass.
struct PassRow {
  ShardRun* shard = nullptr;
  std::int64_t row = 0;
  std::size_t term = 0;
  double work = 0;  ///< Elements that the network gets.
};

/// A request that has shards here.
struct Claimant {
  Claim claim;
  std::int64_t shards = 0;
};

struct Shard {
  std::shared_ptr<Replica> replica;  ///< In use while the shard runs.
  std::unique_ptr<ShardRun> run;
  std::uint64_t claimant = 0;        ///< Key of its request's Claimant.
  std::vector<std::int64_t> groups;  ///< [rows * terms] which rows each fits together with.
};

/// By row: false if a value of it is no number. CPUs find out where they use the row.
std::vector<bool> finite_rows(const at::Tensor& answer) {
  std::vector<bool> finite(static_cast<std::size_t>(answer.size(0)), true);
  if (answer.is_cpu()) return finite;
  const at::Tensor flags = at::isfinite(answer).flatten(1).all(1).to(at::kCPU);
  for (std::size_t i = 0; i < finite.size(); ++i) {
    finite[i] = flags[static_cast<std::int64_t>(i)].item<bool>();
  }
  return finite;
}

/// Where tests make a pass fail, and those with one sample: "sample.7=kill". See failpoint.h.
Status injected_faults(const std::vector<PassRow>& pass) {
  if (!detail::kFailpointsOn) return {};
  if (const int error = failpoint("device.error")) return internal(std::strerror(error));
  (void)failpoint("device.pass");
  for (const PassRow& row : pass) {
    const std::int64_t sample = row.shard->job().samples[static_cast<std::size_t>(row.row)];
    (void)failpoint(("sample." + std::to_string(sample)).c_str());
  }
  return {};
}

}  // namespace

struct Engine::State {
  State(ModelStore& models_in, EngineOptions options_in)
      : models(models_in), options(std::move(options_in)), noise_maker(options.noise_threads) {}

  const Clock::time_point began = Clock::now();

  ModelStore& models;
  EngineOptions options;
  NoiseMaker noise_maker;
  std::vector<Shard> shards;  ///< Oldest first.
  std::map<std::uint64_t, Claimant> claimants;
  std::map<RequestId, std::uint64_t> claimant_of;
  std::uint64_t last_claimant = 0;
  EvenShares even_shares;
  std::vector<EngineReport> ready;  ///< Made outside a pass.
  std::vector<ShardJob> postponed;  ///< Their models are to be loaded first.
  std::vector<std::string> groups;  ///< Rows of equal fit() -> the index of it.
  RowMemory memory;
  RowStacker stacker;

  void start(ShardJob job);
  std::uint64_t enter(const ShardRun& run);
  void remove_finished();
  std::int64_t group_of(std::string fit);
  void number_rows(Shard& shard);
  bool resume(std::vector<EngineReport>& out);
  std::vector<PassRow> choose();
  void evaluate(const std::vector<PassRow>& pass, std::vector<EngineReport>& out);
  Result<at::Tensor> forward(const std::vector<PassRow>& pass, PassDone& done);
  bool is_broken(const Error& error, std::vector<EngineReport>& out) const;
  void sleep_like_sim(Clock::time_point start, std::size_t rows) const;
};

void Engine::State::start(ShardJob job) {
  const ShardJob kept{job.shard, job.request, {}, job.samples, {}, {}, {}};
  Result<std::shared_ptr<Replica>> replica = models.acquire(job.body.model);
  if (!replica.ok() && replica.error().code == Code::kOverloaded && !shards.empty()) {
    postponed.push_back(std::move(job));  // Until models in use make room.
    return;
  }
  Result<std::unique_ptr<ShardRun>> run =
      !replica.ok()
          ? Error{replica.error().code, replica.error().message, "/model"}
          : guarded<std::unique_ptr<ShardRun>>([&] {
              return ShardRun::start(std::move(job), **replica, models.device(), noise_maker);
            });
  if (!run.ok()) {
    ready.emplace_back(failed_rows(kept, 0, std::ssize(kept.samples), run.error()));
    return;
  }
  Shard shard{std::move(replica).value(), std::move(run).value(), 0, {}};
  number_rows(shard);
  shard.claimant = enter(*shard.run);
  shard.run->take_finished(ready);  // What needed no pass.
  shards.push_back(std::move(shard));
  remove_finished();
}

/// Counts a shard, and its work, for its request.
std::uint64_t Engine::State::enter(const ShardRun& run) {
  const Request& body = run.job().body;
  const auto [known, is_new] = claimant_of.try_emplace(run.job().request, last_claimant + 1);
  Claimant& claimant = claimants[known->second];
  if (is_new) {
    ++last_claimant;
    claimant.claim.priority = body.priority;
    if (body.deadline_seconds > 0) {
      claimant.claim.deadline = seconds_since(began) + body.deadline_seconds;
    }
  }
  ++claimant.shards;
  claimant.claim.finish = even_shares.finish(claimant.claim.finish, run.work_left());
  return known->second;
}

void Engine::State::remove_finished() {
  for (const Shard& shard : shards) {
    if (!shard.run->finished() || --claimants.at(shard.claimant).shards > 0) continue;
    claimants.erase(shard.claimant);
    claimant_of.erase(shard.run->job().request);
  }
  std::erase_if(shards, [](const Shard& shard) { return shard.run->finished(); });
  if (!shards.empty()) return;
  groups.clear();
  stacker.clear();
}

std::int64_t Engine::State::group_of(std::string fit) {
  const auto found = std::find(groups.begin(), groups.end(), fit);
  if (found != groups.end()) return found - groups.begin();
  groups.push_back(std::move(fit));
  return std::ssize(groups) - 1;
}

void Engine::State::number_rows(Shard& shard) {
  if (groups.size() >= kMaxGroups) {  // Most are of shards that are gone.
    groups.clear();
    for (Shard& other : shards) {
      other.groups.clear();
      number_rows(other);
    }
  }
  for (std::int64_t row = 0; row < shard.run->rows(); ++row) {
    for (std::size_t term = 0; term < shard.run->terms(); ++term) {
      shard.groups.push_back(group_of(shard.run->fit(row, term)));
    }
  }
}

/// Goes on with rows whose noise has been made. Whether others wait for theirs.
bool Engine::State::resume(std::vector<EngineReport>& out) {
  bool waiting = false;
  for (const Shard& shard : shards) {
    if (!shard.run->waits_for_noise()) continue;
    const Status resumed = guarded<void>([&]() -> Status {
      shard.run->resume();
      return {};
    });
    for (std::int64_t row = 0; !resumed.ok() && row < shard.run->rows(); ++row) {
      shard.run->fail(row, resumed.error());
    }
    if (const ShardMoved moved = shard.run->take_moved(); moved.new_steps > 0) {
      out.emplace_back(moved);
    }
    shard.run->take_finished(out);
    waiting = waiting || shard.run->waits_for_noise();
  }
  remove_finished();
  return waiting;
}

std::vector<PassRow> Engine::State::choose() {
  std::vector<Claim> claims;
  std::map<std::uint64_t, std::size_t> place;
  for (const auto& [key, claimant] : claimants) {
    place[key] = claims.size();
    claims.push_back(claimant.claim);
  }
  std::vector<DueRow> due;
  std::vector<PassRow> rows;
  for (const Shard& shard : shards) {
    const Request& body = shard.run->job().body;
    std::vector<double> work;
    for (std::size_t term = 0; term < shard.run->terms(); ++term) {
      work.push_back(shard.run->row_work(term));
    }
    std::size_t next = 0;
    for (std::int64_t row = 0; row < shard.run->rows(); ++row) {
      for (std::size_t term = 0; term < shard.run->terms(); ++term, ++next) {
        if (!shard.run->waits(row, term)) continue;
        due.push_back({place.at(shard.claimant), shard.groups[next], body.max_rows.value_or(0),
                       body.deterministic});
        rows.push_back({shard.run.get(), row, term, work[term]});
      }
    }
  }
  RowLimits limits;
  limits.max_rows = options.max_rows;
  for (std::size_t group = 0; group < groups.size(); ++group) {
    if (const std::int64_t known = memory.rows(groups[group]); known > 0) {
      limits.memory[static_cast<std::int64_t>(group)] = known;
    }
  }
  std::vector<PassRow> pass;
  std::vector<bool> served(claims.size(), false);
  std::vector<bool> waiting(claims.size(), false);
  for (const DueRow& row : due) waiting[row.claim] = true;
  for (const std::size_t index : choose_rows(claims, due, limits)) {
    pass.push_back(rows[index]);
    even_shares.advance(rows[index].work, claims.size());
    served[due[index].claim] = true;
  }
  for (auto& [key, claimant] : claimants) {
    const std::size_t k = place.at(key);
    if (waiting[k]) claimant.claim.skipped = served[k] ? 0 : claimant.claim.skipped + 1;
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

Result<at::Tensor> Engine::State::forward(const std::vector<PassRow>& pass, PassDone& done) {
  Replica& replica = pass.front().shard->replica();
  const c10::Device device = torch_device(models.device());
  std::vector<QueryRow> queries;
  for (const PassRow& row : pass) queries.push_back(row.shard->query(row.row, row.term));
  if (options.sim && options.sim->memory_rows > 0 && std::ssize(pass) > options.sim->memory_rows) {
    return overloaded("the simulated device has memory for " +
                      std::to_string(options.sim->memory_rows) + " rows");
  }
  const Clock::time_point before = Clock::now();
  {
    const LoadingMark loading = models.mark_loading();
    PA_ASSIGN(const bool switched, replica.loras.put_on(pass.front().shard->job().body.loras));
    if (switched) done.switch_seconds = replica.switch_seconds = seconds_since(before);
  }
  PA_TRY(injected_faults(pass));
  const Rows rows = stacker.stack(queries, device);
  const Clock::time_point start = Clock::now();
  PA_ASSIGN(at::Tensor result, replica.network->forward(rows));
  if (!device.is_cpu()) at::accelerator::synchronizeDevice(device.index());
  done.network_seconds = seconds_since(start);
  if (result.sizes() != rows.x.sizes() || result.scalar_type() != at::kFloat) {
    return internal("the network answered with " + to_string(result.sizes().vec()) +
                    "; expected F32 " + to_string(rows.x.sizes().vec()));
  }
  return result.contiguous();
}

/// Whether the device is lost, rather than the pass wrong; if so, says so.
bool Engine::State::is_broken(const Error& error, std::vector<EngineReport>& out) const {
  if (error.code != Code::kInternal) return false;
  const Status alive = try_device(models.device());
  if (alive.ok()) return false;
  out.emplace_back(DeviceBroken{internal(error.message + "; then: " + alive.error().message)});
  return true;
}

void Engine::State::evaluate(const std::vector<PassRow>& pass, std::vector<EngineReport>& out) {
  const auto count = std::ssize(pass);
  const std::string shape = pass.front().shard->fit(pass.front().row, pass.front().term);
  const Shape row = pass.front().shard->shape(pass.front().term);
  const Clock::time_point start = Clock::now();
  PassDone done{pass.front().shard->replica().info.name, count, 0, 0, row, true};
  const Result<at::Tensor> answer = guarded<at::Tensor>([&] { return forward(pass, done); });
  if (!answer.ok() && answer.error().code == Code::kOverloaded && count > 1) {
    // The failed pass's tensors are gone by now. Its rows still wait, and fewer may fit.
    stacker.clear();
    if (!torch_device(models.device()).is_cpu()) at::accelerator::emptyCache();
    memory.failed(shape, count);
    done.fits = false;
    out.emplace_back(std::move(done));
    return;
  }
  if (!answer.ok() && is_broken(answer.error(), out)) return;
  if (answer.ok()) memory.fitted(shape, count);
  const Status taken = guarded<void>([&]() -> Status {
    const std::vector<bool> finite =
        answer.ok() ? finite_rows(*answer) : std::vector<bool>(pass.size(), true);
    for (std::size_t i = 0; i < pass.size(); ++i) {
      const auto& [shard, index, term, work] = pass[i];
      if (!shard->waits(index, term)) continue;  // It failed at an answer before this one.
      if (answer.ok()) {
        shard->answer(index, term, {*answer, static_cast<std::int64_t>(i)}, finite[i]);
      } else {
        shard->fail(index, answer.error());
      }
    }
    for (const PassRow& each : pass) each.shard->keep_answers(each.row);
    return {};
  });
  if (!taken.ok()) {
    if (is_broken(taken.error(), out)) return;
    for (const PassRow& each : pass) each.shard->fail(each.row, taken.error());
  }
  sleep_like_sim(start, pass.size());

  const double seconds = seconds_since(start);
  for (const PassRow& each : pass) {
    each.shard->spend(each.row, seconds / static_cast<double>(count));
  }
  done.seconds = seconds;
  out.emplace_back(std::move(done));
  std::vector<ShardRun*> touched;
  for (const PassRow& each : pass) {
    if (touched.empty() || touched.back() != each.shard) touched.push_back(each.shard);
  }
  for (ShardRun* const shard : touched) {
    out.emplace_back(shard->take_moved());
    shard->take_finished(out);
  }
  remove_finished();
}

Engine::Engine(ModelStore& models, EngineOptions options)
    : state_(std::make_unique<State>(models, std::move(options))) {}
Engine::~Engine() = default;

void Engine::add(ShardJob job) {
  const c10::InferenceMode guard;
  if (!state_->postponed.empty()) {  // Those of a loaded model must not keep the others waiting.
    state_->postponed.push_back(std::move(job));
    return;
  }
  state_->start(std::move(job));
}

void Engine::cancel(ShardId shard) {
  const c10::InferenceMode guard;
  for (Shard& held : state_->shards) {
    if (held.run->job().shard == shard) held.run->drop();
  }
  std::erase_if(state_->postponed, [&](const ShardJob& job) { return job.shard == shard; });
  state_->remove_finished();
  std::erase_if(state_->ready, [&](const EngineReport& report) {
    return std::visit(
        [&](const auto& specific) {
          if constexpr (requires { specific.shard; }) {
            return specific.shard == shard;
          } else {
            return false;
          }
        },
        report);
  });
}

void Engine::leave(ShardId shard, std::int64_t sample) {
  const c10::InferenceMode guard;
  for (Shard& held : state_->shards) {
    if (held.run->job().shard != shard) continue;
    held.run->leave(sample);
    held.run->take_finished(state_->ready);
  }
  state_->remove_finished();
}

void Engine::save(ShardId shard, std::int64_t sample) {
  const c10::InferenceMode guard;
  for (Shard& held : state_->shards) {
    if (held.run->job().shard != shard) continue;
    held.run->save(sample);
    held.run->take_finished(state_->ready);
  }
}

bool Engine::idle() const {
  return state_->shards.empty() && state_->ready.empty() && state_->postponed.empty();
}

void Engine::pass(std::vector<EngineReport>& out) {
  const c10::InferenceMode guard;
  if (state_->shards.empty()) {
    for (ShardJob& job : std::exchange(state_->postponed, {})) state_->start(std::move(job));
  }
  std::move(state_->ready.begin(), state_->ready.end(), std::back_inserter(out));
  state_->ready.clear();
  while (true) {
    const bool waiting = state_->resume(out);
    const std::vector<PassRow> rows = state_->choose();
    if (!rows.empty()) return state_->evaluate(rows, out);
    if (!waiting || !out.empty()) return;
    state_->noise_maker.wait();
  }
}

void Engine::settle(std::vector<EngineReport>& out) {
  const c10::InferenceMode guard;
  while (state_->resume(out)) state_->noise_maker.wait();
}

}  // namespace pa
