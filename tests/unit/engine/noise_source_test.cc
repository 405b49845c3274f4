#include "worker/engine/noise_source.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <numeric>

#include "shared/sampling/request_sampling.h"
#include "shared/sampling/samplers.h"
#include "tests/support/fixture.h"
#include "worker/engine/brownian.h"
#include "worker/engine/noise.h"

namespace pa {
namespace {

const Shape kRow{2, 4, 4};

Program plain(const std::string& sampler) {
  const std::vector<float> sigmas{8.0F, 4.0F, 1.0F, 0.0F};
  const Prediction prediction(false, [](double percent) { return 14.0 * (1.0 - percent); });
  return compile({sampler, {}}, sigmas, prediction).value();
}

Program churned_euler() {
  const std::vector<float> sigmas{8.0F, 4.0F, 1.0F, 0.0F};
  const Prediction prediction(false, [](double percent) { return 14.0 * (1.0 - percent); });
  return compile({"euler", {{"s_churn", 1.0}}}, sigmas, prediction).value();
}

class NoiseSourceTest : public ::testing::Test {
 protected:
  NoiseSourceTest() {
    request_.samples = 5;
    request_.seed = 42;
  }

  NoiseSource source(const Program& program,
                     const std::vector<std::int64_t>& samples = {1, 3}) const {
    return NoiseSource::of(request_, program, kRow, samples, given_).value();
  }
  std::string field(const Program& program,
                    const std::vector<std::int64_t>& samples = {1, 3}) const {
    const auto source = NoiseSource::of(request_, program, kRow, samples, given_);
    return source.ok() ? "no error" : source.error().field;
  }

