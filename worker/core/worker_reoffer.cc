// What a worker holds as a new session begins: offered to the coordinator, kept or dropped as it says.

#include <algorithm>

#include "worker/core/worker_core.h"

namespace pa {

/// Ends what belonged to the old session; what runs goes on, and waits to be asked for.
void WorkerCore::begin_offers() {
  if (now_ - alone_since_ >= options_.keep) drop_all("a new session began");
  std::vector<ShardId> dropped;
  for (auto& [id, held] : shards_) {
    if (!held.running || held.assign.result.shape.empty()) {
      dropped.push_back(id);
      continue;
    }
    held.offered = true;
    held.shares = false;
    emit(worker_action::Close{held.result_stream()});
    emit(worker_action::Unshare{id});
    held.sending = false;
    held.stream_upto = 0;
    held.told.clear();
    held.previews.clear();
    while (!held.saving.empty()) end_saving(held, held.saving.begin()->first);
    for (auto& [sample, leaving] : held.leaving) {
      release_state(held, leaving);
      leaving.dropped = true;
    }
  }
  moved_.clear();
  for (const ShardId id : dropped) {
    tell(worker_note::ShardDropped{id, "a new session began"});
    forget(id, true);
  }
}

std::vector<OfferedSample> WorkerCore::offered(const Held& held) const {
  std::vector<OfferedSample> samples;
  for (std::size_t i = 0; i < held.assign.samples.size(); ++i) {
    const std::int64_t sample = held.assign.samples[i];
    const auto finished = held.finished.find(sample);
    if (finished != held.finished.end()) {
      samples.push_back({sample, finished->second.report.steps, true});
    } else if (!held.failed.contains(sample) && !held.leaving.contains(sample)) {
      samples.push_back({sample, i < held.sample_steps.size() ? held.sample_steps[i] : 0, false});
    }
  }
  return samples;
}

std::vector<OfferedShard> WorkerCore::offers() const {
  std::vector<OfferedShard> offers;
  for (const auto& [id, held] : shards_) {
    if (!held.offered) continue;
    OfferedShard offer{id,
                       held.assign.request,
                       held.assign.run,
                       held.assign.attempt,
                       held.assign.samples,
                       offered(held)};
    if (!offer.held.empty()) offers.push_back(std::move(offer));
  }
  return offers;
}

void WorkerCore::settle_offers(const std::vector<KeptShard>& kept) {
  std::vector<ShardId> dropped;
  for (auto& [id, held] : shards_) {
    if (!held.offered) continue;
    const auto found =
        std::find_if(kept.begin(), kept.end(),
                     [held_id = id](const KeptShard& shard) { return shard.shard == held_id; });
    if (found == kept.end()) {
      dropped.push_back(id);
    } else {
      keep_only(held, found->samples);
    }
  }
  for (const ShardId id : dropped) {
    tell(worker_note::ShardDropped{id, "others have its samples, or nobody wants them"});
    forget(id, true);
  }
}

/// Goes on with these samples of an offered shard: those that have ended are delivered.
void WorkerCore::keep_only(Held& held, const std::vector<std::int64_t>& samples) {
  const auto wanted = [&](std::int64_t sample) {
    return std::find(samples.begin(), samples.end(), sample) != samples.end();
  };
  held.offered = false;
  std::vector<SampleReport> reports;
  for (const OfferedSample& sample : offered(held)) {
    if (!wanted(sample.sample)) {
      held.leaving[sample.sample].dropped = true;
      if (!sample.done) emit(worker_action::Leave{held.assign.shard, sample.sample});
    } else if (sample.done) {
      reports.push_back(held.finished.at(sample.sample).report);
    }
  }
  if (!reports.empty()) deliver(held, reports, false);
  // Those that failed since they were offered.
  std::vector<SampleReport> failed;
  for (const std::int64_t sample : samples) {
    const auto found = held.failed.find(sample);
    if (found != held.failed.end()) failed.push_back(found->second);
  }
  if (!failed.empty()) deliver(held, failed, false);
  moved_.insert(held.assign.shard);
  if (!next_progress_) next_progress_ = now_ + options_.progress_interval;
}

}  // namespace pa
