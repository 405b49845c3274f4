#include "worker/engine/noise.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sodium.h>

#include <numeric>

#include "tests/support/fixture.h"
#include "worker/engine/philox.h"

namespace pa {
namespace {

std::vector<std::int64_t> first(std::int64_t count) {
  std::vector<std::int64_t> samples(static_cast<std::size_t>(count));
  std::iota(samples.begin(), samples.end(), std::int64_t{0});
  return samples;
}

Shape row_of(const nlohmann::json& draw) {
  const auto shape = draw["shape"].get<Shape>();
  return {shape.begin() + 1, shape.end()};
}

std::string sha256(const at::Tensor& tensor) {
  std::array<unsigned char, crypto_hash_sha256_BYTES> digest{};
  crypto_hash_sha256(digest.data(), static_cast<const unsigned char*>(tensor.const_data_ptr()),
                     tensor.nbytes());
  std::string text;
  for (const unsigned char byte : digest) {
    constexpr const char* kDigits = "0123456789abcdef";
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

/// Bits hold where torch's randn runs on 256-bit vectors; elsewhere values do.
void expect_draw(const at::Tensor& got, const nlohmann::json& draw, double tolerance) {
  if (sha256(got) == draw["sha256"]) return;
  const at::Tensor flat = got.flatten();
  const auto want = draw["first"].get<std::vector<float>>();
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR(flat[static_cast<std::int64_t>(i)].item<float>(), want[i], tolerance) << draw;
  }
  ADD_FAILURE() << "other bits than the reference: " << draw["seed"] << " " << draw["shape"];
}

class ComfyNoise : public ::testing::Test {
 protected:
  nlohmann::json file_ = test::json_fixture("noise/randn.json");
};

TEST_F(ComfyNoise, IsTheReferencesBitForBit) {
  for (const nlohmann::json& draw : file_["draws"]) {
    const std::int64_t batch = draw["shape"][0];
    const at::Tensor got = comfy_noise(draw["seed"], row_of(draw), batch, first(batch), {}).value();
    expect_draw(got, draw, file_["atol"]);
  }
}

TEST_F(ComfyNoise, DrawsByIndexAsTheReferenceDoes) {
  for (const nlohmann::json& draw : file_["batch_index"]) {
    const auto index = draw["indices"].get<std::vector<std::int64_t>>();
    const at::Tensor got =
        comfy_noise(draw["seed"], row_of(draw), std::ssize(index), first(std::ssize(index)), index)
            .value();
    ASSERT_EQ(sha256(got), draw["sha256"]) << draw;
  }
}

TEST_F(ComfyNoise, GivesASampleTheSameRowWhereverItIsMade) {
  for (const Shape& row : {Shape{16, 4, 4}, Shape{4, 5, 7}, Shape{1, 1, 3}}) {
    const at::Tensor whole = comfy_noise(7, row, 6, first(6), {}).value();
    const std::vector<std::int64_t> some{1, 4};
    const at::Tensor part = comfy_noise(7, row, 6, some, {}).value();
    EXPECT_TRUE(at::equal(part[0], whole[1])) << to_string(row);
    EXPECT_TRUE(at::equal(part[1], whole[4])) << to_string(row);
  }
}

TEST_F(ComfyNoise, RefusesIndicesOutOfRange) {
  const std::vector<std::int64_t> negative{0, -1};
  EXPECT_EQ(comfy_noise(7, {16}, 2, first(2), negative).error().field, "/batch_index/1");
  const std::vector<std::int64_t> huge{kMaxBatchIndex + 1, 0};
  EXPECT_EQ(comfy_noise(7, {16}, 2, first(2), huge).error().field, "/batch_index/0");
}

TEST(Philox, ReproducesThePublishedVectors) {
  const auto word = [](const nlohmann::json& text) {
    return static_cast<std::uint32_t>(std::stoul(text.get<std::string>(), nullptr, 16));
  };
  int compared = 0;
  const nlohmann::json file = test::json_fixture("noise/philox4x32_10.json");
  for (const nlohmann::json& v : file["vectors"]) {
    const auto& c = v["counter"];
    const auto out = philox4x32_10({word(c[0]), word(c[1]), word(c[2]), word(c[3])},
                                   {word(v["key"][0]), word(v["key"][1])});
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(out[i], word(v["out"][i])) << v;
    ++compared;
  }
  EXPECT_GE(compared, 3);
}

TEST(KeyedNoise, IsAFunctionOfSeedSampleAndInterval) {
  const Shape row{3, 5, 5};
  const at::Tensor whole = keyed_noise(42, row, first(4), 0);
  const std::vector<std::int64_t> some{3, 1};
  EXPECT_TRUE(at::equal(keyed_noise(42, row, some, 0)[0], whole[3]));
  EXPECT_FALSE(at::equal(keyed_noise(42, row, some, 1)[0], whole[3]));
  EXPECT_FALSE(at::equal(keyed_noise(42 + (std::uint64_t{1} << 32), row, some, 0)[0], whole[3]));
}

TEST(KeyedNoise, IsStandardNormal) {
  const at::Tensor noise = keyed_noise(1, {100000}, first(2), 0);
  EXPECT_NEAR(noise.mean().item<double>(), 0.0, 0.01);
  EXPECT_NEAR(noise.std().item<double>(), 1.0, 0.01);
  EXPECT_NEAR(noise.pow(4).mean().item<double>(), 3.0, 0.1);
  EXPECT_NEAR((noise[0] * noise[1]).mean().item<double>(), 0.0, 0.02);
}

}  // namespace
}  // namespace pa
