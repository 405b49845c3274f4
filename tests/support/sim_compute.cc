#include "tests/support/sim_compute.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "shared/io/digest.h"

namespace pa {

float sample_mark(const RequestId& request, std::int64_t sample) {
  return static_cast<float>(request.low % 4096) + static_cast<float>(sample) / 4096;
}

float condition_value(std::uint64_t seed, std::int64_t index) {
  return static_cast<float>(seed % 1000 * 1000) + static_cast<float>(index % 1000);
}

namespace {

/// Row `row` of the first tensor to `target`, which has its size.
void copy_row(const ShardJob& job, std::uint64_t row, const Buffer& target) {
  std::uint64_t offset = row * target.size();
  if (job.pieces.empty()) {
    std::memcpy(target.data(), job.inputs.data() + offset, target.size());
    return;
  }
  // Pieces are whole rows.
  for (const Buffer& piece : job.pieces.front()) {
    if (offset < piece.size()) {
      std::memcpy(target.data(), piece.data() + offset, target.size());
      return;
    }
    offset -= piece.size();
  }
  PA_CHECK(false);
}

}  // namespace

void SimCompute::check_conditioning(const ShardJob& job) {
  const Result<InputLayout> layout = input_layout(job.tensors);
  for (std::size_t t = 0; t < job.tensors.size(); ++t) {
    if (job.tensors[t].name != "cond.0.text") continue;
    const std::byte* at =
        job.pieces.empty() ? job.inputs.data() + layout->offsets[t] : job.pieces[t].front().data();
    const std::int64_t floats = job.tensors[t].shape.back();
    for (std::int64_t i = 0; i < floats; ++i, at += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, at, sizeof value);
      PA_CHECK(value == condition_value(job.body.seed, i));
    }
  }
}

void SimCompute::run(ShardJob job) {
  check_conditioning(job);
  Shard shard;
  const std::int64_t steps = job.body.op == Operation::kForward ? 1
                             : job.body.schedule                ? job.body.schedule->steps
                                                                : std::ssize(job.body.sigmas) - 1;
  shard.sample_steps = steps;
  shard.steps_left.assign(job.samples.size(), steps);
  shard.leaving.assign(job.samples.size(), false);
  const Result<InputLayout> layout = input_layout(job.tensors);
  PA_CHECK(layout.ok());
  for (std::size_t i = 0; i < job.samples.size(); ++i) {
    const std::string name = "checkpoint." + std::to_string(job.samples[i]);
    for (std::size_t t = 0; t < job.tensors.size(); ++t) {
      if (job.tensors[t].name != name) continue;
      State state;
      PA_CHECK(job.tensors[t].shape == Shape{sizeof state});
      std::memcpy(&state, job.inputs.data() + layout->offsets[t], sizeof state);
      PA_CHECK(state.mark == sample_mark(job.request, job.samples[i]));
      shard.steps_left[i] = state.steps_left;
    }
  }
  shard.job = std::move(job);
  shards_.push_back(std::move(shard));
  if (!pass_ends_) begin_pass();
}

void SimCompute::cancel(ShardId shard) {
  std::erase_if(shards_, [&](const Shard& held) { return held.job.shard == shard; });
}

void SimCompute::leave(ShardId shard, std::int64_t sample) {
  for (Shard& held : shards_) {
    if (held.job.shard != shard) continue;
    const auto& samples = held.job.samples;
    const auto found = std::find(samples.begin(), samples.end(), sample);
    if (found == samples.end()) continue;
    const auto row = found - samples.begin();
    const bool computing =
        std::find(pass_.begin(), pass_.end(), std::pair(shard, row)) != pass_.end();
    if (held.steps_left[static_cast<std::size_t>(row)] == 0) continue;
    held.leaving[static_cast<std::size_t>(row)] = true;
    if (!computing) depart(held, row);
  }
}

