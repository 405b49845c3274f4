#include "worker/engine/engine.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>

#include "tests/support/shards.h"
#include "worker/models/model_store.h"
#include "worker/models/noop.h"
#include "worker/models/replica.h"

namespace pa {
namespace {

using test::Outcome;
using test::ShardOutcome;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Answers x * sigma + mean(context), row by row, so that equal rows give equal bits in any pass; and
/// remembers what it was asked.
class Fake : public Network {
 public:
  explicit Fake(bool wants_context) {
    if (wants_context) inputs_ = {{"context", DType::kF32, {-1}, true}};
  }

  [[nodiscard]] Result<at::Tensor> forward(const Rows& rows) override {
    passes.push_back(rows.x.size(0));
    if (rows.x.size(0) > memory_rows) return overloaded("no memory for so many rows");
    if (error) return *error;
    if (throws) return rows.x + at::ones({rows.x.size(-1) + 1});
    const at::Tensor out = at::empty_like(rows.x);
    for (std::int64_t i = 0; i < rows.x.size(0); ++i) {
      sigmas.push_back(rows.sigma[i].item<float>());
      out[i] = rows.x[i] * rows.sigma[i];
      if (!inputs_.empty()) out[i] += rows.inputs.at("context")[i].mean();
    }
    return out;
  }
  [[nodiscard]] const std::vector<InputSpec>& input_contract() const override { return inputs_; }

  std::vector<std::int64_t> passes;
  std::vector<float> sigmas;
  std::int64_t memory_rows = 1000;
  std::optional<Error> error;
  bool throws = false;

 private:
  std::vector<InputSpec> inputs_;
};

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() {
    fake_ = add(std::make_unique<Fake>(false), "fake");
    conditioned_ = add(std::make_unique<Fake>(true), "conditioned");
    add(std::make_unique<Noop>(), "noop", "noop");
    body_.model = "fake";
    body_.samples = 8;
    body_.seed = 5;
    body_.schedule = ScheduleSpec{"simple", 3, 1.0};
  }

  template <class T>
  T* add(std::unique_ptr<T> network, const std::string& name, const std::string& family = "fake") {
    T* const raw = network.get();
    Replica replica;
    replica.info.name = name;
    replica.info.family = family;
    replica.info.identity = "sha256:" + name;
    replica.info.inputs = raw->input_contract();
    for (const char* label : {"a", "b", "none"}) {
      replica.labels[label]["context"] = at::full({1, 3}, static_cast<double>(label[0] - 'a' + 1));
      replica.info.labels.emplace_back(label);
    }
    replica.network = std::move(network);
    store_.add(std::move(replica));
    return raw;
  }

  ShardJob job(std::uint64_t id, std::vector<std::int64_t> samples,
               const test::Tensors& tensors = {}) const {
    return test::make_job(id, body_, kRow, std::move(samples), tensors);
  }

  /// The error that all of a shard's samples end with.
  Error refusal(const ShardJob& shard) {
    Engine engine(store_, {});
    engine.add(shard);
    const Outcome outcome = test::run(engine);
    const ShardOutcome& got = outcome.shards.at(shard.shard.value);
    EXPECT_EQ(got.samples.size(), shard.samples.size());
    EXPECT_TRUE(outcome.passes.empty());
    for (const auto& entry : got.samples) EXPECT_TRUE(entry.second.failed);
    return got.samples.at(0).error;
  }

