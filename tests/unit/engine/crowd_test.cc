// 200 requests of different samplers, steps, seeds, guidance and sizes at once, on the demo model and an
// analytic one: what each gives does not depend on who else is there, on memory, or on moving.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "shared/sampling/samplers.h"
#include "shared/sampling/schedules.h"
#include "tests/support/paths.h"
#include "tests/support/shards.h"
#include "worker/engine/engine.h"
#include "worker/models/analytic.h"
#include "worker/models/model_store.h"
#include "worker/models/replica.h"

namespace pa {
namespace {

constexpr std::uint64_t kRequests = 200;
constexpr double kTolerance = 1e-4;

class CrowdTest : public ::testing::Test {
 protected:
  struct Member {
    Request body;
    Shape row;
    test::Tensors tensors;
  };

  CrowdTest() {
    PA_CHECK(store_.load(test::source_path("config/models")).ok());
    Replica analytic;
    analytic.info.name = "analytic";
    analytic.info.family = "analytic";
    analytic.info.sampling.prediction = "eps";
    analytic.info.sampling.type = "discrete";
    analytic.network =
        make_analytic({{0.6, 0.4}, {-0.7, 1.1}, {0.09, 0.25}}, analytic.info.sampling);
    analytic.info.inputs = analytic.network->input_contract();
    store_.add(std::move(analytic));
    while (members_.size() < kRequests) add_member();
  }

  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  template <class T>
  const T& pick_of(const std::vector<T>& list) {
    return list[static_cast<std::size_t>(pick(0, static_cast<int>(list.size()) - 1))];
  }

  void add_member() {
    Member member;
    Request& body = member.body;
    const bool digits = pick(0, 2) > 0;
    body.model = digits ? "digits" : "analytic";
    body.samples = pick(1, 4);
    body.seed = static_cast<std::uint64_t>(pick(0, 1 << 30));
    body.noise = pick(0, 1) == 0 ? NoiseKind::kComfy : NoiseKind::kKeyed;
    body.sampler.name = pick_of(sampler_names());
    body.schedule = ScheduleSpec{digits ? "simple" : pick_of(schedule_names()), pick(2, 9), 1.0};
    body.guidance.cfg = pick(0, 1) == 0 ? 1.0 : 2.5;
    body.priority = pick(0, 1);
    if (digits) {
      member.row = {1, 8, 8};
      for (std::int64_t i = 0; i < body.samples; ++i) {
        body.labels.push_back(std::to_string(pick(0, 9)));
      }
    } else {
      member.row = {2, pick(2, 4), pick(2, 4)};
      body.positive = {Condition{"cond.0"}};
      body.negative = {Condition{"cond.1"}};
      member.tensors = {{"cond.0.mu", at::full({1}, 0.5)}, {"cond.1.mu", at::full({1}, -0.3)}};
    }
    members_.push_back(std::move(member));
  }

  ShardJob job(std::uint64_t id, bool deterministic, const test::Tensors& more = {}) {
    Member& member = members_[id];
    member.body.deterministic = deterministic;
    test::Tensors tensors = member.tensors;
    tensors.insert(more.begin(), more.end());
    return test::make_job(id, member.body, member.row, test::first_samples(member.body.samples),
                          tensors);
  }

  /// What every request gives alone; empty for those whose sampler cannot run.
  std::vector<at::Tensor> alone(bool deterministic) {
    std::vector<at::Tensor> results;
    for (std::uint64_t id = 0; id < kRequests; ++id) {
      Engine engine(store_, {});
      engine.add(job(id, deterministic));
      const test::ShardOutcome outcome = test::run(engine).shards.at(id);
      results.push_back(outcome.rows.empty() ? at::Tensor() : outcome.joined());
    }
    return results;
  }

