#pragma once

#include <ATen/ATen.h>

#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "shared/core/tensor_spec.h"
#include "worker/core/shard_job.h"
#include "worker/engine/engine.h"

/// Shards by hand, for tests of the engine.
namespace pa::test {

using Tensors = std::map<std::string, at::Tensor>;

/// A shard of these samples; tensors are F32, or U8 if they are bytes.
inline ShardJob make_job(std::uint64_t id, const Request& body, const Shape& row,
                         std::vector<std::int64_t> samples, const Tensors& tensors = {}) {
  ShardJob job;
  job.shard = {id};
  job.request = {1, id};
  job.body = body;
  job.samples = std::move(samples);
  job.result = {"samples", DType::kF32, {std::ssize(job.samples)}};
  job.result.shape.insert(job.result.shape.end(), row.begin(), row.end());
  for (const auto& [name, tensor] : tensors) {
    const bool bytes = tensor.scalar_type() == at::kByte;
    job.tensors.push_back({name, bytes ? DType::kU8 : DType::kF32, tensor.sizes().vec()});
  }
  const InputLayout layout = input_layout(job.tensors).value();
  const auto size = static_cast<std::size_t>(std::max<std::uint64_t>(layout.total, 1));
  std::shared_ptr<std::byte> data(
      static_cast<std::byte*>(std::aligned_alloc(64, (size + 63) / 64 * 64)),
      [](std::byte* bytes) { std::free(bytes); });
  job.inputs = Buffer(data, layout.total);
  std::size_t i = 0;
  for (const auto& entry : tensors) {
    const bool bytes = entry.second.scalar_type() == at::kByte;
    const at::Tensor tensor = entry.second.to(bytes ? at::kByte : at::kFloat).contiguous();
    std::memcpy(data.get() + layout.offsets[i++], tensor.const_data_ptr(), tensor.nbytes());
  }
  return job;
}

inline std::vector<std::int64_t> first_samples(std::int64_t count) {
  std::vector<std::int64_t> samples(static_cast<std::size_t>(count));
  std::iota(samples.begin(), samples.end(), std::int64_t{0});
  return samples;
}

/// Everything an engine reported of one shard.
struct ShardOutcome {
  std::map<std::int64_t, at::Tensor> rows;       ///< By row, without the row axis' shape: flat.
  std::map<std::int64_t, SampleReport> samples;  ///< By row.
  ShardMoved moved;
  std::vector<std::int64_t> reports;  ///< Rows in each RowsFinished.

  /// All rows, [rows, ...] flat.
  [[nodiscard]] at::Tensor joined() const {
    std::vector<at::Tensor> parts;
    for (const auto& entry : rows) parts.push_back(entry.second);
    return at::stack(parts);
  }
};

struct Outcome {
  std::map<std::uint64_t, ShardOutcome> shards;
  std::vector<PassDone> passes;

  void take(const std::vector<EngineReport>& reports) {
    for (const EngineReport& report : reports) {
      if (const auto* pass = std::get_if<PassDone>(&report)) passes.push_back(*pass);
      if (const auto* moved = std::get_if<ShardMoved>(&report)) {
        shards[moved->shard.value].moved = *moved;
      }
      if (const auto* finished = std::get_if<RowsFinished>(&report)) take(*finished);
    }
  }

 private:
  void take(const RowsFinished& finished) {
    ShardOutcome& shard = shards[finished.shard.value];
    const auto count = std::ssize(finished.samples);
    shard.reports.push_back(count);
    const std::uint64_t row_bytes = finished.bytes.size() / static_cast<std::uint64_t>(count);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t row = finished.first_row + i;
      PA_CHECK(!shard.samples.contains(row));
      shard.samples[row] = finished.samples[static_cast<std::size_t>(i)];
      if (finished.bytes.empty()) continue;
      const at::Tensor values = at::empty({static_cast<std::int64_t>(row_bytes / sizeof(float))});
      std::memcpy(values.mutable_data_ptr(),
                  finished.bytes.data() + static_cast<std::uint64_t>(i) * row_bytes, row_bytes);
      shard.rows[row] = values;
    }
  }
};

/// Runs until nothing is left to do.
inline Outcome run(Engine& engine) {
  Outcome outcome;
  std::vector<EngineReport> reports;
  for (int passes = 0; !engine.idle(); ++passes) {
    PA_CHECK(passes < 100000);
    engine.settle(reports);
    engine.pass(reports);
    outcome.take(reports);
    reports.clear();
  }
  return outcome;
}

}  // namespace pa::test
