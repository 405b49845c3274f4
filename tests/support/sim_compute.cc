#include "tests/support/sim_compute.h"

#include <algorithm>
#include <cstring>

namespace pa {

float sample_mark(const RequestId& request, std::int64_t sample) {
  return static_cast<float>(request.low % 4096) + static_cast<float>(sample) / 4096;
}

void SimCompute::run(ShardJob job) {
  Shard shard;
  const std::int64_t steps = job.body.op == Operation::kForward ? 1
                             : job.body.schedule                ? job.body.schedule->steps
                                                                : std::ssize(job.body.sigmas) - 1;
  shard.steps_left.assign(job.samples.size(), steps);
  shard.job = std::move(job);
  shards_.push_back(std::move(shard));
  if (!pass_ends_) begin_pass();
}

void SimCompute::cancel(ShardId shard) {
  std::erase_if(shards_, [&](const Shard& held) { return held.job.shard == shard; });
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
    end_pass();
    begin_pass();
  }
}

void SimCompute::begin_pass() {
  pass_.clear();
  pass_ends_.reset();
  for (const Shard& shard : shards_) {
    for (std::int64_t row = 0; row < std::ssize(shard.steps_left); ++row) {
      if (std::ssize(pass_) == speed_.max_rows) break;
      if (shard.steps_left[static_cast<std::size_t>(row)] > 0)
        pass_.emplace_back(shard.job.shard, row);
    }
  }
  if (!pass_.empty()) pass_ends_ = now_ + speed_.fixed + speed_.per_row * std::ssize(pass_);
}

void SimCompute::end_pass() {
  const double seconds = to_seconds(speed_.fixed + speed_.per_row * std::ssize(pass_));
  const double each = seconds / static_cast<double>(pass_.size());
  for (const auto& [id, row] : pass_) {
    const auto found =
        std::find_if(shards_.begin(), shards_.end(),
                     [shard = id](const Shard& held) { return held.job.shard == shard; });
    if (found == shards_.end()) continue;  // cancelled
    ++found->steps;
    found->seconds += each;
    reports_.emplace_back(ShardMoved{id, found->steps, 1, found->seconds});
    if (--found->steps_left[static_cast<std::size_t>(row)] == 0)
      reports_.emplace_back(finish(*found, row));
  }
  reports_.emplace_back(PassDone{"sim", std::ssize(pass_), seconds, seconds});
  std::erase_if(shards_, [](const Shard& shard) {
    return std::all_of(shard.steps_left.begin(), shard.steps_left.end(),
                       [](std::int64_t left) { return left == 0; });
  });
}

RowsFinished SimCompute::finish(Shard& shard, std::int64_t row) const {
  const ShardJob& job = shard.job;
  const std::int64_t sample = job.samples[static_cast<std::size_t>(row)];
  const std::uint64_t bytes = *row_bytes(job.result);
  Buffer out(std::shared_ptr<std::byte>(new std::byte[bytes], std::default_delete<std::byte[]>()),
             bytes);
  if (job.body.op == Operation::kForward) {
    const Buffer& x = job.parts.empty() ? job.inputs : job.parts.front();
    std::memcpy(out.data(), x.data() + static_cast<std::uint64_t>(row) * bytes, bytes);
  } else {
    const float mark = sample_mark(job.request, sample);
    for (std::uint64_t at = 0; at + sizeof mark <= bytes; at += sizeof mark) {
      std::memcpy(out.data() + at, &mark, sizeof mark);
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
  rows.samples.push_back(std::move(report));
  return rows;
}

}  // namespace pa