  /// The same of all at once, some joining late, on a device with little memory; now and then samples
  /// leave and come back.
  std::vector<at::Tensor> crowded(bool deterministic) {
    EngineOptions options;
    options.sim = SimDevice{};
    options.sim->memory_rows = 5;
    Engine engine(store_, options);
    test::Outcome outcome;
    std::vector<EngineReport> reports;
    std::uint64_t next = 0;
    int moves = 0;
    for (int pass = 0; next < kRequests || !engine.idle(); ++pass) {
      PA_CHECK(pass < 100000);
      for (int i = 0; i < 3 && next < kRequests; ++i) engine.add(job(next++, deterministic));
      engine.pass(reports);
      if (pass % 5 == 0) {
        engine.leave({static_cast<std::uint64_t>(pick(0, static_cast<int>(next) - 1))}, pick(0, 1));
      }
      for (const EngineReport& report : reports) {
        const auto* left = std::get_if<SampleLeft>(&report);
        if (left == nullptr) continue;
        engine.add(come_back(*left, deterministic));
        ++moves;
      }
      outcome.take(reports);
      reports.clear();
    }
    EXPECT_GT(moves, 20);
    std::vector<at::Tensor> results;
    for (std::uint64_t id = 0; id < kRequests; ++id) {
      std::map<std::int64_t, at::Tensor> rows = outcome.shards[id].rows;
      for (std::int64_t sample = 0; sample < 4; ++sample) {
        const auto moved = outcome.shards.find(shard_of(id, sample));
        if (moved != outcome.shards.end()) rows.insert({sample, moved->second.rows.at(0)});
      }
      std::vector<at::Tensor> parts;
      for (const auto& entry : rows) parts.push_back(entry.second);
      results.push_back(parts.empty() ? at::Tensor() : at::stack(parts));
    }
    return results;
  }

  static std::uint64_t shard_of(std::uint64_t request, std::int64_t sample) {
    return 1000 + request * 10 + static_cast<std::uint64_t>(sample);
  }

  /// A shard of its own for a sample that left.
  ShardJob come_back(const SampleLeft& left, bool deterministic) {
    const Member& member = members_[left.shard.value];
    test::Tensors tensors = member.tensors;
    if (!left.checkpoint.empty()) {
      at::Tensor bytes = at::empty({static_cast<std::int64_t>(left.checkpoint.size())}, at::kByte);
      std::memcpy(bytes.mutable_data_ptr(), left.checkpoint.data(), left.checkpoint.size());
      tensors["checkpoint." + std::to_string(left.sample)] = bytes;
    }
    Request body = member.body;
    body.deterministic = deterministic;
    ShardJob job = test::make_job(shard_of(left.shard.value, left.sample), body, member.row,
                                  {left.sample}, tensors);
    job.request = {1, left.shard.value};
    return job;
  }

  std::mt19937 random_{20};
  ModelStore store_;
  std::vector<Member> members_;
};

TEST_F(CrowdTest, DeterministicRequestsGiveTheirBits) {
  const std::vector<at::Tensor> want = alone(true);
  const std::vector<at::Tensor> got = crowded(true);
  for (std::size_t id = 0; id < kRequests; ++id) {
    ASSERT_EQ(got[id].defined(), want[id].defined()) << id;
    if (!got[id].defined()) continue;
    EXPECT_TRUE(at::equal(got[id], want[id])) << members_[id].body.sampler.name;
  }
}

TEST_F(CrowdTest, OthersGiveTheSameButForRounding) {
  const std::vector<at::Tensor> want = alone(false);
  const std::vector<at::Tensor> got = crowded(false);
  for (std::size_t id = 0; id < kRequests; ++id) {
    ASSERT_EQ(got[id].defined(), want[id].defined()) << id;
    if (!got[id].defined()) continue;
    const double scale = std::max(1.0, want[id].abs().max().item<double>());
    EXPECT_LE((got[id] - want[id]).abs().max().item<double>() / scale, kTolerance)
        << members_[id].body.sampler.name;
  }
}

}  // namespace
}  // namespace pa
