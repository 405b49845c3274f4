// Prediction types from end to end: one Euler step on a network whose answers are known, against the
// formulas written out: what the network is given, told and taken to mean, how a run starts and ends.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "shared/sampling/sigma_table.h"
#include "tests/support/shards.h"
#include "worker/engine/engine.h"
#include "worker/models/model_store.h"
#include "worker/models/network.h"
#include "worker/models/replica.h"

namespace pa {
namespace {

constexpr double kSlope = 0.75;
constexpr double kOffset = -0.2;
constexpr double kTolerance = 2e-6;  // Relative: float32 roundings of a handful of operations.

/// Answers kSlope * x + kOffset, and keeps what it was given and told.
class Line : public Network {
 public:
  [[nodiscard]] Result<at::Tensor> forward(const Rows& rows) override {
    given = rows.x.clone();
    told = rows.sigma[0].item<float>();
    return rows.x * kSlope + kOffset;
  }
  [[nodiscard]] const std::vector<InputSpec>& input_contract() const override { return inputs_; }

  at::Tensor given;
  float told = 0;

 private:
  std::vector<InputSpec> inputs_;
};

struct Case {
  std::string name;
  SamplingInfo sampling;
  double data;    ///< Deviation of the data.
  float first;    ///< The first sigma, or
  bool from_max;  ///< the table's largest.
  double time;    ///< What the network is told.
};

class Predictions : public ::testing::TestWithParam<Case> {};

TEST_P(Predictions, StartAskTakeAndEndAsTheFormulasSay) {
  const Case& about = GetParam();
  const SamplingInfo& sampling = about.sampling;
  const bool flow = sampling.prediction == "flow";
  const SigmaTable table = SigmaTable::make(sampling).value();
  const float first = about.from_max ? table.sigma_max() : about.first;
  const float last = first * 0.25F;

  ModelStore store;
  Replica replica;
  replica.info.name = "m";
  replica.info.sampling = sampling;
  auto owned = std::make_unique<Line>();
  const Line& network = *owned;
  replica.network = std::move(owned);
  store.add(std::move(replica));

  const at::Tensor noise = at::randn({1, 2, 3, 4});
  const at::Tensor latent = at::randn({1, 2, 3, 4});
  Request body;
  body.model = "m";
  body.sigmas = {first, last};
  body.leftover_noise = true;
  body.noise = NoiseKind::kGiven;
  Engine engine(store, {});
  engine.add(test::make_job(1, body, {2, 3, 4}, {0}, {{"noise", noise}, {"latent", latent}}));
  const test::ShardOutcome outcome = test::run(engine).shards.at(1);
  ASSERT_FALSE(outcome.samples.at(0).failed) << outcome.samples.at(0).error.message;

  const double a = first;
  const double b = last;
  const double d = about.data;
  const double noisy = flow || !about.from_max ? a : std::sqrt(1.0 + a * a);
  const at::Tensor x = noise.to(at::kDouble) * noisy + latent.to(at::kDouble) * (flow ? 1 - a : 1);
  const at::Tensor in = flow ? x : x / std::sqrt(a * a + d * d);
  const at::Tensor y = in * kSlope + kOffset;
  at::Tensor denoised = x - a * y;
  if (sampling.prediction == "v" || sampling.prediction == "edm") {
    const double sign = sampling.prediction == "edm" ? 1 : -1;
    denoised = x * (d * d / (a * a + d * d)) + y * (sign * a * d / std::sqrt(a * a + d * d));
  }
  at::Tensor want = denoised + (x - denoised) * (b / a);
  if (flow) want = want / (1 - b);

  const auto expect_equal = [](const at::Tensor& got, const at::Tensor& expected) {
    const double scale = expected.abs().max().item<double>();
    EXPECT_LE((got.to(at::kDouble) - expected).abs().max().item<double>(), kTolerance * scale);
  };
  expect_equal(network.given, in);
  EXPECT_NEAR(network.told, about.time, kTolerance * std::abs(about.time));
  expect_equal(outcome.rows.at(0), want.flatten());
}

void PrintTo(const Case& about, std::ostream* out) { *out << about.name; }

std::vector<Case> cases() {
  const SamplingInfo discrete{.prediction = "eps", .type = "discrete"};
  const SamplingInfo continuous{.prediction = "eps", .type = "continuous", .sigma_max = 80.0};
  const auto as = [](SamplingInfo sampling, const char* prediction) {
    sampling.prediction = prediction;
    return sampling;
  };
  SamplingInfo all_gone = as(discrete, "v");
  all_gone.zero_terminal_snr = true;
  SamplingInfo wide = as(continuous, "edm");
  wide.sigma_data = 1.5;
  const double top = 0.25 * std::log(80.0);
  const double ten = 0.25 * std::log(10.0);
  return {
      {"flow", {"flow", "flow", 3.0, 1.0}, 1, 0.8F, false, 0.8F},
      {"flow_in_thousandths", {"flow", "flow", 3.0, 1000.0}, 1, 0.8F, false, 800},
      {"flow_from_the_start", {"flow", "flow", 3.0, 1.0}, 1, 0, true, 1},
      {"flux", {"flow", "flux", 1.15, 1.0}, 1, 0.6F, false, 0.6F},
      {"eps_discrete", discrete, 1, 14.5F, false, 998},
      {"eps_discrete_from_the_start", discrete, 1, 0, true, 999},
      {"v_discrete", as(discrete, "v"), 1, 0.0292F, false, 0},
      {"v_discrete_from_the_start", as(discrete, "v"), 1, 0, true, 999},
      {"v_to_zero_terminal_snr", all_gone, 1, 0, true, 999},
      {"edm_discrete", as(discrete, "edm"), 0.5, 14.0F, false, 992},
      {"eps_continuous", continuous, 1, 10, false, ten},
      {"eps_continuous_from_the_start", continuous, 1, 0, true, top},
      {"v_continuous", as(continuous, "v"), 1, 10, false, ten},
      {"v_continuous_from_the_start", as(continuous, "v"), 1, 0, true, top},
      {"edm_continuous", as(continuous, "edm"), 0.5, 10, false, ten},
      {"edm_continuous_from_the_start", as(continuous, "edm"), 0.5, 0, true, top},
      {"edm_of_wide_data", wide, 1.5, 10, false, ten},
  };
}

INSTANTIATE_TEST_SUITE_P(All, Predictions, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace pa
