// Every sampler, schedule and prediction type: however the samples of a request are cut into shards,
// moved, cancelled and resumed, they have the bits of one run that was left alone.
//
// A normal run tries every sampler with every prediction type on one schedule each, which differs from
// sampler to sampler; with PA_FULL_SIZE=1 on all of them.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "shared/sampling/samplers.h"
#include "shared/sampling/schedules.h"
#include "tests/support/shards.h"
#include "worker/engine/engine.h"
#include "worker/models/analytic.h"
#include "worker/models/model_store.h"
#include "worker/models/replica.h"

namespace pa {
namespace {

constexpr std::int64_t kSamples = 3;
constexpr int kMostOfAStep = 20;   // Passes until a sample is at its next step, and more.
constexpr std::size_t kTries = 6;  // Of moments at which a sample may be in the middle.
const Shape kRow{2, 3, 4};

using Partition = std::vector<std::vector<std::int64_t>>;
/// All ways to share three samples out, but for leaving them together.
const std::vector<Partition> kPartitions{
    {{0}, {1}, {2}}, {{0, 1}, {2}}, {{0, 2}, {1}}, {{0}, {1, 2}}};

using Rows = std::map<std::int64_t, at::Tensor>;  // By sample.

/// A prediction type and a sigma table.
struct Kind {
  SamplingInfo sampling;

  [[nodiscard]] std::string name() const { return sampling.prediction + "_" + sampling.type; }
  friend void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name(); }
};

class SamplingProperties : public ::testing::TestWithParam<Kind> {
 protected:
  SamplingProperties() {
    Replica replica;
    replica.info.name = "m";
    replica.info.family = "analytic";
    replica.info.sampling = GetParam().sampling;
    replica.network = make_analytic({{0.6, 0.4}, {-0.7, 1.1}, {0.09, 0.25}}, GetParam().sampling);
    replica.info.inputs = replica.network->input_contract();
    store_.add(std::move(replica));
  }

  [[nodiscard]] ShardJob job(std::uint64_t id, const std::vector<std::int64_t>& samples,
                             const test::Tensors& checkpoints = {}) const {
    test::Tensors tensors{{"cond.0.mu", at::full({1}, 0.5)}, {"cond.1.mu", at::full({1}, -0.3)}};
    tensors.insert(checkpoints.begin(), checkpoints.end());
    ShardJob job = test::make_job(id, body_, kRow, samples, tensors);
    job.request = {1, 1};
    return job;
  }

  /// Runs shards beside each other to their end.
  Rows run(const std::vector<ShardJob>& shards) {
    Engine engine(store_, {});
    for (const ShardJob& shard : shards) engine.add(shard);
    const test::Outcome outcome = test::run(engine);
    passes_ = outcome.passes.size();
    Rows rows;
    for (const ShardJob& shard : shards) {
      const test::ShardOutcome& made = outcome.shards.at(shard.shard.value);
      for (std::size_t i = 0; i < shard.samples.size(); ++i) {
        const auto row = static_cast<std::int64_t>(i);
        EXPECT_FALSE(made.samples.at(row).failed) << made.samples.at(row).error.message;
        if (made.rows.contains(row)) rows[shard.samples[i]] = made.rows.at(row);
      }
    }
    return rows;
  }

  /// One sample on a fresh engine from every step on.
  at::Tensor run_moving(std::int64_t sample) {
    test::Tensors checkpoint;
    for (int moves = 0; moves < 100; ++moves) {
      Engine engine(store_, {});
      engine.add(job(1, {sample}, checkpoint));
      std::vector<EngineReport> reports;
      engine.pass(reports);
      engine.leave({1}, sample);
      while (!engine.idle()) engine.pass(reports);
      test::Outcome outcome;
      outcome.take(reports);
      if (outcome.shards[1].rows.contains(0)) {
        EXPECT_GE(moves, 1) << "it did not move";
        return outcome.shards[1].rows.at(0);
      }
      checkpoint = checkpoint_in(reports);
      if (checkpoint.empty()) break;
    }
    ADD_FAILURE() << "it did not come to its end";
    return {};
  }

  /// All samples in one shard; after some passes one leaves with what it has, and the shard is
  /// cancelled. The checkpoint; empty if that one had not begun yet, or was done.
  test::Tensors cancel_after(int passes, std::int64_t kept) {
    Engine engine(store_, {});
    engine.add(job(1, test::first_samples(kSamples)));
    std::vector<EngineReport> reports;
    const auto pass = [&] {
      engine.settle(reports);
      engine.pass(reports);
    };
    for (int i = 0; i < passes; ++i) pass();
    engine.leave({1}, kept);
    for (int i = 0; i < kMostOfAStep && checkpoint_in(reports).empty(); ++i) pass();
    engine.cancel({1});
    const std::size_t before = reports.size();
    EXPECT_TRUE(engine.idle());
    engine.pass(reports);
    EXPECT_EQ(reports.size(), before) << "a cancelled shard was heard of";
    return checkpoint_in(reports);
  }