  static inline const Shape kRow{2, 4, 4};
  ModelStore store_;
  Fake* fake_ = nullptr;
  Fake* conditioned_ = nullptr;
  Request body_;
};

TEST_F(EngineTest, RunsAShardAndReportsAllOfIt) {
  Engine engine(store_, {});
  EXPECT_TRUE(engine.idle());
  engine.add(job(1, {0, 1, 2}));
  EXPECT_FALSE(engine.idle());
  const Outcome outcome = test::run(engine);
  const ShardOutcome& shard = outcome.shards.at(1);
  EXPECT_EQ(shard.rows.size(), 3U);
  EXPECT_THAT(shard.reports, ElementsAre(3));  // In one piece.
  EXPECT_EQ(shard.moved.steps, 9);
  EXPECT_EQ(shard.samples.at(2).sample, 2);
  EXPECT_EQ(shard.samples.at(2).steps, 3);
  double seconds = 0;
  ASSERT_EQ(outcome.passes.size(), 3U);
  for (const PassDone& pass : outcome.passes) {
    EXPECT_EQ(pass.model, "fake");
    EXPECT_EQ(pass.rows, 3);
    EXPECT_GE(pass.seconds, pass.network_seconds);
    seconds += pass.seconds;
  }
  EXPECT_NEAR(shard.moved.seconds, seconds, 1e-9);
  EXPECT_NEAR(shard.samples.at(0).seconds * 3, seconds, 1e-9);
  EXPECT_EQ(fake_->sigmas.front(), 1.0F);
}

TEST_F(EngineTest, EulerIsEuler) {
  body_.noise = NoiseKind::kGiven;
  body_.sigmas = {0.8F, 0.5F, 0.0F};
  body_.schedule.reset();
  const at::Tensor noise = at::arange(32, at::kFloat).reshape({1, 2, 4, 4});
  const at::Tensor latent = at::full({1, 2, 4, 4}, 3.0);
  Engine engine(store_, {});
  engine.add(job(1, {0}, {{"noise", noise}, {"latent", latent}}));
  at::Tensor x = noise * 0.8 + latent * (1.0 - 0.8);
  for (const auto& [a, b] : {std::pair{0.8, 0.5}, {0.5, 0.0}}) x = x + (b - a) * (x * a);
  const at::Tensor got = test::run(engine).shards.at(1).joined();
  EXPECT_LE((got - x.flatten(1)).abs().max().item<double>(), 1e-5);
}

TEST_F(EngineTest, DividesLeftoverNoiseOut) {
  body_.sigmas = {0.8F, 0.5F};
  body_.schedule.reset();
  body_.leftover_noise = true;
  body_.noise = NoiseKind::kGiven;
  const at::Tensor noise = at::ones({1, 2, 4, 4});
  Engine engine(store_, {});
  engine.add(job(1, {0}, {{"noise", noise}}));
  const double x = 0.8 + (0.5 - 0.8) * (0.8 * 0.8);
  EXPECT_NEAR(test::run(engine).shards.at(1).rows.at(0)[0].item<float>(), x / 0.5, 1e-5);
}

TEST_F(EngineTest, StartsWithoutNoiseIfAskedTo) {
  body_.add_noise = false;
  Engine engine(store_, {});
  engine.add(job(1, {0}));
  EXPECT_EQ(test::run(engine).shards.at(1).rows.at(0).abs().max().item<float>(), 0.0F);
}

TEST_F(EngineTest, ASampleIsTheSameInAnySplit) {
  for (const NoiseKind noise : {NoiseKind::kComfy, NoiseKind::kKeyed}) {
    body_.noise = noise;
    Engine whole(store_, {});
    whole.add(job(1, test::first_samples(8)));
    const ShardOutcome want = test::run(whole).shards.at(1);
    Engine split(store_, {.max_rows = 3});
    split.add(job(2, {6, 7}));
    split.add(job(3, {0, 1, 2, 3, 4, 5}));
    const Outcome got = test::run(split);
    EXPECT_TRUE(at::equal(got.shards.at(2).rows.at(1), want.rows.at(7)));
    EXPECT_TRUE(at::equal(got.shards.at(3).rows.at(4), want.rows.at(4)));
    EXPECT_FALSE(at::equal(want.rows.at(4), want.rows.at(7)));
  }
}

TEST_F(EngineTest, ShardsOfOtherSamplersAndStepsShareAPass) {
  std::vector<ShardJob> jobs{job(1, {0, 1})};
  body_.sampler.name = "heun";
  body_.schedule->steps = 2;
  jobs.push_back(job(2, {2}));
  body_.sampler.name = "dpmpp_2m";
  body_.schedule->steps = 5;
  jobs.push_back(job(3, {3}));
  Engine together(store_, {});
  for (const ShardJob& each : jobs) together.add(each);
  const Outcome mixed = test::run(together);
  EXPECT_THAT(fake_->passes, ElementsAre(4, 4, 4, 1, 1));
  for (const ShardJob& each : jobs) {
    Engine alone(store_, {});
    alone.add(each);
    const ShardOutcome want = test::run(alone).shards.at(each.shard.value);
    const ShardOutcome& got = mixed.shards.at(each.shard.value);
    EXPECT_TRUE(at::equal(got.joined(), want.joined()));
    EXPECT_EQ(got.moved.steps, want.moved.steps);
  }
}

TEST_F(EngineTest, CountsAStepOfTwoEvaluationsOnce) {
  body_.sampler.name = "heun";
  Engine engine(store_, {});
  engine.add(job(1, {0}));
  std::vector<std::int64_t> steps;
  std::vector<EngineReport> reports;
  while (!engine.idle()) {
    engine.pass(reports);
    Outcome outcome;
    outcome.take(reports);
    reports.clear();
    steps.push_back(outcome.shards.at(1).moved.steps);
  }
  EXPECT_THAT(steps, ElementsAre(0, 1, 1, 2, 3));
}

TEST_F(EngineTest, AShortRequestGoesFirstAndALongOneFillsThePasses) {
  Engine engine(store_, {.max_rows = 2});
  engine.add(job(1, {0, 1, 2}));
  engine.add(job(2, {3}));
  const Outcome outcome = test::run(engine);
  EXPECT_THAT(outcome.shards.at(1).reports,
              ElementsAre(1, 2));  // First beside sample 3, then both.
  EXPECT_THAT(fake_->passes, Each(2));
}

TEST_F(EngineTest, HonoursTheLimitOfARequest) {
  body_.max_rows = 2;
  Engine engine(store_, {});
  engine.add(job(1, test::first_samples(5)));
  test::run(engine);
  EXPECT_EQ(*std::max_element(fake_->passes.begin(), fake_->passes.end()), 2);
}

TEST_F(EngineTest, DeterministicRowsAreAlone) {
  Engine engine(store_, {});
  engine.add(job(1, {0, 1}));
  body_.deterministic = true;
  engine.add(job(2, {2, 3}));
  const Outcome outcome = test::run(engine);
  EXPECT_EQ(outcome.passes.size(), 3U + 6U);
}

TEST_F(EngineTest, OtherShapesDoNotShareAPass) {
  Engine engine(store_, {});
  engine.add(job(1, {0}));
  engine.add(test::make_job(2, body_, {2, 6, 6}, {1}));
  const Outcome outcome = test::run(engine);
  EXPECT_EQ(outcome.shards.at(2).rows.at(0).numel(), 72);
  EXPECT_THAT(fake_->passes, Each(1));
}

TEST_F(EngineTest, GuidanceAsksForBothPolarities) {
  body_.model = "conditioned";
  body_.guidance.cfg = 3.0;
  body_.positive = {Condition{"cond.0"}};
  body_.negative = {Condition{"cond.1"}};
  body_.sigmas = {1.0F, 0.0F};
  body_.schedule.reset();
  const test::Tensors tensors{{"cond.0.context", at::full({2, 3}, 0.5)},
                              {"cond.1.context", at::full({1, 3}, 0.1)}};
  Engine engine(store_, {});
  engine.add(job(1, {0, 1}, tensors));
  const Outcome outcome = test::run(engine);
  EXPECT_THAT(conditioned_->passes, ElementsAre(4));
  // x0 = x - (x + c), so x0 = -c for each: -0.1 + (-0.5 + 0.1) * 3.
  EXPECT_NEAR(outcome.shards.at(1).rows.at(1)[0].item<float>(), -1.3, 1e-5);

  // One row a pass: the answers of a sample meet all the same.
  conditioned_->passes.clear();
  Engine narrow(store_, {.max_rows = 1});
  narrow.add(job(1, {0, 1}, tensors));
  EXPECT_TRUE(at::equal(test::run(narrow).shards.at(1).joined(), outcome.shards.at(1).joined()));
  EXPECT_THAT(conditioned_->passes, ElementsAre(1, 1, 1, 1));

  // At 1 the negative is left out, unless asked for.
  conditioned_->passes.clear();
  body_.guidance.cfg = 1.0;
  Engine at_one(store_, {});
  at_one.add(job(1, {0, 1}, tensors));
  test::run(at_one);
  body_.guidance.skip_at_one = false;
  at_one.add(job(2, {0, 1}, tensors));
  test::run(at_one);
  EXPECT_THAT(conditioned_->passes, ElementsAre(2, 4));
}

TEST_F(EngineTest, LabelsAreConditionsOfTheModel) {
  body_.model = "conditioned";
  body_.labels = {"a", "b", "b", "a", "a", "a", "a", "b"};
  body_.sigmas = {1.0F, 0.0F};
  body_.schedule.reset();
  Engine engine(store_, {});
  engine.add(job(1, {6, 7}));
  const ShardOutcome plain = test::run(engine).shards.at(1);
  ASSERT_FALSE(plain.samples.at(0).failed) << plain.samples.at(0).error.message;
  EXPECT_NEAR(plain.rows.at(0)[0].item<float>(), -1.0, 1e-5);
  EXPECT_NEAR(plain.rows.at(1)[0].item<float>(), -2.0, 1e-5);
  body_.guidance.cfg = 2.0;  // Against the label "none", here 14.
  engine.add(job(2, {6, 7}));
  const ShardOutcome guided = test::run(engine).shards.at(2);
  EXPECT_NEAR(guided.rows.at(0)[0].item<float>(), -14.0 + 13.0 * 2.0, 1e-4);
  body_.labels[6] = "c";
  EXPECT_EQ(refusal(job(3, {6, 7})).field, "/labels");
}

TEST_F(EngineTest, CancelledShardsAreNotHeardOfAgain) {
  Engine engine(store_, {});
  engine.add(job(1, {0, 1}));
  engine.add(job(2, {2}));
  std::vector<EngineReport> reports;
  engine.pass(reports);
  reports.clear();
  engine.cancel({1});
  engine.cancel({99});
  const Outcome outcome = test::run(engine);
  EXPECT_FALSE(outcome.shards.contains(1));
  EXPECT_EQ(outcome.shards.at(2).rows.size(), 1U);
  body_.model = "none";
  engine.add(job(3, {0}));
  engine.cancel({3});
  EXPECT_TRUE(engine.idle());
}

TEST_F(EngineTest, AFailedEvaluationFailsTheRowsOfThePass) {
  fake_->error = internal("the device is gone");
  Engine engine(store_, {.max_rows = 2});
  engine.add(job(1, {0, 1, 2}));
  std::vector<EngineReport> reports;
  engine.pass(reports);
  Outcome first;
  first.take(reports);
  EXPECT_EQ(first.shards.at(1).samples.size(), 2U);
  EXPECT_EQ(first.shards.at(1).samples.at(1).error.message, "the device is gone");
  EXPECT_TRUE(first.shards.at(1).rows.empty());
  fake_->error.reset();
  const Outcome rest = test::run(engine);
  EXPECT_FALSE(rest.shards.at(1).samples.at(2).failed);
}

TEST_F(EngineTest, AnExceptionOfLibTorchIsAFailure) {
  fake_->throws = true;
  Engine engine(store_, {});
  engine.add(job(1, {0}));
  const Error error = test::run(engine).shards.at(1).samples.at(0).error;
  EXPECT_EQ(error.code, Code::kInternal);
  EXPECT_THAT(error.message, HasSubstr("must match the size"));
}

TEST_F(EngineTest, TriesFewerRowsIfMemoryRunsOut) {
  fake_->memory_rows = 3;
  Engine engine(store_, {});
  engine.add(job(1, test::first_samples(8)));
  const Outcome outcome = test::run(engine);
  EXPECT_EQ(outcome.shards.at(1).rows.size(), 8U);
  EXPECT_EQ(fake_->passes[0], 8);
  EXPECT_EQ(fake_->passes[1], 4);
  EXPECT_EQ(fake_->passes[2], 2);
  EXPECT_EQ(*std::max_element(fake_->passes.begin() + 2, fake_->passes.end()), 2);

  fake_->memory_rows = 0;
  engine.add(job(2, {0}));
  EXPECT_EQ(test::run(engine).shards.at(2).samples.at(0).error.code, Code::kOverloaded);
}

TEST_F(EngineTest, ASampleThatIsNotFiniteFailsAlone) {
  body_.noise = NoiseKind::kGiven;
  const at::Tensor noise = at::ones({3, 2, 4, 4});
  noise[1][0][0][0] = std::nanf("");
  Engine engine(store_, {});
  engine.add(job(1, {0, 1, 2}, {{"noise", noise}}));
  const ShardOutcome shard = test::run(engine).shards.at(1);
  EXPECT_THAT(shard.reports, ElementsAre(1, 1, 1));
  EXPECT_FALSE(shard.samples.at(0).failed);
  EXPECT_TRUE(shard.samples.at(1).failed);
  EXPECT_THAT(shard.samples.at(1).error.message, HasSubstr("not finite"));
  EXPECT_TRUE(shard.rows.contains(2));
}

TEST_F(EngineTest, RefusesWhatItCannotRun) {
  const Request good = body_;
  const auto field = [&](auto change) {
    body_ = good;
    change(body_);
    return refusal(job(1, {0, 1})).field;
  };
  EXPECT_EQ(field([](Request& r) { r.model = "none"; }), "/model");
  EXPECT_EQ(field([](Request& r) { r.sampler.name = "eular"; }), "/sampler/name");
  EXPECT_EQ(field([](Request& r) { r.schedule->name = "simpel"; }), "/schedule/name");
  EXPECT_EQ(field([](Request& r) { r.positive = {Condition{"c", 1.0, "hole"}}; }), "/tensors/hole");
  EXPECT_EQ(field([](Request& r) {
              r.positive = {Condition{"c"}, Condition{"c", 1.0, "", {2, 2, 4, 0}}};
            }),
            "/positive/1/area");
  EXPECT_EQ(field([](Request& r) { r.loras = {{"style", 1.0}}; }), "/loras/0/name");
  EXPECT_EQ(field([](Request& r) { r.inpaint = true; }), "/tensors/mask");
  EXPECT_EQ(field([](Request& r) { r.noise = NoiseKind::kGiven; }), "/tensors/noise");
  EXPECT_EQ(field([](Request& r) { r.batch_index = {1}; }), "/batch_index");
  EXPECT_EQ(field([](Request& r) { r.samples = 1; }), "/samples");
  EXPECT_EQ(field([](Request& r) { r.op = Operation::kForward; }), "/tensors/x");
  EXPECT_EQ(field([](Request& r) { r.model = "conditioned"; }), "/positive");
  body_ = good;
  const at::Tensor latent = at::ones({1, 2, 4, 5});
  EXPECT_EQ(refusal(job(1, {0, 1}, {{"latent", latent}})).field, "/tensors/latent");
}

TEST_F(EngineTest, GuidanceNeedsANegative) {
  const auto no_none = add(std::make_unique<Fake>(true), "bare");
  static_cast<void>(no_none);
  store_.find("bare")->labels.clear();
  body_.model = "bare";
  body_.guidance.cfg = 2.0;
  body_.positive = {Condition{"cond.0"}};
  EXPECT_EQ(refusal(job(1, {0}, {{"cond.0.context", at::ones({1, 3})}})).field, "/negative");
}

class Forward : public EngineTest {
 protected:
  Forward() {
    body_.op = Operation::kForward;
    body_.schedule.reset();
    body_.model = "noop";
  }
};

TEST_F(Forward, NoopReturnsTheInputsOwnMemory) {
  const at::Tensor x = at::arange(8 * 32, at::kFloat).reshape({8, 2, 4, 4});
  const ShardJob shard = job(1, test::first_samples(8), {{"x", x}});
  Engine engine(store_, {});
  engine.add(shard);
  std::vector<EngineReport> reports;
  engine.pass(reports);
  EXPECT_TRUE(engine.idle());
  const RowsFinished* finished = nullptr;
  for (const EngineReport& report : reports) {
    if (const auto* rows = std::get_if<RowsFinished>(&report)) finished = rows;
  }
  ASSERT_NE(finished, nullptr);
  EXPECT_EQ(finished->bytes.data(), shard.inputs.data());
  EXPECT_EQ(finished->bytes.size(), x.nbytes());
  EXPECT_EQ(finished->samples.size(), 8U);
}

TEST_F(Forward, TakesManyRowsInPassesOfAtMostMaxRows) {
  const at::Tensor x = at::arange(7 * 3, at::kFloat).reshape({7, 3});
  Engine engine(store_, {.max_rows = 3});
  engine.add(test::make_job(1, body_, {3}, {0, 1, 2, 3, 4, 5, 6}, {{"x", x}}));
  const Outcome outcome = test::run(engine);
  EXPECT_THAT(outcome.shards.at(1).reports, ElementsAre(3, 3, 1));
  EXPECT_TRUE(at::equal(outcome.shards.at(1).joined(), x));
  EXPECT_EQ(outcome.shards.at(1).moved.steps, 7);
}

TEST_F(Forward, GivesEachRowItsTimeAndConditions) {
  body_.model = "conditioned";
  const at::Tensor x = at::ones({2, 2, 4, 4});
  const at::Tensor context = at::arange(6, at::kFloat).reshape({2, 3});
  Engine engine(store_, {});
  engine.add(job(1, {4, 5},
                 {{"x", x}, {"timestep", at::tensor({0.5F, 7.0F})}, {"cond.0.context", context}}));
  const ShardOutcome shard = test::run(engine).shards.at(1);
  EXPECT_NEAR(shard.rows.at(0)[0].item<float>(), 0.5 + 1.0, 1e-6);
  EXPECT_NEAR(shard.rows.at(1)[31].item<float>(), 7.0 + 4.0, 1e-6);
  EXPECT_EQ(refusal(job(2, {4, 5}, {{"x", x}, {"cond.0.context", context}})).field,
            "/tensors/timestep");
}

TEST_F(Forward, RowsOfTwoShardsShareAPass) {
  const at::Tensor x = at::arange(64, at::kFloat).reshape({2, 2, 4, 4});
  Engine engine(store_, {});
  engine.add(job(1, {0, 1}, {{"x", x}}));
  engine.add(job(2, {0, 1}, {{"x", x + 100}}));
  const Outcome outcome = test::run(engine);
  EXPECT_EQ(outcome.passes.size(), 1U);
  EXPECT_TRUE(at::equal(outcome.shards.at(2).joined(), (x + 100).flatten(1)));
}

TEST_F(Forward, ASimDeviceTakesItsTime) {
  Engine engine(store_, {.max_rows = 8, .sim = SimDevice{0.01, 0.005}});
  engine.add(job(1, {0, 1, 2}, {{"x", at::ones({3, 2, 4, 4})}}));
  const auto start = std::chrono::steady_clock::now();
  const Outcome outcome = test::run(engine);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_GE(took.count(), 0.025);
  EXPECT_GE(outcome.passes.at(0).seconds, 0.025);
  EXPECT_LT(outcome.passes.at(0).network_seconds, 0.02);
}

}  // namespace
}  // namespace pa