void SimCompute::save(ShardId shard, std::int64_t sample) {
  for (const Shard& held : shards_) {
    if (held.job.shard != shard) continue;
    const auto& samples = held.job.samples;
    const auto found = std::find(samples.begin(), samples.end(), sample);
    if (found == samples.end()) continue;
    const auto row = found - samples.begin();
    const std::int64_t left = held.steps_left[static_cast<std::size_t>(row)];
    if (left == 0 || left == held.sample_steps) continue;
    reports_.emplace_back(
        SampleSaved{shard, sample, held.sample_steps - left, 1e-5, written_down(held, row)});
  }
}

Buffer SimCompute::written_down(const Shard& shard, std::int64_t row) const {
  const auto at = static_cast<std::size_t>(row);
  const State state{sample_mark(shard.job.request, shard.job.samples[at]), shard.steps_left[at]};
  Buffer bytes(
      std::shared_ptr<std::byte>(new std::byte[sizeof state], std::default_delete<std::byte[]>()),
      sizeof state);
  std::memcpy(bytes.data(), &state, sizeof state);
  return bytes;
}

void SimCompute::depart(Shard& shard, std::int64_t row) {
  const auto at = static_cast<std::size_t>(row);
  SampleLeft left{shard.job.shard, shard.job.samples[at], {}};
  if (shard.steps_left[at] < shard.sample_steps) left.checkpoint = written_down(shard, row);
  shard.steps_left[at] = 0;
  shard.leaving[at] = false;
  reports_.emplace_back(std::move(left));
}

ShardMoved SimCompute::moved(const Shard& shard, std::int64_t steps) const {
  ShardMoved moved{shard.job.shard, shard.steps, steps, shard.seconds, {}};
  for (const std::int64_t left : shard.steps_left) {
    moved.sample_steps.push_back(shard.sample_steps - left);
  }
  return moved;
}

std::optional<EngineReport> SimCompute::poll() {
  if (reports_.empty()) return std::nullopt;
  EngineReport report = std::move(reports_.front());
  reports_.pop_front();
  return report;
}

void SimCompute::advance_to(TimePoint now) {
  now_ = std::max(now_, now);
  while (pass_ends_ && *pass_ends_ <= now_) {
    if (is_deadly()) return die();
    end_pass();
    begin_pass();
  }
}

void SimCompute::stall(Duration by) {
  if (!pass_ends_) return;
  *pass_ends_ += by;
  pass_takes_ += by;
}

bool SimCompute::is_deadly() const {
  return std::any_of(pass_.begin(), pass_.end(), [&](const auto& place) {
    const auto shard = std::find_if(shards_.begin(), shards_.end(), [&](const Shard& held) {
      return held.job.shard == place.first;
    });
    return shard != shards_.end() &&
           shard->job.samples[static_cast<std::size_t>(place.second)] == speed_.deadly;
  });
}

void SimCompute::die() {
  pass_ends_.reset();
  hangs_ = true;
  died_ = speed_.death == Death::kExit;
  if (speed_.death == Death::kBreak) reports_.emplace_back(DeviceBroken{internal("a bad access")});
}

std::vector<LoadedModel> SimCompute::loaded() const {
  if (speed_.load == Duration{0} || is_loading()) return {};
  return {{model_, "", to_seconds(speed_.load), 0}};
}

