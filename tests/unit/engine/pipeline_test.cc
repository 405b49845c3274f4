#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/support/model_folder.h"
#include "tests/support/shards.h"
#include "worker/engine/engine.h"
#include "worker/models/model_store.h"
#include "worker/models/registry.h"
#include "worker/models/tensors.h"

namespace pa {
namespace {

using test::Fixture;
using test::TempFolder;

at::Tensor tensor(const Fixture& fixture, const std::string& name) {
  const TensorView& view = fixture.view(name);
  return alias(view.spec, view.bytes, fixture.file().keep_alive());
}

/// A whole run of ComfyUI: its noise, conditions, schedule and sampler on a FLUX network.
class Pipeline : public ::testing::Test {
 protected:
  void SetUp() override {
    test::make_model_folder(models_, "flux", Fixture(fixture_.meta["base"].get<std::string>()));
    ASSERT_TRUE(store_.load(models_.path()).ok());
    body_.model = "flux";
    body_.samples = 2;
    body_.noise = NoiseKind::kGiven;
    body_.sampler.name = fixture_.meta["sampler"];
    body_.schedule = ScheduleSpec{fixture_.meta["scheduler"], fixture_.meta["steps"], 1.0};
    body_.positive = {Condition{"cond.0"}};
    const double guidance = fixture_.meta["guidance"];
    tensors_ = {{"noise", tensor(fixture_, "in.noise")},
                {"latent", tensor(fixture_, "in.latent")},
                {"cond.0.context", tensor(fixture_, "in.positive.context")},
                {"cond.0.y", tensor(fixture_, "in.positive.y")},
                {"cond.0.guidance", at::full({1}, guidance)}};
  }

  void expect_reference(const test::ShardOutcome& outcome, std::int64_t first) {
    const at::Tensor want = tensor(fixture_, "out.x").flatten(1);
    const double tolerance = fixture_.meta["atol"].get<double>() +
                             fixture_.meta["rtol"].get<double>() * want.abs().max().item<double>();
    for (const auto& [row, values] : outcome.rows) {
      EXPECT_LE((values - want[first + row]).abs().max().item<double>(), tolerance) << row;
    }
  }

