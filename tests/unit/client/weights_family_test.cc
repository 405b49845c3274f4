#include "clients/cli/weights_family.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clients/cli/sha256.h"

namespace pa::cli {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Pair;

Shapes small_flux() {
  return {{"img_in.weight", {96, 4}},
          {"txt_in.weight", {96, 32}},
          {"time_in.in_layer.weight", {96, 256}},
          {"vector_in.in_layer.weight", {96, 32}},
          {"final_layer.linear.weight", {4, 96}},
          {"double_blocks.0.img_attn.qkv.weight", {288, 96}},
          {"double_blocks.1.img_attn.qkv.weight", {288, 96}},
          {"single_blocks.0.linear1.weight", {672, 96}}};
}

TEST(WeightsFamily, ReadsFluxOffItsKeys) {
  const WeightsFamily found = recognise(small_flux());
  EXPECT_EQ(found.family, "flux");
  EXPECT_EQ(found.naming, "BFL");
  EXPECT_THAT(found.sizes, Contains(Pair("hidden size", "96")));
  EXPECT_THAT(found.sizes, Contains(Pair("double blocks", "2")));
  EXPECT_THAT(found.sizes, Contains(Pair("single blocks", "1")));
  EXPECT_THAT(found.sizes, Contains(Pair("guidance embedding", "no (schnell)")));
  EXPECT_THAT(found.problems, IsEmpty());
}

TEST(WeightsFamily, LooksThroughACheckpointsPrefix) {
  Shapes prefixed{{"first_stage_model.x", {1}}};
  for (const auto& [name, shape] : small_flux())
    prefixed.emplace("model.diffusion_model." + name, shape);
  EXPECT_EQ(recognise(prefixed).family, "flux");
  EXPECT_THAT(recognise(prefixed).sizes, Contains(Pair("hidden size", "96")));
}

TEST(WeightsFamily, NamesWhatIsMissing) {
  Shapes shapes = small_flux();
  shapes.erase("txt_in.weight");
  shapes.emplace("double_blocks.3.img_attn.qkv.weight", Shape{288, 96});
  EXPECT_THAT(recognise(shapes).problems, Contains("there is no tensor txt_in.weight"));
  EXPECT_THAT(recognise(shapes).problems, Contains("there is no block double_blocks.2"));
}

TEST(WeightsFamily, KnowsTheOthersApart) {
  EXPECT_EQ(recognise({{"label_emb.0.0.weight", {4, 4}}, {"input_blocks.0.0.weight", {8, 4, 3, 3}}})
                .family,
            "sdxl");
  EXPECT_EQ(recognise({{"cap_pad_token", {1, 8}}, {"x_pad_token", {1, 8}}}).family, "zimage");
  EXPECT_EQ(recognise({{"transformer_blocks.0.norm1_context.linear.weight", {8, 8}}}).naming,
            "diffusers");
  EXPECT_EQ(recognise({{"lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight", {8, 4}}}).family,
            "lora");
  EXPECT_EQ(recognise({{"something.else", {1}}}).family, "");
}

TEST(Sha256, OfNothingAndOfAbc) {
  EXPECT_EQ(sha256({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256(std::as_bytes(std::span("abc", 3))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace pa::cli