  /// Cancelled in the middle of a run of `passes`, then all of it runs again, one sample from where it
  /// was.
  Rows run_cancelled(std::size_t passes, std::size_t index, std::int64_t kept) {
    test::Tensors checkpoint;
    for (std::size_t i = 0; i < kTries && checkpoint.empty(); ++i) {
      const std::size_t moment = (index + i * passes / kTries) % passes;
      checkpoint = cancel_after(static_cast<int>(moment), kept);
    }
    EXPECT_FALSE(checkpoint.empty()) << "it never left";
    return run({job(2, test::first_samples(kSamples), checkpoint)});
  }

  static test::Tensors checkpoint_in(const std::vector<EngineReport>& reports) {
    for (const EngineReport& report : reports) {
      const auto* left = std::get_if<SampleLeft>(&report);
      if (left == nullptr || left->checkpoint.empty()) continue;
      at::Tensor bytes = at::empty({static_cast<std::int64_t>(left->checkpoint.size())}, at::kByte);
      std::memcpy(bytes.mutable_data_ptr(), left->checkpoint.data(), left->checkpoint.size());
      return {{"checkpoint." + std::to_string(left->sample), bytes}};
    }
    return {};
  }

  void check(std::size_t index) {
    const Rows want = run({job(1, test::first_samples(kSamples))});
    ASSERT_EQ(want.size(), std::size_t{kSamples});
    const std::size_t passes = passes_;
    const auto expect_bits = [&](const Rows& got, const std::string& how) {
      for (const auto& [sample, row] : want) {
        const auto found = got.find(sample);
        ASSERT_NE(found, got.end()) << how;
        EXPECT_TRUE(at::equal(found->second, row)) << how << ", sample " << sample;
      }
    };
    for (const Partition& partition : kPartitions) {
      std::vector<ShardJob> shards;
      for (const auto& samples : partition) shards.push_back(job(shards.size() + 1, samples));
      expect_bits(run(shards), "in " + std::to_string(shards.size()) + " shards");
    }
    const auto sample = static_cast<std::int64_t>(index % kSamples);
    const at::Tensor moved = run_moving(sample);
    ASSERT_TRUE(moved.defined());
    EXPECT_TRUE(at::equal(moved, want.at(sample))) << "moved at every step";
    expect_bits(run_cancelled(passes, index, sample), "cancelled and resumed");
  }

  Request body_;

 private:
  std::size_t passes_ = 0;  // Of the last run().
  ModelStore store_;
};

TEST_P(SamplingProperties, HoldForEverySamplerAndSchedule) {
  const bool all = std::getenv("PA_FULL_SIZE") != nullptr;  // NOLINT(concurrency-mt-unsafe)
  const std::vector<std::string>& schedules = schedule_names();
  std::size_t index = GetParam().name().size();  // Differs among most types.
  for (const std::string& sampler : sampler_names()) {
    ++index;
    for (std::size_t k = 0; k < schedules.size(); ++k) {
      if (!all && k != index % schedules.size()) continue;
      SCOPED_TRACE(sampler + " on " + schedules[k]);
      body_ = Request{};
      body_.model = "m";
      body_.samples = kSamples;
      body_.seed = 11 + index;
      body_.noise = index % 2 == 0 ? NoiseKind::kComfy : NoiseKind::kKeyed;
      body_.deterministic = true;
      body_.sampler.name = sampler;
      body_.schedule = ScheduleSpec{schedules[k], 5, 1.0};
      body_.guidance.cfg = 2.0;
      body_.positive = {Condition{"cond.0"}};
      body_.negative = {Condition{"cond.1"}};
      check(index + k);
    }
  }
}

std::vector<Kind> kinds() {
  return {
      {{"flow", "flow", 3.0, 1.0}},
      {{"flow", "flux", 1.15, 1.0}},
      {{.prediction = "eps", .type = "discrete"}},
      {{.prediction = "v", .type = "discrete", .zero_terminal_snr = true}},
      {{.prediction = "edm", .type = "discrete"}},
      {{.prediction = "eps", .type = "continuous"}},
      {{.prediction = "v", .type = "continuous"}},
      {{.prediction = "edm", .type = "continuous"}},
  };
}

INSTANTIATE_TEST_SUITE_P(All, SamplingProperties, ::testing::ValuesIn(kinds()),
                         [](const auto& test) { return test.param.name(); });

}  // namespace
}  // namespace pa