  Fixture fixture_{"pipelines/flux_euler_simple4.safetensors"};
  TempFolder models_;
  ModelStore store_;
  Request body_;
  test::Tensors tensors_;
};

TEST_F(Pipeline, EqualsTheReference) {
  Engine engine(store_, {});
  engine.add(test::make_job(1, body_, {16, 10, 6}, {0, 1}, tensors_));
  const test::Outcome outcome = test::run(engine);
  ASSERT_EQ(outcome.shards.at(1).rows.size(), 2U);
  expect_reference(outcome.shards.at(1), 0);
  EXPECT_EQ(outcome.passes.size(), 4U);
  EXPECT_EQ(outcome.shards.at(1).moved.steps, 8);
}

TEST_F(Pipeline, EqualsTheReferenceInTwoShards) {
  test::Tensors second = tensors_;
  for (const char* name : {"noise", "latent"}) {
    second[name] = tensors_[name].narrow(0, 1, 1);
    tensors_[name] = tensors_[name].narrow(0, 0, 1);
  }
  Engine engine(store_, {});
  engine.add(test::make_job(1, body_, {16, 10, 6}, {0}, tensors_));
  engine.add(test::make_job(2, body_, {16, 10, 6}, {1}, second));
  const test::Outcome outcome = test::run(engine);
  ASSERT_EQ(outcome.shards.at(2).rows.size(), 1U);
  expect_reference(outcome.shards.at(1), 0);
  expect_reference(outcome.shards.at(2), 1);
  EXPECT_EQ(outcome.passes.size(), 4U);
}

TEST_F(Pipeline, TakesConditionsOfASampleOfItsOwn) {
  tensors_["cond.0.context.0"] = tensors_["cond.0.context"];
  tensors_["cond.0.context.1"] = tensors_["cond.0.context"].narrow(1, 0, 5);
  tensors_.erase("cond.0.context");
  Engine engine(store_, {});
  engine.add(test::make_job(1, body_, {16, 10, 6}, {0, 1}, tensors_));
  const test::Outcome outcome = test::run(engine);
  test::ShardOutcome first = outcome.shards.at(1);
  EXPECT_EQ(outcome.passes.size(), 8U);  // Texts of other lengths do not fit together.
  first.rows.erase(1);
  expect_reference(first, 0);
}

/// A network row does not depend on what else is in the pass.
TEST_F(Pipeline, MixedShardsEqualEachAlone) {
  std::vector<ShardJob> jobs;
  const std::vector<std::pair<std::string, int>> kinds{
      {"euler", 4}, {"heun", 3}, {"dpmpp_2m", 5}, {"dpm_2", 2}, {"res_multistep", 4}};
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    Request body = body_;
    body.samples = 3;
    body.noise = NoiseKind::kComfy;
    body.seed = 100 + i;
    body.sampler.name = kinds[i].first;
    body.schedule->steps = kinds[i].second;
    test::Tensors tensors = tensors_;
    tensors.erase("noise");
    tensors.erase("latent");
    jobs.push_back(test::make_job(i + 1, body, {16, 10, 6}, {0, 2}, tensors));
  }
  Engine together(store_, {.max_rows = 7});
  for (const ShardJob& job : jobs) together.add(job);
  const test::Outcome mixed = test::run(together);
  std::size_t passes_alone = 0;
  for (const ShardJob& job : jobs) {
    Engine alone(store_, {.max_rows = 7});
    alone.add(job);
    const test::Outcome outcome = test::run(alone);
    passes_alone += outcome.passes.size();
    const at::Tensor want = outcome.shards.at(job.shard.value).joined();
    const at::Tensor got = mixed.shards.at(job.shard.value).joined();
    EXPECT_LE((got - want).abs().max().item<double>(),
              1e-5 * std::max(1.0, want.abs().max().item<double>()))
        << job.body.sampler.name;
  }
  EXPECT_LT(mixed.passes.size(), passes_alone / 2);
}

TEST_F(Pipeline, DeterministicRunsEqualBitForBitWhateverElseRuns) {
  body_.deterministic = true;
  const ShardJob job = test::make_job(1, body_, {16, 10, 6}, {0, 1}, tensors_);
  Engine alone(store_, {});
  alone.add(job);
  const test::Outcome want = test::run(alone);
  for (const PassDone& pass : want.passes) EXPECT_EQ(pass.rows, 1);

  Engine mixed(store_, {});
  Request other = body_;
  other.deterministic = false;
  mixed.add(test::make_job(2, other, {16, 10, 6}, {0, 1}, tensors_));
  mixed.add(job);
  const test::Outcome got = test::run(mixed);
  EXPECT_TRUE(at::equal(got.shards.at(1).joined(), want.shards.at(1).joined()));
}

/// Two models of which only one fits in memory at a time.
TEST(ModelsThatDoNotFitTogether, TakeTurns) {
  const Fixture fixture("models/flux_dev_b1_text33.safetensors");  // BF16: widened on a CPU.
  const TempFolder models;
  test::make_model_folder(models, "a", fixture);
  test::make_model_folder(models, "b", fixture);
  FileHashes hashes;
  const std::int64_t bytes =
      replica_size(read_model_folder(models.path("a"), hashes).value(), Device{}).owned_bytes;
  ModelStore store(Device{}, {.memory_bytes = bytes + bytes / 2});
  ASSERT_TRUE(store.load(models.path()).ok());
  Request body;
  body.op = Operation::kForward;
  body.samples = 1;
  body.positive = {Condition{"cond.0"}};
  test::Tensors tensors{{"x", tensor(fixture, "in.x")},
                        {"timestep", tensor(fixture, "in.timestep")}};
  for (const char* const name : {"context", "y", "guidance"}) {
    tensors[std::string("cond.0.") + name] = tensor(fixture, std::string("in.") + name);
  }
  const at::Tensor want = tensor(fixture, "out.y");
  const Shape row(want.sizes().begin() + 1, want.sizes().end());
  Engine engine(store, {});
  for (std::uint64_t i = 1; i <= 4; ++i) {
    body.model = i % 2 == 1 ? "a" : "b";
    engine.add(test::make_job(i, body, row, {0}, tensors));
  }
  EXPECT_NE(store.find("a"), nullptr);
  const test::Outcome outcome = test::run(engine);
  EXPECT_TRUE(engine.idle());
  for (std::uint64_t i = 1; i <= 4; ++i) {
    ASSERT_EQ(outcome.shards.at(i).rows.size(), 1U) << i;
    EXPECT_LE((outcome.shards.at(i).rows.at(0) - want.flatten()).abs().max().item<double>(), 1e-3);
  }
}

/// Whole runs of every family, whose samplers draw no noise on the way.
class FamilyPipeline : public ::testing::TestWithParam<std::string> {};

TEST_P(FamilyPipeline, EqualsTheReference) {
  const Fixture fixture("pipelines/" + GetParam());
  const TempFolder models;
  test::make_model_folder(models, "m", Fixture(fixture.meta["base"].get<std::string>()));
  ModelStore store;
  ASSERT_TRUE(store.load(models.path()).ok());
  const at::Tensor want = tensor(fixture, "out.x");
  Request body;
  body.model = "m";
  body.samples = want.size(0);
  body.noise = NoiseKind::kGiven;
  body.sampler.name = fixture.meta["sampler"];
  body.schedule =
      ScheduleSpec{fixture.meta["scheduler"], fixture.meta["steps"], fixture.meta["denoise"]};
  body.guidance.cfg = fixture.meta["cfg"];
  body.positive = {Condition{"cond.0"}};
  test::Tensors tensors{{"noise", tensor(fixture, "in.noise")},
                        {"latent", tensor(fixture, "in.latent")}};
  if (fixture.meta["guidance"].is_number()) {
    tensors["cond.0.guidance"] = at::full({1}, fixture.meta["guidance"].get<double>());
  }
  for (const char* const name : {"context", "y"}) {
    const std::string positive = std::string("in.positive.") + name;
    const std::string negative = std::string("in.negative.") + name;
    if (fixture.has(positive)) {
      tensors[std::string("cond.0.") + name] = tensor(fixture, positive);
    }
    if (!fixture.has(negative)) continue;
    body.negative = {Condition{"cond.1"}};
    tensors[std::string("cond.1.") + name] = tensor(fixture, negative);
  }
  std::vector<std::int64_t> samples(static_cast<std::size_t>(body.samples));
  std::iota(samples.begin(), samples.end(), 0);
  const Shape row(want.sizes().begin() + 1, want.sizes().end());
  Engine engine(store, {});
  engine.add(test::make_job(1, body, row, samples, tensors));
  const test::Outcome outcome = test::run(engine);
  ASSERT_EQ(outcome.shards.at(1).rows.size(), samples.size());
  const double tolerance = fixture.meta["atol"].get<double>() +
                           fixture.meta["rtol"].get<double>() * want.abs().max().item<double>();
  for (const auto& [i, values] : outcome.shards.at(1).rows) {
    EXPECT_LE((values - want[i].flatten()).abs().max().item<double>(), tolerance) << i;
  }
}

std::vector<std::string> deterministic_pipelines() {
  std::vector<std::string> names = test::fixtures_in("pipelines");
  std::erase_if(
      names, [](const std::string& name) { return Fixture("pipelines/" + name).has("noise.z"); });
  return names;
}

INSTANTIATE_TEST_SUITE_P(Pipelines, FamilyPipeline, ::testing::ValuesIn(deterministic_pipelines()),
                         [](const auto& param) {
                           return param.param.substr(0, param.param.find('.'));
                         });

}  // namespace
}  // namespace pa
