#pragma once

#include "worker/core/actions.h"
#include "worker/io/compute_link.h"
#include "worker/io/worker_metrics.h"

namespace pa {

/// Turns what the worker's core notes into log lines and metrics.
class WorkerNotes {
 public:
  explicit WorkerNotes(WorkerMetrics& metrics) : metrics_(metrics) {}

  void take(const WorkerNote& note);

 private:
  WorkerMetrics& metrics_;
};

/// Counts what passes between loop and device.
class MeteredCompute : public ComputeLink {
 public:
  MeteredCompute(ComputeLink& device, WorkerMetrics& metrics)
      : device_(device), metrics_(metrics) {}

  void run(ShardJob job) override { device_.run(std::move(job)); }
  void cancel(ShardId shard) override { device_.cancel(shard); }
  void leave(ShardId shard, std::int64_t sample) override { device_.leave(shard, sample); }
  void save(ShardId shard, std::int64_t sample) override { device_.save(shard, sample); }
  void prefetch(const std::string& model) override { device_.prefetch(model); }
  [[nodiscard]] std::optional<EngineReport> poll() override;
  [[nodiscard]] std::int64_t free_memory_bytes() const override;
  [[nodiscard]] bool is_loading() const override { return device_.is_loading(); }
  [[nodiscard]] bool is_computing() const override { return device_.is_computing(); }
  [[nodiscard]] std::vector<LoadedModel> loaded() const override { return device_.loaded(); }

 private:
  ComputeLink& device_;
  WorkerMetrics& metrics_;
};

}  // namespace pa
