#include "worker/engine/noise.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>
#include <sodium.h>

#include "tests/support/fixture.h"
#include "worker/engine/philox.h"
#include "worker/engine/torch_randn.h"

namespace pa {
namespace {

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

at::Tensor whole_batch(std::uint64_t seed, const Shape& shape, std::int64_t draw) {
  std::vector<at::Tensor> rows;
  for (std::int64_t sample = 0; sample < shape[0]; ++sample) {
    rows.push_back(comfy_noise(seed, {{shape.begin() + 1, shape.end()}, shape[0], sample}, draw));
  }
  return at::stack(rows);
}

class ComfyNoise : public ::testing::Test {
 protected:
  nlohmann::json file_ = test::json_fixture("noise/randn.json");
};

TEST_F(ComfyNoise, IsTheReferencesBitForBit) {
  for (const nlohmann::json& draw : file_["draws"]) {
    const at::Tensor got = whole_batch(draw["seed"], draw["shape"].get<Shape>(), 0);
    expect_draw(got, draw, file_["atol"]);
  }
}

TEST_F(ComfyNoise, DrawsByIndexAsTheReferenceDoes) {
  for (const nlohmann::json& draw : file_["batch_index"]) {
    std::vector<at::Tensor> rows;
    for (const std::int64_t index : draw["indices"].get<std::vector<std::int64_t>>()) {
      rows.push_back(indexed_noise(draw["seed"], row_of(draw), index));
    }
    ASSERT_EQ(sha256(at::stack(rows)), draw["sha256"]) << draw;
  }
}

TEST_F(ComfyNoise, ReachesAnyDrawOfASamplersGenerator) {
  const nlohmann::json file = test::json_fixture("noise/default_noise_sampler.json");
  for (const nlohmann::json& run : file["cases"]) {
    for (std::size_t k = run["calls"].size(); k-- > 0;) {
      nlohmann::json call = run["calls"][k];
      call["seed"] = run["seed"];
      call["shape"] = run["shape"];
      const auto seed = run["seed"].get<std::uint64_t>() + 1;
      const at::Tensor got =
          whole_batch(seed, run["shape"].get<Shape>(), static_cast<std::int64_t>(k));
      expect_draw(got, call, file["atol"]);
    }
  }
}

TEST_F(ComfyNoise, GoesOnAfterOtherDraws) {
  const NoisePlace place{{4, 4, 4}, 3, 1};
  const at::Tensor after = comfy_noise(7, place, 0, 3);  // Past one whole batch.
  EXPECT_TRUE(at::equal(after, comfy_noise(7, place, 1)));
}

/// Values of every draw, in every part, are those that torch draws at once.
TEST(TorchRandn, PartsAreThoseOfTheWhole) {
  for (const std::int64_t size : {1, 5, 15, 16, 17, 31, 32, 624, 700, 5003}) {
    const at::Generator generator = at::detail::createCPUGenerator(99);
    for (std::int64_t draw = 0; draw < 3; ++draw) {
      const at::Tensor whole = at::empty({size}, at::kFloat).normal_(0.0, 1.0, generator);
      for (const std::int64_t count : {std::int64_t{1}, size / 3, size - 1, size}) {
        for (const std::int64_t begin : {std::int64_t{0}, (size - count) / 2, size - count}) {
          TorchRandn randn(99);
          randn.skip(size, draw);
          const at::Tensor part = at::empty({count}, at::kFloat);
          randn.draw(size, begin,
                     {part.mutable_data_ptr<float>(), static_cast<std::size_t>(count)});
          EXPECT_TRUE(at::equal(part, whole.narrow(0, begin, count)))
              << size << " values, draw " << draw << ", from " << begin << ", " << count;
          // The generator stands where the next draw begins.
          const at::Tensor next = at::empty({size}, at::kFloat);
          randn.draw(size, 0, {next.mutable_data_ptr<float>(), static_cast<std::size_t>(size)});
          EXPECT_TRUE(at::equal(next, comfy_noise(99, {{size}, 1, 0}, draw + 1)));
        }
      }
    }
  }
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
  const at::Tensor noise = keyed_noise(42, row, 3, 0);
  EXPECT_TRUE(at::equal(keyed_noise(42, row, 3, 0), noise));
  EXPECT_FALSE(at::equal(keyed_noise(42, row, 2, 0), noise));
  EXPECT_FALSE(at::equal(keyed_noise(42, row, 3, 1), noise));
  EXPECT_FALSE(at::equal(keyed_noise(42 + (std::uint64_t{1} << 32), row, 3, 0), noise));
}

TEST(KeyedNoise, IsStandardNormal) {
  const at::Tensor noise = keyed_noise(1, {100000}, 0, 0);
  const at::Tensor other = keyed_noise(1, {100000}, 1, 0);
  EXPECT_NEAR(noise.mean().item<double>(), 0.0, 0.01);
  EXPECT_NEAR(noise.std().item<double>(), 1.0, 0.01);
  EXPECT_NEAR(noise.pow(4).mean().item<double>(), 3.0, 0.1);
  EXPECT_NEAR((noise * other).mean().item<double>(), 0.0, 0.02);
}

}  // namespace
}  // namespace pa