  Request request_;
  GivenNoise given_;
};

TEST_F(NoiseSourceTest, DoesNotDependOnTheShard) {
  for (const NoiseKind kind : {NoiseKind::kComfy, NoiseKind::kKeyed}) {
    request_.noise = kind;
    for (const char* sampler : {"euler_ancestral", "dpmpp_2m_sde"}) {
      const Program program = plain(sampler);
      const NoiseSource part = source(program, {1, 3});
      const NoiseSource whole = source(program, {0, 1, 2, 3, 4});
      EXPECT_TRUE(at::equal(part.start(1)(), whole.start(3)()));
      for (std::int64_t draw = 0; draw < draws_of(program); ++draw) {
        EXPECT_TRUE(at::equal(part.draw(1, draw)(), whole.draw(3, draw)())) << sampler;
        EXPECT_FALSE(at::equal(part.draw(1, draw)(), whole.draw(2, draw)())) << sampler;
      }
    }
  }
}

TEST_F(NoiseSourceTest, TakesComfyUIsSeeds) {
  const NoisePlace place{kRow, 5, 3};
  const NoiseSource ancestral = source(plain("euler_ancestral"));
  EXPECT_TRUE(at::equal(ancestral.start(1)(), comfy_noise(42, place)));
  EXPECT_TRUE(at::equal(ancestral.draw(1, 1)(), comfy_noise(43, place, 1)));
  EXPECT_TRUE(at::equal(ancestral.fresh(1)(), comfy_noise(43, place)));
  const NoiseSource sde = source(plain("dpmpp_2m_sde"));
  EXPECT_TRUE(at::equal(sde.draw(1, 1)(), BrownianTree(42, 1.0F, 8.0F).noise(4.0F, 1.0F, place)));
  const NoiseSource churned = source(churned_euler());  // Goes on after the start noise.
  EXPECT_TRUE(at::equal(churned.draw(1, 0)(), comfy_noise(42, place, 1)));

  request_.sampler_seed = 7;
  EXPECT_TRUE(at::equal(source(plain("euler_ancestral")).draw(1, 1)(), comfy_noise(7, place, 1)));
  EXPECT_TRUE(at::equal(source(plain("dpmpp_2m_sde")).draw(1, 1)(),
                        BrownianTree(7, 1.0F, 8.0F).noise(4.0F, 1.0F, place)));
  EXPECT_TRUE(at::equal(source(churned_euler()).draw(1, 0)(), comfy_noise(7, place)));
}

TEST_F(NoiseSourceTest, IndicesOfABatchChooseTheStartNoise) {
  request_.batch_index = {9, 4, 0, 2, 2};
  const NoiseSource indexed = source(plain("euler_ancestral"));
  EXPECT_TRUE(at::equal(indexed.start(0)(), indexed_noise(42, kRow, 4)));
  EXPECT_TRUE(at::equal(indexed.draw(0, 0)(), comfy_noise(43, {kRow, 5, 1})));
  EXPECT_TRUE(at::equal(source(churned_euler()).draw(0, 0)(),
                        comfy_noise(42, {kRow, 5, 1}, 0, /*draws_before=*/10)));
  request_.batch_index[1] = kMaxBatchIndex + 1;
  EXPECT_EQ(field(plain("euler")), "/batch_index/1");
  request_.batch_index = {1};
  EXPECT_EQ(field(plain("euler")), "/batch_index");
}

TEST_F(NoiseSourceTest, KeyedNoiseCountsIntervals) {
  request_.noise = NoiseKind::kKeyed;
  const NoiseSource keyed = source(plain("euler_ancestral"));
  EXPECT_TRUE(at::equal(keyed.start(0)(), keyed_noise(42, kRow, 1, 0)));
  EXPECT_TRUE(at::equal(keyed.draw(0, 1)(), keyed_noise(43, kRow, 1, 2)));
}

TEST_F(NoiseSourceTest, GivenNoiseIsTaken) {
  const Program program = plain("euler_ancestral");
  given_.steps = at::arange(2 * 2 * 32, at::kFloat).reshape({2, 2, 2, 4, 4});
  request_.noise = NoiseKind::kGiven;
  EXPECT_EQ(field(program), "/tensors/noise");
  given_.start = at::ones({2, 2, 4, 4});
  const NoiseSource given = source(program);
  EXPECT_TRUE(at::equal(given.start(1)(), given_.start[1]));
  EXPECT_TRUE(at::equal(given.draw(1, 0)(), given_.steps[0][1]));
  given_.steps = given_.steps.narrow(0, 0, 1);
  EXPECT_EQ(field(program), "/tensors/step_noise");
}

TEST_F(NoiseSourceTest, StartsWithZerosIfAskedTo) {
  request_.add_noise = false;
  EXPECT_EQ(source(plain("euler")).start(0)().abs().max().item<float>(), 0.0F);
  EXPECT_EQ(field(plain("euler"), {5}), "/samples");
}

/// Runs of ComfyUI with the noise that its generators drew, from the seed of the run.
class RecordedNoise : public ::testing::TestWithParam<std::string> {};

TEST_P(RecordedNoise, IsWhatTheRequestAloneGives) {
  const test::Fixture fixture("samplers/" + GetParam());
  const auto shape = fixture.meta["shape"].get<Shape>();
  const std::string type = fixture.meta["sampling"]["type"];
  const bool flow = type != "EPS";
  SamplingInfo info;
  info.prediction = flow ? "flow" : "eps";
  info.type = type == "FLUX" ? "flux" : flow ? "flow" : "discrete";
  info.shift = fixture.meta["sampling"]["settings"].value("shift", 1.0);
  const SigmaTable table = SigmaTable::make(info).value();

  Request request;
  request.seed = fixture.meta["seed"];
  request.samples = shape[0];
  request.sampler = {fixture.meta["sampler"], {}};
  const nlohmann::json options = fixture.meta.value("options", nlohmann::json::object());
  for (const auto& [name, value] : options.items()) {
    if (value.is_number()) request.sampler.options[name] = value.get<double>();
    if (value.is_string()) request.sampler.options[name] = value.get<std::string>();
  }
  const Program program =
      compile(request.sampler, fixture.values("in.sigmas"), prediction_of(info, table)).value();
  std::vector<std::int64_t> samples(static_cast<std::size_t>(shape[0]));
  std::iota(samples.begin(), samples.end(), std::int64_t{0});
  const NoiseSource source =
      NoiseSource::of(request, program, {shape.begin() + 1, shape.end()}, samples, {}).value();

  const std::vector<float> want = fixture.values("noise.z");
  const auto batch = static_cast<std::size_t>(shape[0]);
  const std::size_t draws = fixture.values("noise.from").size();
  const std::size_t size = want.size() / (draws * batch);
  // A midpoint whose last bit rounds another way is asked for on another point of the tree's grid.
  const double tolerance = request.sampler.name == "dpmpp_sde" ? 4e-3 : 1e-5;
  for (std::size_t k = 0; k < draws; ++k) {
    for (std::size_t row = 0; row < batch; ++row) {
      const at::Tensor got =
          source.draw(static_cast<std::int64_t>(row), static_cast<std::int64_t>(k))().contiguous();
      EXPECT_LE(test::largest_difference(std::span(got.const_data_ptr<float>(), size),
                                         std::span(want).subspan((k * batch + row) * size, size)),
                tolerance)
          << "draw " << k << " of sample " << row;
    }
  }
}

std::vector<std::string> fixtures_with_noise() {
  std::vector<std::string> names = test::fixtures_in("samplers");
  std::erase_if(names, [](const std::string& name) {
    const test::Fixture fixture("samplers/" + name);
    return !fixture.has("noise.z") || fixture.meta.value("disable_noise", false);
  });
  return names;
}

INSTANTIATE_TEST_SUITE_P(Fixtures, RecordedNoise, ::testing::ValuesIn(fixtures_with_noise()),
                         [](const auto& test) {
                           return test.param.substr(0, test.param.find('.'));
                         });

}  // namespace
}  // namespace pa
