#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <optional>

#include "shared/models/families.h"
#include "shared/models/model_folder.h"
#include "shared/models/weight_match.h"
#include "tests/support/model_folder.h"

namespace pa {
namespace {

using test::Fixture;
using test::TempFolder;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Names and shapes of a checkpoint that people have; no byte of it.
std::vector<TensorSpec> keys(const std::string& name, DType dtype = DType::kBF16) {
  std::vector<TensorSpec> specs;
  const nlohmann::json file = test::json_fixture("keys/" + name);
  for (const auto& [tensor, shape] : file["tensors"].items()) {
    specs.push_back({tensor, dtype, shape.get<Shape>()});
  }
  return specs;
}

ModelDescription describe(const WeightIndex& index, const std::string& yaml = "") {
  YamlFile file = YamlFile::parse(yaml, "model.yaml");
  Result<ModelDescription> described = describe_model(index, "", file.root());
  if (!described.ok()) broken(__FILE__, __LINE__, described.error().message);
  const Status read = file.finish();
  if (!read.ok()) broken(__FILE__, __LINE__, read.error().message);
  return std::move(described).value();
}

class Checkpoint : public ::testing::TestWithParam<std::string> {};

TEST_P(Checkpoint, IsAcceptedNameByName) {
  const nlohmann::json meta = test::json_fixture("keys/" + GetParam())["meta"];
  for (const std::string prefix : {"", "model.diffusion_model."}) {
    std::vector<TensorSpec> specs = keys(GetParam());
    for (TensorSpec& spec : specs) spec.name.insert(0, prefix);
    if (!prefix.empty()) specs.push_back({"first_stage_model.x", DType::kF32, {1}});
    const WeightIndex index = WeightIndex::of(specs).value();
    const ModelDescription model = describe(index);
    EXPECT_EQ(model.family, meta["family"]);
    EXPECT_EQ(model.naming == Naming::kDiffusers, meta["names"] == "diffusers");
    EXPECT_EQ(model.blueprint.elements(), meta["parameters"].get<std::int64_t>());
    EXPECT_THAT(match_weights(model.blueprint, index, model.naming).problems, IsEmpty());
  }
}

TEST_P(Checkpoint, TellsEveryTensorThatIsNotRight) {
  const std::vector<TensorSpec> all = keys(GetParam());
  const ModelDescription model = describe(WeightIndex::of(all).value());
  const auto problems = [&](const std::vector<TensorSpec>& specs) {
    const WeightIndex index = WeightIndex::of(specs).value();
    return match_weights(model.blueprint, index, model.naming).problems;
  };
  for (std::size_t i = 0; i < all.size(); i += 103) {
    const std::string quoted = "'" + all[i].name + "'";
    std::vector<TensorSpec> missing = all;
    missing.erase(missing.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_THAT(problems(missing), ::testing::ElementsAre("tensor " + quoted + " is missing"));

    std::vector<TensorSpec> misnamed = all;
    misnamed[i].name += "s";
    const std::vector<std::string> told = problems(misnamed);
    ASSERT_EQ(told.size(), 2U);
    EXPECT_EQ(told[0], "tensor " + quoted + " is missing; the nearest is '" + all[i].name + "s'");
    EXPECT_THAT(told[1], HasSubstr("'" + all[i].name + "s' has no place in this network"));

    std::vector<TensorSpec> misshapen = all;
    misshapen[i].shape.push_back(1);
    EXPECT_THAT(problems(misshapen),
                ::testing::ElementsAre("tensor " + quoted + " is " + to_string(misshapen[i].shape) +
                                       "; expected " + to_string(all[i].shape)));
  }
}

INSTANTIATE_TEST_SUITE_P(Keys, Checkpoint, ::testing::ValuesIn(test::fixtures_in("keys")),
                         [](const auto& param) {
                           std::string name = param.param.substr(0, param.param.find('.'));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Families, SaysHowItIsSampled) {
  const auto sampling = [](const char* name) {
    return describe(WeightIndex::of(keys(name)).value()).sampling;
  };
  EXPECT_EQ(sampling("flux-dev.json"), (SamplingInfo{"flow", "flux", 1.15, 1.0}));
  EXPECT_EQ(sampling("flux-dev-diffusers.json"), (SamplingInfo{"flow", "flux", 1.15, 1.0}));
  EXPECT_EQ(sampling("flux-schnell.json"), (SamplingInfo{"flow", "flow", 1.0, 1.0}));
  EXPECT_EQ(sampling("z-image.json"), (SamplingInfo{"flow", "flow", 3.0, 1.0}));
  EXPECT_EQ(sampling("sdxl-base.json"), (SamplingInfo{"eps", "discrete", 1.0, 1.0}));
}

TEST(Families, SeesTheMarkOfVPrediction) {
  std::vector<TensorSpec> specs = keys("sdxl-base.json");
  for (TensorSpec& spec : specs) spec.name.insert(0, "model.diffusion_model.");
  specs.push_back({"v_pred", DType::kF32, {0}});
  EXPECT_EQ(describe(WeightIndex::of(specs).value()).sampling.prediction, "v");
  EXPECT_FALSE(describe(WeightIndex::of(specs).value()).sampling.zero_terminal_snr);
  specs.push_back({"ztsnr", DType::kF32, {0}});
  EXPECT_TRUE(describe(WeightIndex::of(specs).value()).sampling.zero_terminal_snr);
}

TEST(Families, SeesTheMarksOfContinuousSigmas) {
  std::vector<TensorSpec> specs = keys("sdxl-base.json");
  for (TensorSpec& spec : specs) spec.name.insert(0, "model.diffusion_model.");
  std::vector<TensorSpec> playground = specs;
  playground.push_back({"edm_mean", DType::kF32, {1, 4, 1, 1}});
  playground.push_back({"edm_std", DType::kF32, {1, 4, 1, 1}});
  EXPECT_EQ(describe(WeightIndex::of(playground).value()).sampling,
            (SamplingInfo{.prediction = "edm", .type = "continuous", .sigma_max = 80.0}));
  specs.push_back({"edm_vpred.sigma_max", DType::kF32, {}});
  YamlFile none = YamlFile::parse("", "model.yaml");
  EXPECT_THAT(describe_model(WeightIndex::of(specs).value(), "", none.root()).error().message,
              HasSubstr("say which in model.yaml"));
  YamlFile said = YamlFile::parse("sampling: {type: continuous}", "model.yaml");
  EXPECT_TRUE(describe_model(WeightIndex::of(specs).value(), "", said.root()).ok());
}

TEST(Families, TakesAWholeConfigAndRefusesWhatTheWeightsContradict) {
  const Fixture fixture("models/sdxl_b1_10x6.safetensors");
  TempFolder models;
  FileHashes hashes;
  const auto error_of = [&](const std::string& yaml) {
    make_model_folder(models, "m", fixture);
    models.write("m/model.yaml", yaml);
    const Result<ModelFolder> folder = read_model_folder(models.path("m"), hashes);
    return folder.ok() ? "" : folder.error().message;
  };
  EXPECT_EQ(error_of(test::model_yaml(fixture)), "");
  EXPECT_THAT(error_of("config: {num_head_channels: 8, channel_mult: [1, 2, 2]}\n"),
              HasSubstr("model.yaml:1:46: config.channel_mult: the weights say [1, 1, 2]"));
  EXPECT_THAT(error_of("config: {num_head_channels: 8, context_dim: 25}\n"),
              HasSubstr("the weights say 24"));
  EXPECT_THAT(error_of("config: {num_head_channels: 8, contxt_dim: 24}\n"),
              HasSubstr("context_dim"));
  EXPECT_THAT(error_of("family: sdxl\n"), HasSubstr("num_head_channels, 64"));
  EXPECT_THAT(error_of("family: flux\n"), HasSubstr("'img_in.weight' is missing"));
}

TEST(Families, WantsRotaryAxesForUnusualHeads) {
  TempFolder models;
  FileHashes hashes;
  for (const auto& [name, key] :
       {std::pair{"flux_dev_b1", "axes_dim"}, {"zimage_b1_8x8", "axes_dims"}}) {
    make_model_folder(models, "m", Fixture(std::string("models/") + name + ".safetensors"));
    models.write("m/model.yaml", "");
    EXPECT_THAT(read_model_folder(models.path("m"), hashes).error().message,
                HasSubstr(std::string(key) + " is needed for a head size of 32"));
    models.write("m/model.yaml", std::string("config: {") + key + ": [8, 12, 10]}\n");
    EXPECT_THAT(read_model_folder(models.path("m"), hashes).error().message,
                HasSubstr("add up to the head size, 32"));
  }
}

/// Replaces one tensor of a fixture's weights, or adds it.
std::vector<TensorView> with(const Fixture& fixture, const TensorSpec& spec,
                             std::span<const std::byte> bytes) {
  std::vector<TensorView> weights = test::weights_of(fixture);
  std::erase_if(weights, [&](const TensorView& view) { return view.spec.name == spec.name; });
  weights.push_back({spec, bytes});
  return weights;
}

class Formats : public ::testing::Test {
 protected:
  std::string error_of(const std::vector<TensorView>& weights) {
    models_.write("m/model.yaml", test::model_yaml(fixture_));
    PA_CHECK(write_safetensors(models_.path("m/w.safetensors"), {}, weights).ok());
    const Result<ModelFolder> folder = read_model_folder(models_.path("m"), hashes_);
    return folder.ok() ? "" : folder.error().message;
  }

  const std::string layer_ = "double_blocks.0.img_mlp.0";
  Fixture fixture_{"models/flux_schnell_fp8_comfy_quant.safetensors"};
  std::vector<std::byte> bytes_{std::size_t{256} * 64 * 4};
  TempFolder models_;
  FileHashes hashes_;
};

TEST_F(Formats, EightBitIntegersAreRefusedWithWhatToDo) {
  const std::span<const std::byte> bytes = std::span(bytes_).first(std::size_t{256} * 64);
  EXPECT_THAT(error_of(with(fixture_, {layer_ + ".weight", DType::kI8, {256, 64}}, bytes)),
              ::testing::AllOf(HasSubstr("8-bit integers"), HasSubstr("use the model's bf16")));
}

TEST_F(Formats, FourBitsAreRefusedWithWhatToDo) {
  const std::span<const std::byte> bytes = std::span(bytes_).first(16);
  for (const char* const name :
       {".weight.absmax", ".weight.quant_map", ".weight.quant_state.bitsandbytes__nf4"}) {
    EXPECT_THAT(error_of(with(fixture_, {layer_ + name, DType::kU8, {16}}, bytes)),
                ::testing::AllOf(HasSubstr("nf4"), HasSubstr("use the model's bf16")));
  }
  EXPECT_THAT(error_of(with(fixture_, {layer_ + ".weight_scale_2", DType::kF32, {4}}, bytes)),
              HasSubstr("4-bit"));
}

TEST_F(Formats, OtherQuantisationsAreNamed) {
  const std::string text = R"({"format": "mxfp8"})";
  const auto bytes = std::as_bytes(std::span(text));
  const TensorSpec spec{layer_ + ".comfy_quant", DType::kU8, {std::ssize(text)}};
  EXPECT_THAT(error_of(with(fixture_, spec, bytes)), HasSubstr("quantised as 'mxfp8'"));
}

TEST_F(Formats, ScalesAreOneNumber) {
  EXPECT_THAT(error_of(with(fixture_, {layer_ + ".weight_scale", DType::kF32, {2}},
                            std::span(bytes_).first(8))),
              HasSubstr("weight_scale' is F32 [2]; expected one F32 value"));
}

TEST_F(Formats, IntegersAreNoWeights) {
  EXPECT_THAT(error_of(with(fixture_, {layer_ + ".bias", DType::kI32, {256}},
                            std::span(bytes_).first(1024))),
              HasSubstr(".bias' is I32; expected F32"));
}

TEST_F(Formats, FilesOfOtherProgramsAreRefusedWithWhatToDo) {
  for (const auto& [file, what] : {std::pair{"a/model.ckpt", "convert it to .safetensors"},
                                   {"b/model.pt", "pickle"},
                                   {"c/model.gguf", "GGUF"}}) {
    models_.write(file, "x");
    const std::string folder = models_.path(std::string(file, 1));
    EXPECT_TRUE(has_model(folder));
    EXPECT_THAT(read_model_folder(folder, hashes_).error().message,
                ::testing::AllOf(HasSubstr(models_.path(file)), HasSubstr(what)));
  }
}

TEST(Shards, AreReadAsOneAndCheckedAgainstTheirIndex) {
  const Fixture fixture("models/flux_dev_b1.safetensors");
  TempFolder models;
  FileHashes hashes;
  const std::string yaml = test::model_yaml(fixture);
  models.write("m/model.yaml", yaml);
  const std::vector<TensorView> weights = test::weights_of(fixture);
  std::vector<std::vector<TensorView>> shards(2);
  nlohmann::json map;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    shards[i % 2].push_back(weights[i]);
    map[weights[i].spec.name] = i % 2 == 0 ? "w-1.safetensors" : "w-2.safetensors";
  }
  ASSERT_TRUE(write_safetensors(models.path("m/w-1.safetensors"), {}, shards[0]).ok());
  ASSERT_TRUE(write_safetensors(models.path("m/w-2.safetensors"), {}, shards[1]).ok());
  const auto error_of = [&](const nlohmann::json& index) {
    models.write("m/w.safetensors.index.json", index.dump());
    const Result<ModelFolder> folder = read_model_folder(models.path("m"), hashes);
    return folder.ok() ? "" : folder.error().message;
  };
  EXPECT_EQ(error_of({{"weight_map", map}}), "");
  nlohmann::json other = map;
  other[weights[0].spec.name] = "w-3.safetensors";
  EXPECT_THAT(error_of({{"weight_map", other}}), HasSubstr("the file 'w-3.safetensors'"));
  other[weights[0].spec.name] = "w-2.safetensors";
  EXPECT_THAT(error_of({{"weight_map", other}}), HasSubstr("which it does not"));
  EXPECT_THAT(error_of(1), HasSubstr("weight_map"));
}

TEST(Pipelines, AreTakenForTheirNetwork) {
  const Fixture fixture("models/flux_dev_b1.safetensors");
  TempFolder models;
  FileHashes hashes;
  models.write("m/model_index.json", "{}");
  models.write("m/vae/readme", "");
  models.write("m/model.yaml", test::model_yaml(fixture));
  std::filesystem::create_directories(models.path("m/transformer"));
  ASSERT_TRUE(
      write_safetensors(models.path("m/transformer/w.safetensors"), {}, test::weights_of(fixture))
          .ok());
  EXPECT_EQ(read_model_folder(models.path("m"), hashes)->info.family, "flux");
  std::filesystem::remove(models.path("m/model.yaml"));
  EXPECT_TRUE(has_model(models.path("m")));
}

}  // namespace
}  // namespace pa
