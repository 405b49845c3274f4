#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/loaded_model.h"

namespace pa {
namespace {

using test::difference;
using test::Fixture;
using test::tensor;

/// Every fixture of every family.
class NetworkFixture : public ::testing::TestWithParam<std::string> {
 protected:
  c10::InferenceMode guard_;
  Fixture fixture_{GetParam()};
};

TEST_P(NetworkFixture, EqualsTheReference) {
  const Replica replica = test::load_model(fixture_).value();
  const at::Tensor want = tensor(fixture_, "out.y");
  // Where captions differ in length, every row is a pass of its own.
  std::vector<at::Tensor> rows;
  if (const auto all = test::fixture_rows(fixture_)) {
    rows.push_back(replica.network->forward(*all).value());
  } else {
    for (std::int64_t i = 0; i < want.size(0); ++i) {
      rows.push_back(replica.network->forward(test::fixture_row(fixture_, i)).value());
    }
  }
  const at::Tensor got = at::cat(rows, 0);
  EXPECT_EQ(got.sizes(), want.sizes());
  EXPECT_TRUE(got.is_contiguous());
  RecordProperty("difference", std::to_string(difference(got, want)));
  // The embedding of times amplifies the last bits of its float32 frequencies, which differ from
  // CPU to CPU.
  EXPECT_LE(difference(got, want), test::tolerance(fixture_, want) / 2);
}

TEST_P(NetworkFixture, ARowDependsOnItselfAlone) {
  const Replica replica = test::load_model(fixture_).value();
  const auto all = test::fixture_rows(fixture_);
  if (!all) return;
  const at::Tensor together = replica.network->forward(*all).value();
  for (std::int64_t i = 0; i < all->x.size(0); ++i) {
    const at::Tensor alone = replica.network->forward(test::fixture_row(fixture_, i)).value();
    EXPECT_LE(difference(alone, together.narrow(0, i, 1)), 1e-5) << i;
  }
}

TEST_P(NetworkFixture, TellsWhatItIs) {
  const ModelInfo info = test::load_model(fixture_).value().info;
  EXPECT_EQ(info.family, fixture_.meta["family"]);
  EXPECT_EQ(info.latent, (Shape{fixture_.shape("in.x")[1], -1, -1}));
  std::int64_t elements = 0;
  for (const TensorView& view : test::weights_of(fixture_)) {
    const std::string& name = view.spec.name;
    const bool described = name.ends_with("scale_weight") || name.ends_with("weight_scale") ||
                           name.ends_with("comfy_quant") || name.ends_with("scaled_fp8");
    if (!described) elements += element_count(view.spec.shape).value();
  }
  EXPECT_EQ(info.parameters, elements);
  for (const InputSpec& input : info.inputs) {
    const std::string name = "in." + input.name;
    const Shape& shape = fixture_.shape(fixture_.has(name) ? name : name + ".0");
    ASSERT_EQ(shape.size(), input.shape.size() + 1) << name;
    for (std::size_t axis = 0; axis < input.shape.size(); ++axis) {
      const std::int64_t size = input.shape[axis];
      EXPECT_TRUE(size < 0 || shape[axis + 1] == size) << name;
    }
  }
}

/// Roundings along the longest path, as docs/models.md counts them.
double roundings(const nlohmann::json& config, const std::string& family) {
  const auto count = [&](const char* key) { return config.value(key, 2.0); };
  if (family == "flux") return 12 + 11 * count("depth") + 6 * count("depth_single_blocks");
  if (family == "zimage") return 12 + 12 * (count("n_layers") + count("n_refiner_layers"));
  double blocks = 0;
  double transformers = 1;
  for (const auto& n : config.value("num_res_blocks", std::vector<double>{2, 2}))
    blocks += 2 * n + 1;
  for (const auto& n : config.value("transformer_depth", std::vector<double>{0, 0, 2, 2})) {
    transformers += 2 * n;
  }
  return 12 + 8 * (blocks + 2) + 14 * transformers;
}

TEST_P(NetworkFixture, ComputesInHalfPrecisionWithinTheBound) {
  constexpr double kGain = 2;
  const auto rms = [](const at::Tensor& t) { return std::sqrt(t.pow(2).mean().item<double>()); };
  for (const auto& [dtype, unit] :
       {std::pair{"BF16", std::ldexp(1.0, -9)}, {"F16", std::ldexp(1.0, -12)}}) {
    const Replica full = test::load_model(fixture_).value();
    const Replica half = test::load_model(fixture_, std::string("dtype: ") + dtype + "\n").value();
    const Rows rows = test::fixture_row(fixture_, 0);
    const at::Tensor want = full.network->forward(rows).value();
    const at::Tensor got = half.network->forward(rows).value();
    EXPECT_EQ(got.scalar_type(), at::kFloat);
    const double n = roundings(fixture_.meta["config"], fixture_.meta["family"]);
    const double gain = rms(got - want) / (rms(want) * unit * std::sqrt(n));
    RecordProperty(std::string("gain_") + dtype, std::to_string(gain));
    EXPECT_LE(gain, kGain) << dtype;
    EXPECT_GT(gain, 0.0) << dtype;
  }
}

/// ComfyUI's under the names of the networks' makers, and diffusers' under its own.
std::vector<std::string> all_fixtures() {
  std::vector<std::string> names;
  for (const std::string folder : {"diffusers", "models"}) {
    for (const std::string& name : test::fixtures_in(folder)) names.push_back(folder + "/" + name);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(Models, NetworkFixture, ::testing::ValuesIn(all_fixtures()),
                         [](const auto& param) {
                           std::string name = param.param.substr(0, param.param.find('.'));
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });

}  // namespace
}  // namespace pa
