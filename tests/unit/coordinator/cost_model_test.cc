#include "coordinator/core/cost_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace pa {
namespace {

const CostModel::DeviceId kFast{"a", "card X"};
const CostModel::DeviceId kSlow{"b", "card Y"};
const PassKind kSmall{"flux", {16, 64, 64}};
const PassKind kLarge{"flux", {16, 128, 128}};

double seconds(CostModel& model, const CostModel::DeviceId& device, const PassKind& kind,
               std::int64_t rows, double part = 1) {
  return model.estimate(device, kind, part).times->cost()(rows);
}

TEST(CostModelTest, LearnsALineFromTwoRowCounts) {
  PassEstimate estimate(0.03, 0.1, 0);
  for (int i = 0; i < 20; ++i) {
    estimate.observe(1, 0.3, 1);
    estimate.observe(8, 1.0, 1);
  }
  EXPECT_NEAR(estimate.cost()(1), 0.3, 0.01);
  EXPECT_NEAR(estimate.cost()(8), 1.0, 0.03);
  EXPECT_NEAR(estimate.cost()(4), 0.6, 0.06);
  EXPECT_NEAR(estimate.cost()(16), 1.8, 0.2);
}

TEST(CostModelTest, OnePassTellsTheScale) {
  PassEstimate estimate(0.03, 0.1, 0);
  estimate.observe(4, 4.3, 1);
  EXPECT_NEAR(estimate.cost()(4), 4.3, 0.01);
  EXPECT_NEAR(estimate.cost()(1), 1.3, 0.1) << "the belief's shape, ten times as slow";
}

TEST(CostModelTest, NeverFallsWithRows) {
  std::mt19937_64 random(3);
  PassEstimate estimate(0.03, 0.1, 0);
  for (int i = 0; i < 300; ++i) {
    const auto rows = static_cast<std::int64_t>(1 + random() % 16);
    estimate.observe(rows, std::uniform_real_distribution<>(0.1, 3)(random), 1);
    double before = 0;
    for (std::int64_t n = 1; n <= 40; ++n) {
      ASSERT_GE(estimate.cost()(n), before - 1e-12) << "pass " << i << ", rows " << n;
      ASSERT_GT(estimate.cost()(n), 0);
      before = estimate.cost()(n);
    }
  }
}

TEST(CostModelTest, AnAccidentChangesLittleAndAChangeOfSpeedIsNoticedInTwoPasses) {
  PassEstimate estimate(0.03, 0.1, 0);
  for (int i = 0; i < 20; ++i) estimate.observe(4, 1, 1);
  estimate.observe(4, 30, 1);
  EXPECT_LT(estimate.cost()(4), 1.1);
  for (int i = 0; i < 5; ++i) estimate.observe(4, 1, 1);
  EXPECT_NEAR(estimate.cost()(4), 1, 0.05);
  estimate.observe(4, 3, 1);
  estimate.observe(4, 3, 1);
  EXPECT_NEAR(estimate.cost()(4), 3, 0.3);
  EXPECT_NEAR(estimate.cost()(1) / estimate.cost()(4), 0.33, 0.12) << "of all row counts";
  for (int i = 0; i < 3; ++i) estimate.observe(4, 1, 1);
  EXPECT_NEAR(estimate.cost()(4), 1, 0.2) << "and back";
}

TEST(CostModelTest, RemembersWhatFindsNoMemory) {
  PassEstimate estimate(0.03, 0.1, 0);
  EXPECT_EQ(estimate.rows_that_fit(8), 8);
  estimate.out_of_memory(8);
  EXPECT_EQ(estimate.rows_that_fit(8), 4) << "half of it, until more is known to fit";
  estimate.observe(6, 1, 1);
  EXPECT_EQ(estimate.rows_that_fit(8), 6);
  EXPECT_EQ(estimate.rows_that_fit(5), 5);
  estimate.observe(8, 1, 1);
  EXPECT_EQ(estimate.rows_that_fit(8), 8) << "now they fit";
}

TEST(CostModelTest, StartsFromTheWeight) {
  CostModel model;
  EXPECT_EQ(model.estimate(kFast, kSmall, 1).basis, CostBasis::kNothing);
  EXPECT_NEAR(seconds(model, kFast, kSmall, 1, 0.5) / seconds(model, kSlow, kSmall, 1, 2), 4, 1e-6);
  for (int i = 0; i < 5; ++i) model.observe(kFast, kSmall, 1, 0.1, 1);
  EXPECT_EQ(model.estimate(kSlow, kSmall, 0.25).basis, CostBasis::kOthers);
  EXPECT_NEAR(seconds(model, kSlow, kSmall, 1, 0.25), 0.4, 0.02);
}

TEST(CostModelTest, ElseFromTheDeviceItselfElseFromItsLike) {
  CostModel model;
  for (int i = 0; i < 5; ++i) model.observe(kFast, kSmall, 1, 0.1, 1);
  EXPECT_NEAR(seconds(model, kFast, kLarge, 1) / 0.1, 4, 1.1) << "four times the pixels";
  const CostModel::DeviceId like{"c", "card X"};
  EXPECT_NEAR(seconds(model, like, kSmall, 1), 0.1, 0.01);
  for (int i = 0; i < 5; ++i) model.observe(kSlow, kSmall, 1, 0.3, 1);
  for (int i = 0; i < 5; ++i) model.observe(kSlow, kLarge, 1, 3.0, 1);
  EXPECT_NEAR(seconds(model, kFast, kLarge, 1), 1.0, 0.1) << "as the two compare elsewhere";
}

TEST(CostModelTest, AnotherCardUnderTheSameNameBeginsAnew) {
  CostModel model;
  for (int i = 0; i < 5; ++i) model.observe(kFast, kSmall, 1, 0.1, 1);
  EXPECT_EQ(model.estimate({"a", "card Z"}, kSmall, 1).basis, CostBasis::kNothing);
}

TEST(CostModelTest, ComesBackFromText) {
  CostModel model;
  for (int i = 0; i < 5; ++i) {
    model.observe(kFast, kSmall, 1, 0.1, 1);
    model.observe(kFast, kSmall, 6, 0.4, 1);
    model.observe(kSlow, kLarge, 2, 0.9, 1);
  }
  model.out_of_memory(kFast, kSmall, 9);
  CostModel back;
  ASSERT_TRUE(back.load(model.save()).ok());
  for (const std::int64_t rows : {1, 3, 6}) {
    EXPECT_NEAR(seconds(back, kFast, kSmall, rows) / seconds(model, kFast, kSmall, rows), 1, 0.05);
  }
  EXPECT_EQ(back.estimate(kSlow, kLarge, 1).basis, CostBasis::kMeasured);
  EXPECT_EQ(back.estimate(kFast, kSmall, 1).times->rows_that_fit(16), 6);
  EXPECT_EQ(back.save(), model.save());
}

TEST(CostModelTest, RefusesOtherText) {
  CostModel model;
  model.observe(kFast, kSmall, 1, 0.1, 1);
  const std::string good = model.save();
  for (const std::string& bad :
       {std::string(), std::string("pass-costs 2\n"), good + "a\tb\n",
        good + "a\tb\tc\t4x4\t0\t1\t1\n", good + "a\tb\tc\t4x4\t1\tnan\t1\n",
        good + "a\tb\tc\t4xq\t1\t1\t1\n", good + "a\tb\tc\t4x4\t1\t1\t-1\n"}) {
    CostModel fresh;
    const Status status = fresh.load(bad);
    ASSERT_FALSE(status.ok()) << bad;
    EXPECT_THAT(status.error().message, ::testing::HasSubstr("line "));
  }
}

}  // namespace
}  // namespace pa