void SimCompute::begin_pass() {
  if (hangs_) return;
  pass_.clear();
  pass_ends_.reset();
  std::string model;
  for (const Shard& shard : shards_) {
    if (!pass_.empty() && shard.job.body.model != model) continue;
    model = shard.job.body.model;
    for (std::int64_t row = 0; row < std::ssize(shard.steps_left); ++row) {
      if (std::ssize(pass_) == std::min(speed_.max_rows, row_limit_)) break;
      if (shard.steps_left[static_cast<std::size_t>(row)] > 0)
        pass_.emplace_back(shard.job.shard, row);
    }
  }
  if (pass_.empty()) return;
  pass_shape_ = row_shape();  // A shard may be gone when its pass ends.
  const auto rows = std::ssize(pass_);
  if (speed_.memory_rows > 0 && rows > speed_.memory_rows) {
    row_limit_ = rows / 2;
    reports_.emplace_back(PassDone{model, rows, 0, 0, row_shape(), false});
    return begin_pass();
  }
  const double part = speed_.jitter * std::normal_distribution<>(0, 1)(random_);
  pass_takes_ = from_seconds(to_seconds(speed_.fixed + speed_.per_row * rows) * std::exp(part));
  pass_ends_ = now_ + pass_takes_;
  if (speed_.load == Duration{0} || model == model_) {
    model_ = model;
    return;
  }
  model_ = model;
  ++loads_;
  loaded_at_ = now_ + speed_.load;
  *pass_ends_ += speed_.load;
}

void SimCompute::end_pass() {
  const double seconds = to_seconds(pass_takes_);
  const double each = seconds / static_cast<double>(pass_.size());
  std::map<ShardId, std::int64_t> steps;
  std::vector<EngineReport> ended;
  for (const auto& [id, row] : pass_) {
    const auto found =
        std::find_if(shards_.begin(), shards_.end(),
                     [shard = id](const Shard& held) { return held.job.shard == shard; });
    if (found == shards_.end()) continue;  // cancelled
    ++found->steps;
    ++steps_done_;
    ++steps[id];
    found->seconds += each;
    if (--found->steps_left[static_cast<std::size_t>(row)] == 0)
      ended.emplace_back(finish(*found, row));
  }
  reports_.emplace_back(PassDone{model_, std::ssize(pass_), seconds, seconds, pass_shape_, true});
  for (const auto& [id, count] : steps) {
    const auto found =
        std::find_if(shards_.begin(), shards_.end(),
                     [shard = id](const Shard& held) { return held.job.shard == shard; });
    reports_.emplace_back(moved(*found, count));
  }
  for (EngineReport& report : ended) reports_.push_back(std::move(report));
  pass_.clear();
  for (Shard& shard : shards_) {
    for (std::size_t row = 0; row < shard.leaving.size(); ++row) {
      if (shard.leaving[row] && shard.steps_left[row] > 0)
        depart(shard, static_cast<std::int64_t>(row));
    }
  }
  std::erase_if(shards_, [](const Shard& shard) {
    return std::all_of(shard.steps_left.begin(), shard.steps_left.end(),
                       [](std::int64_t left) { return left == 0; });
  });
}

Shape SimCompute::row_shape() const {
  for (const Shard& shard : shards_) {
    if (shard.job.shard == pass_.front().first)
      return {shard.job.result.shape.begin() + 1, shard.job.result.shape.end()};
  }
  return {};
}

RowsFinished SimCompute::finish(Shard& shard, std::int64_t row) const {
  const ShardJob& job = shard.job;
  const std::int64_t sample = job.samples[static_cast<std::size_t>(row)];
  const std::uint64_t bytes = *row_bytes(job.result);
  Buffer out(std::shared_ptr<std::byte>(new std::byte[bytes], std::default_delete<std::byte[]>()),
             bytes);
  if (job.body.op == Operation::kForward) {
    copy_row(job, static_cast<std::uint64_t>(row), out);
  } else {
    const float mark = sample_mark(job.request, sample);
    for (std::uint64_t i = 0; i < bytes / sizeof mark; ++i) {
      std::memcpy(out.data() + i * sizeof mark, i % 2 == 0 ? &mark : &accent_, sizeof mark);
    }
  }
  RowsFinished rows;
  rows.shard = job.shard;
  rows.first_row = row;
  rows.bytes = std::move(out);
  SampleReport report;
  report.sample = sample;
  report.steps = job.body.schedule ? job.body.schedule->steps : 1;
  report.seconds = shard.seconds;
  report.digest = digest_of(rows.bytes.bytes());
  rows.samples.push_back(std::move(report));
  return rows;
}

}  // namespace pa
