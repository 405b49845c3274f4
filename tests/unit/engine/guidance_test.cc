#include "worker/engine/guidance.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace pa {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;

std::vector<float> values_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous().flatten();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

Condition condition_of(const std::string& tensors, std::vector<std::int64_t> area) {
  Condition condition;
  condition.tensors = tensors;
  condition.area = std::move(area);
  return condition;
}

TEST(Feather, FallsOffTowardsTheInsideOfTheLatentOnly) {
  // 8 wide: a ramp of two pixels, on the left alone, since the right is the latent's edge.
  const at::Tensor weight = feather({4, 8, 0, 8}, {1, 4, 16});
  EXPECT_EQ(weight.sizes(), at::IntArrayRef({1, 1, 4, 8}));
  EXPECT_THAT(values_of(weight[0][0][2]), ElementsAre(0.5F, 1, 1, 1, 1, 1, 1, 1));
  // 64 wide inside of 128: the longest ramp, eight pixels, on both sides.
  const std::vector<float> wide = values_of(feather({1, 64, 0, 32}, {1, 1, 128}));
  for (std::size_t k = 0; k < 8; ++k) {
    EXPECT_FLOAT_EQ(wide[k], static_cast<float>(k + 1) / 8.0F);
    EXPECT_FLOAT_EQ(wide[63 - k], wide[k]);
  }
  EXPECT_EQ(wide[8], 1.0F);
  // Corners get both factors.
  EXPECT_FLOAT_EQ(feather({8, 8, 4, 4}, {1, 16, 16})[0][0][0][0].item<float>(), 0.25F);
}

TEST(AreaOf, IsCutOffAtTheEdges) {
  const Area area = area_of({8, 20, 2, 5}, {4, 6, 16}, "/f").value();
  EXPECT_EQ(area.height, 4);
  EXPECT_EQ(area.width, 11);
  const Result<Area> outside = area_of({8, 8, 6, 0}, {4, 6, 16}, "/positive/0/area");
  EXPECT_EQ(outside.error().field, "/positive/0/area");
  EXPECT_THAT(outside.error().message, HasSubstr("6 x 16"));
}

TEST(MaskFor, TakesOneOrManyRowsOfAnySize) {
  const Shape row{4, 2, 2};
  EXPECT_EQ(mask_for(at::ones({1, 2, 2}), "m", 3, row)->sizes(), at::IntArrayRef({1, 1, 2, 2}));
  EXPECT_EQ(mask_for(at::ones({3, 4, 2, 2}), "m", 3, row)->sizes(), at::IntArrayRef({3, 4, 2, 2}));
  const at::Tensor half = at::cat({at::zeros({1, 1, 8, 4}), at::ones({1, 1, 8, 4})}, 3);
  EXPECT_THAT(values_of(mask_for(half, "m", 3, row).value()), ElementsAre(0, 1, 0, 1));
  for (const at::Tensor& bad : {at::ones({2, 1, 2, 2}), at::ones({1, 3, 2, 2}), at::ones({2, 2}),
                                at::ones({1, 1, 2, 2}, at::kDouble), at::Tensor()}) {
    EXPECT_EQ(mask_for(bad, "m", 3, row).error().field, "/tensors/m");
  }
}

TEST(AddOpposites, GivesTheOtherPolarityTheSameArea) {
  std::vector<Condition> positive{condition_of("p", {}), condition_of("q", {4, 4, 0, 0})};
  positive[1].strength = 0.5;
  std::vector<Condition> negative{condition_of("n", {}), condition_of("large", {8, 8, 0, 0}),
                                  condition_of("far", {4, 4, 8, 8})};
  add_opposites(positive, negative);
  ASSERT_EQ(negative.size(), 4U);
  EXPECT_EQ(negative[3].tensors, "large");  // The smallest that covers the area.
  EXPECT_EQ(negative[3].area, positive[1].area);
  EXPECT_EQ(negative[3].strength, 0.5);
  ASSERT_EQ(positive.size(), 4U);
  EXPECT_EQ(positive[2].tensors, "p");
  EXPECT_EQ(positive[2].area, negative[1].area);
  const auto counts = std::pair(positive.size(), negative.size());
  add_opposites(positive, negative);  // Done already.
  EXPECT_EQ(std::pair(positive.size(), negative.size()), counts);
}

TEST(AddOpposites, LeavesAnEmptyPolarityEmpty) {
  std::vector<Condition> positive{condition_of("p", {4, 4, 0, 0})};
  std::vector<Condition> negative;
  add_opposites(positive, negative);
  EXPECT_TRUE(negative.empty());
}

class WeighTest : public ::testing::Test {
 protected:
  ConditionTerm& add(double value, double strength = 1.0) {
    ConditionTerm& term = terms_.emplace_back();
    term.strength = strength;
    term.first_sigma = INFINITY;
    term.last_sigma = -INFINITY;
    answers_.push_back(at::full({1, 1, 4}, value));
    return term;
  }
  std::vector<float> weighed(std::int64_t row = 0) {
    return values_of(weigh(terms_, answers_, Polarity::kPositive, row, at::zeros({1, 1, 4})));
  }

  std::vector<ConditionTerm> terms_;
  std::vector<at::Tensor> answers_;
};

TEST_F(WeighTest, IsTheMeanByStrength) {
  add(1.0, 3.0);
  add(5.0, 1.0);
  add(100.0).polarity = Polarity::kNegative;
  EXPECT_THAT(weighed(), ::testing::Each(FloatNear(2.0F, 1e-6F)));
}

