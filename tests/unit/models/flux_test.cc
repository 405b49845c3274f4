#include "worker/models/flux.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/model_folder.h"
#include "worker/models/tensors.h"

namespace pa {
namespace {

using test::Fixture;
using test::TempFolder;
using ::testing::HasSubstr;

constexpr const char* kQkv = "double_blocks.0.img_attn.qkv.weight";

at::Tensor tensor(const Fixture& fixture, const std::string& name) {
  const TensorView& view = fixture.view(name);
  return alias(view.spec, view.bytes, fixture.file().keep_alive());
}

FluxOptions options_of(const Fixture& fixture) {
  FluxOptions options;
  options.axes_dim = fixture.meta["config"]["axes_dim"].get<std::vector<std::int64_t>>();
  return options;
}

/// The network of these weights, written to a file as people have them.
Result<std::unique_ptr<Network>> load(const std::vector<TensorView>& weights,
                                      const FluxOptions& options,
                                      at::ScalarType dtype = at::kFloat) {
  const TempFolder folder;
  const std::string path = folder.path("weights.safetensors");
  PA_TRY(write_safetensors(path, {}, weights));
  PA_ASSIGN(const SafetensorsFile file, SafetensorsFile::open(path));
  PA_ASSIGN(const WeightFiles files, WeightFiles::of({file}));
  PA_ASSIGN(const FluxConfig config, flux_config(files, options));
  WeightReader reader(files, at::kCPU, dtype);
  return make_flux(reader, config, dtype);
}

Rows rows_of(const Fixture& fixture) {
  Rows rows;
  rows.x = tensor(fixture, "in.x");
  rows.sigma = tensor(fixture, "in.timestep");
  for (const char* name : {"context", "y", "guidance"}) {
    const std::string stored = std::string("in.") + name;
    if (fixture.has(stored)) rows.inputs[name] = tensor(fixture, stored);
  }
  return rows;
}

Rows row(const Rows& rows, std::int64_t i) {
  Rows one{rows.x.narrow(0, i, 1), rows.sigma.narrow(0, i, 1), {}};
  for (const auto& [name, input] : rows.inputs) one.inputs[name] = input.narrow(0, i, 1);
  return one;
}

double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

class FluxFixture : public ::testing::TestWithParam<const char*> {
 protected:
  c10::InferenceMode guard_;
  Fixture fixture_{std::string("models/") + GetParam() + ".safetensors"};
};

TEST_P(FluxFixture, EqualsTheReference) {
  const std::unique_ptr<Network> network =
      load(test::weights_of(fixture_), options_of(fixture_)).value();
  const at::Tensor want = tensor(fixture_, "out.y");
  const at::Tensor got = network->forward(rows_of(fixture_)).value();
  const double tolerance = fixture_.meta["atol"].get<double>() +
                           fixture_.meta["rtol"].get<double>() * want.abs().max().item<double>();
  // The embedding of times amplifies the last bits of its float32 frequencies, which differ from
  // CPU to CPU.
  EXPECT_LE(difference(got, want), tolerance / 4);
  EXPECT_EQ(got.sizes(), want.sizes());
  EXPECT_TRUE(got.is_contiguous());
}

TEST_P(FluxFixture, ReadsItsSizesOffTheKeys) {
  const TempFolder folder;
  const std::string path = folder.path("w.safetensors");
  ASSERT_TRUE(write_safetensors(path, {}, test::weights_of(fixture_)).ok());
  const WeightFiles files = WeightFiles::of({SafetensorsFile::open(path).value()}).value();
  EXPECT_TRUE(looks_like_flux(files));
  const FluxConfig got = flux_config(files, options_of(fixture_)).value();
  const nlohmann::json& want = fixture_.meta["config"];
  EXPECT_EQ(got.in_channels, want["in_channels"]);
  EXPECT_EQ(got.out_channels, want["out_channels"]);
  EXPECT_EQ(got.vec_in_dim, want["vec_in_dim"]);
  EXPECT_EQ(got.context_in_dim, want["context_in_dim"]);
  EXPECT_EQ(got.hidden_size, want["hidden_size"]);
  EXPECT_EQ(got.num_heads, want["num_heads"]);
  EXPECT_EQ(got.depth, want["depth"]);
  EXPECT_EQ(got.depth_single_blocks, want["depth_single_blocks"]);
  EXPECT_EQ(got.qkv_bias, want["qkv_bias"]);
  EXPECT_EQ(got.guidance_embed, want["guidance_embed"]);
  EXPECT_EQ(static_cast<double>(got.mlp_size),
            want["mlp_ratio"].get<double>() * static_cast<double>(got.hidden_size));
}

TEST_P(FluxFixture, ARowDependsOnItselfAlone) {
  const std::unique_ptr<Network> network =
      load(test::weights_of(fixture_), options_of(fixture_)).value();
  const Rows rows = rows_of(fixture_);
  const at::Tensor together = network->forward(rows).value();
  for (std::int64_t i = 0; i < rows.x.size(0); ++i) {
    const at::Tensor alone = network->forward(row(rows, i)).value();
    EXPECT_LE(difference(alone, together.narrow(0, i, 1)), 1e-5) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, FluxFixture,
                         ::testing::Values("flux_dev_b1", "flux_dev_b1_text33", "flux_dev_b2_10x6",
                                           "flux_schnell_b3_7x5"));

class Flux : public ::testing::Test {
 protected:
  /// The error of loading the weights after `change` had its way with them.
  template <class Change>
  std::string error_after(Change change) {
    std::vector<TensorView> weights = test::weights_of(fixture_);
    change(weights);
    const Result<std::unique_ptr<Network>> network = load(weights, options_of(fixture_));
    return network.ok() ? "" : network.error().message;
  }

  static TensorView& find(std::vector<TensorView>& weights, const std::string& name) {
    return *std::find_if(weights.begin(), weights.end(),
                         [&](const TensorView& view) { return view.spec.name == name; });
  }

  c10::InferenceMode guard_;
  Fixture fixture_{"models/flux_dev_b1.safetensors"};
};

TEST_F(Flux, LoadsUnderTheNamesThatCheckpointsHave) {
  EXPECT_EQ(error_after([&](std::vector<TensorView>& weights) {
              for (TensorView& view : weights) {
                view.spec.name = "model.diffusion_model." + view.spec.name;
              }
              weights.push_back(find(weights, std::string("model.diffusion_model.") + kQkv));
              weights.back().spec.name = "vae.something";
            }),
            "");
}

TEST_F(Flux, NamesAMissingTensorAndTheNearest) {
  const std::string error = error_after([](std::vector<TensorView>& weights) {
    find(weights, "single_blocks.0.linear2.bias").spec.name = "single_blocks.0.linear2.bais";
  });
  EXPECT_THAT(error, HasSubstr("'single_blocks.0.linear2.bias' is missing; the nearest is "
                               "'single_blocks.0.linear2.bais'"));
  EXPECT_THAT(error, HasSubstr("'single_blocks.0.linear2.bais' has no place in this network"));
}

TEST_F(Flux, NamesATensorOfAnotherShape) {
  EXPECT_THAT(error_after([](std::vector<TensorView>& weights) {
                find(weights, kQkv).spec.shape = {64, 192};
              }),
              HasSubstr("'" + std::string(kQkv) + "' is [64, 192]; expected [192, 64]"));
}

TEST_F(Flux, NamesATensorOfADtypeItCannotUse) {
  EXPECT_THAT(error_after([](std::vector<TensorView>& weights) {
                find(weights, kQkv).spec.dtype = DType::kI32;
              }),
              HasSubstr("'" + std::string(kQkv) + "' is I32"));
}

TEST_F(Flux, NamesATensorThatItsSizesNeed) {
  EXPECT_THAT(error_after([](std::vector<TensorView>& weights) {
                find(weights, "img_in.weight").spec.name = "image_in.weight";
              }),
              HasSubstr("'img_in.weight' is missing"));
}

TEST_F(Flux, WantsRotaryAxesForUnusualHeads) {
  EXPECT_THAT(load(test::weights_of(fixture_), {}).error().message,
              HasSubstr("axes_dim is needed"));
  FluxOptions options;
  options.axes_dim = {8, 12, 10};
  EXPECT_THAT(load(test::weights_of(fixture_), options).error().message,
              HasSubstr("add up to the head size, 32"));
}

TEST_F(Flux, RefusesOptionsThatTheWeightsContradict) {
  FluxOptions options = options_of(fixture_);
  options.num_heads = 4;
  EXPECT_THAT(load(test::weights_of(fixture_), options).error().message,
              HasSubstr("num_heads is 4, but the weights say 2"));
}

TEST_F(Flux, RefusesRowsOfAnotherForm) {
  const std::unique_ptr<Network> network =
      load(test::weights_of(fixture_), options_of(fixture_)).value();
  const Rows good = rows_of(fixture_);
  const auto refused = [&](const char* text, auto change) {
    Rows rows = good;
    change(rows);
    const Result<at::Tensor> answer = network->forward(rows);
    ASSERT_FALSE(answer.ok()) << text;
    EXPECT_EQ(answer.error().code, Code::kInvalid);
    EXPECT_THAT(answer.error().message, HasSubstr(text));
  };
  refused("x is [1, 4, 8, 8]; expected F32 [1, 16, -1, -1]", [](Rows& rows) {
    rows.x = at::zeros({1, 4, 8, 8});
  });
  refused("sigma is [2]", [](Rows& rows) { rows.sigma = at::zeros({2}); });
  refused("the input 'y' is missing", [](Rows& rows) { rows.inputs.erase("y"); });
  refused("guidance is [2]", [](Rows& rows) { rows.inputs["guidance"] = at::zeros({2}); });
  refused("context is [1, 7, 47]", [](Rows& rows) {
    rows.inputs["context"] = at::zeros({1, 7, 47});
  });
  refused("y is [1, 24]", [](Rows& rows) { rows.inputs["y"] = at::zeros({1, 24}, at::kDouble); });
}

TEST_F(Flux, ComputesInHalfPrecisionNearby) {
  const std::unique_ptr<Network> network =
      load(test::weights_of(fixture_), options_of(fixture_), at::kBFloat16).value();
  const at::Tensor got = network->forward(rows_of(fixture_)).value();
  EXPECT_EQ(got.scalar_type(), at::kFloat);
  EXPECT_LE(difference(got, tensor(fixture_, "out.y")), 0.1);
}

TEST_F(Flux, KeepsTablesOfManySizesApart) {
  const std::unique_ptr<Network> network =
      load(test::weights_of(fixture_), options_of(fixture_)).value();
  Rows rows = rows_of(fixture_);
  const at::Tensor first = network->forward(rows).value();
  for (std::int64_t size = 2; size < 40; ++size) {
    Rows other = rows;
    other.x = at::ones({1, 16, size, size + 1});
    EXPECT_EQ(network->forward(other).value().sizes(), other.x.sizes());
  }
  EXPECT_EQ(difference(network->forward(rows).value(), first), 0.0);

  // As many tokens, arranged otherwise.
  Rows tall = rows;
  tall.x = at::arange(16 * 12 * 4, at::kFloat).reshape({1, 16, 12, 4}) / 1000.0;
  Rows wide = rows;
  wide.x = tall.x.reshape({1, 16, 4, 12});
  const std::unique_ptr<Network> fresh =
      load(test::weights_of(fixture_), options_of(fixture_)).value();
  const at::Tensor want = fresh->forward(wide).value();
  ASSERT_TRUE(network->forward(tall).ok());
  EXPECT_EQ(difference(network->forward(wide).value(), want), 0.0);
}

}  // namespace
}  // namespace pa
