#include "worker/models/weights.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/model_folder.h"

namespace pa {
namespace {

using test::TempFolder;
using ::testing::HasSubstr;

class WeightsTest : public ::testing::Test {
 protected:
  WeightsTest() {
    const std::vector<float> full{1.5F, -2.0F, 4.0F, 0.25F};
    const std::vector<std::uint16_t> half{0x3FC0, 0xC000, 0x4080, 0x3E80};  // The same in BF16.
    const std::vector<std::uint8_t> eighth{0x3C, 0xC0, 0x48, 0x28};         // And in F8_E4M3.
    const std::vector<float> scale{2.0F};
    const auto bytes = [](const auto& values) { return std::as_bytes(std::span(values)); };
    const Status written =
        write_safetensors(folder_.path("w"), {},
                          {{{"full.weight", DType::kF32, {2, 2}}, bytes(full)},
                           {{"half.weight", DType::kBF16, {2, 2}}, bytes(half)},
                           {{"fp8.weight", DType::kF8E4M3, {2, 2}}, bytes(eighth)},
                           {{"fp8.scale_weight", DType::kF32, {}}, bytes(scale)},
                           {{"q.weight", DType::kF32, {2, 2}}, bytes(full)},
                           {{"k.weight", DType::kBF16, {2, 2}}, bytes(half)}});
    PA_CHECK(written.ok());
    blueprint_.linear("full", 2, 2, false, {{"full", 2}});
    blueprint_.linear("half", 2, 2, false, {{"half", 2}});
    blueprint_.linear("fp8", 2, 2, false, {{"fp8", 2}});
    // Rows of `k` the other way round.
    blueprint_.linear_of_parts("qk", 4, 2, false, {{"q", 0, 2, 2}, {"k", 1, 1, 2}, {"k", 0, 1, 2}});
  }

  Result<std::unique_ptr<Weights>> load(at::ScalarType dtype, const LoadProgress& progress = {}) {
    PA_ASSIGN(file_, SafetensorsFile::open(folder_.path("w")));
    PA_ASSIGN(WeightIndex index, WeightIndex::of({*file_}));
    return Weights::load(std::move(index), blueprint_, Naming::kDiffusers, at::kCPU, dtype,
                         progress);
  }

  c10::InferenceMode guard_;
  TempFolder folder_;
  Blueprint blueprint_;
  std::optional<SafetensorsFile> file_;
  const at::Tensor values_ = at::tensor({1.5F, -2.0F, 4.0F, 0.25F}).view({2, 2});
};

TEST_F(WeightsTest, AreWidenedScaledAndPutTogether) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const std::unique_ptr<Weights> weights = load(dtype).value();
    const auto get = [&](const char* name) { return weights->at(name)->to(at::kFloat); };
    EXPECT_EQ(weights->at("full.weight")->scalar_type(), dtype);
    EXPECT_TRUE(at::equal(get("full.weight"), values_));
    EXPECT_TRUE(at::equal(get("half.weight"), values_));
    EXPECT_TRUE(at::equal(get("fp8.weight"), values_ * 2));
    EXPECT_TRUE(at::equal(get("qk.weight"), at::cat({values_, values_.flip(0)})));
    EXPECT_EQ(weights->find("other"), nullptr);
  }
}

TEST_F(WeightsTest, AliasTheMapWhereNothingIsConverted) {
  const std::unique_ptr<Weights> full = load(at::kFloat).value();
  EXPECT_EQ(full->at("full.weight")->const_data_ptr(), file_->find("full.weight")->bytes.data());
  EXPECT_NE(full->at("half.weight")->const_data_ptr(), file_->find("half.weight")->bytes.data());
  const std::unique_ptr<Weights> half = load(at::kBFloat16).value();
  EXPECT_EQ(half->at("half.weight")->const_data_ptr(), file_->find("half.weight")->bytes.data());
  file_.reset();
  EXPECT_TRUE(at::equal(*full->at("full.weight"), values_));  // It outlives the file.
}

TEST_F(WeightsTest, AreReplacedAndRestoredBitForBit) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const std::unique_ptr<Weights> weights = load(dtype).value();
    for (const char* const name : {"full.weight", "half.weight", "fp8.weight", "qk.weight"}) {
      const at::Tensor* const place = weights->at(name);
      const at::Tensor before = place->clone();
      weights->replace(name, weights->stored(name) + 0.125);
      EXPECT_TRUE(at::equal(*place, (before.to(at::kFloat) + 0.125).to(dtype))) << name;
      weights->restore(name);
      EXPECT_TRUE(at::equal(*place, before)) << name;
    }
  }
}

TEST_F(WeightsTest, TellsHowFarItIs) {
  std::vector<std::int64_t> done;
  std::int64_t all = 0;
  ASSERT_TRUE(load(at::kFloat, [&](std::int64_t bytes, std::int64_t total) {
                done.push_back(bytes);
                all = total;
                return true;
              }).ok());
  EXPECT_EQ(done.size(), 5U);
  EXPECT_EQ(done.front(), 0);
  EXPECT_EQ(done.back(), all);
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
}

TEST_F(WeightsTest, CanBeCancelled) {
  int calls = 0;
  const auto cancelled = load(at::kFloat, [&](std::int64_t, std::int64_t) { return ++calls < 3; });
  EXPECT_EQ(cancelled.error().code, Code::kCancelled);
  EXPECT_EQ(calls, 3);
}

TEST_F(WeightsTest, TellsWhatDoesNotFit) {
  blueprint_.linear("gone", 2, 2, false, {{"fall", 2}});
  EXPECT_THAT(load(at::kFloat).error().message, HasSubstr("tensor 'fall.weight' is missing"));
}

}  // namespace
}  // namespace pa