TEST_F(WeighTest, IsZeroWhereNothingHolds) {
  add(7.0).area = Area{1, 2, 0, 1};
  terms_[0].weight = at::ones({1, 1, 1, 2});
  answers_[0] = at::full({1, 1, 2}, 7.0);
  EXPECT_THAT(weighed(), ElementsAre(0, 7, 7, 0));
  answers_[0] = at::Tensor();
  EXPECT_THAT(weighed(), ElementsAre(0, 0, 0, 0));
}

TEST_F(WeighTest, MasksHaveRowsOfTheirOwn) {
  add(2.0);
  add(4.0).weight =
      at::tensor({0.0F, 0.0F, 0.0F, 0.0F, 1.0F, 0.0F, 3.0F, 0.0F}).reshape({2, 1, 1, 4});
  EXPECT_THAT(weighed(0), ElementsAre(2, 2, 2, 2));
  EXPECT_THAT(weighed(1), ElementsAre(3, 2, 3.5F, 2));
}

TEST_F(WeighTest, OneThatCountsOneEverywhereIsPlain) {
  add(1.0);
  EXPECT_TRUE(is_plain(terms_, Polarity::kPositive, 1.0F));
  EXPECT_FALSE(is_plain(terms_, Polarity::kNegative, 1.0F));
  add(1.0).last_sigma = 2.0F;
  EXPECT_TRUE(is_plain(terms_, Polarity::kPositive, 1.0F));
  EXPECT_FALSE(is_plain(terms_, Polarity::kPositive, 2.0F));
}

TEST(PlaceTerm, RangesAreSigmasOfTheTable) {
  const SigmaTable table = SigmaTable::make({"flow", "flow", 3.0, 1.0}).value();
  Condition condition;
  ConditionTerm always;
  ASSERT_TRUE(place_term(condition, {}, table, 1, {1, 2, 2}, "/f", at::kCPU, always).ok());
  EXPECT_TRUE(always.holds(1.5F));
  EXPECT_TRUE(always.holds(0.0F));
  condition.start = 0.25;
  condition.end = 0.5;
  ConditionTerm term;
  ASSERT_TRUE(place_term(condition, {}, table, 1, {1, 2, 2}, "/f", at::kCPU, term).ok());
  // sigma(t) = 3 t / (1 + 2 t) at t = 0.75 and 0.5.
  EXPECT_NEAR(term.first_sigma, 0.9, 1e-6);
  EXPECT_NEAR(term.last_sigma, 0.75, 1e-6);
  EXPECT_TRUE(term.holds(term.first_sigma));
  EXPECT_TRUE(term.holds(term.last_sigma));
  EXPECT_FALSE(term.holds(0.91F));
}

/// Against the definition, by hand and in float64.
TEST(Rescale, PullsTheSpreadBack) {
  at::manual_seed(1);
  const at::Tensor x = at::randn({2, 3, 4});
  const at::Tensor positive = at::randn({2, 3, 4});
  const at::Tensor negative = at::randn({2, 3, 4});
  for (const bool flow : {true, false}) {
    const double sigma = 0.7;
    const at::Tensor guided = negative + (positive - negative) * 6.0;
    const auto velocity = [&](const at::Tensor& denoised) {
      const at::Tensor wide = denoised.to(at::kDouble);
      const at::Tensor from = x.to(at::kDouble);
      if (flow) return (from - wide) / sigma;
      const double total = sigma * sigma + 1.0;
      return (from / total - wide) * std::sqrt(total) / sigma;
    };
    at::Tensor got = guided.clone();
    rescale(got, positive, x, 0.7F, flow, 0.4);
    const at::Tensor v = velocity(guided);
    const double ratio = (velocity(positive).std() / v.std()).item<double>();
    EXPECT_LT(ratio, 0.5);
    const at::Tensor want = v * (0.4 * ratio + 0.6);
    EXPECT_LE((velocity(got) - want).abs().max().item<double>(), 1e-4);
    got = guided.clone();
    rescale(got, positive, x, 0.7F, flow, 0.0);
    EXPECT_LE((got - guided).abs().max().item<double>(), 1e-5);
  }
}

TEST(Inpaint, MixesWhatTheMaskDoesNotCover) {
  const at::Tensor mask = at::tensor({1.0F, 0.0F}).reshape({1, 1, 1, 2});
  const at::Tensor latent = at::full({2, 1, 1, 2}, 3.0F);
  const at::Tensor noise = at::tensor({1.0F, 1.0F, 2.0F, 2.0F}).reshape({2, 1, 1, 2});
  const at::Tensor x = at::full({1, 1, 2}, 10.0F);
  const Inpaint flow(mask, latent, noise, true);
  EXPECT_THAT(values_of(flow.blend(0, x, 0.5F)), ElementsAre(10.0F, 2.0F));
  EXPECT_THAT(values_of(flow.blend(1, x, 0.5F)), ElementsAre(10.0F, 2.5F));
  const Inpaint exploding(mask, at::Tensor(), noise, false);
  EXPECT_THAT(values_of(exploding.blend(1, x, 5.0F)), ElementsAre(10.0F, 10.0F));
  const at::Tensor denoised = at::full({1, 1, 2}, 7.0F);
  flow.keep(0, denoised);
  EXPECT_THAT(values_of(denoised), ElementsAre(7.0F, 3.0F));
  EXPECT_FALSE(static_cast<bool>(Inpaint()));
}

}  // namespace
}  // namespace pa
