#include "coordinator/core/level.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "coordinator/core/rehearsal.h"

namespace pa {
namespace {

using ::testing::ElementsAre;

LevelDevice device(double fixed, double per_row, std::int64_t limit) {
  return {{fixed, per_row, {}}, limit, 0, {}};
}

LevelSnapshot snapshot(std::vector<LevelDevice> devices, int samples, int steps) {
  LevelSnapshot s;
  s.devices = std::move(devices);
  s.samples.assign(static_cast<std::size_t>(samples), LevelSample{steps, -1, 0, 0});
  s.move = 0.1;
  return s;
}

TEST(PassCostTest, CountsTheRowsThatATimeAllows) {
  const PassCost line{1, 2, {}};
  EXPECT_EQ(line.rows_within(2.9, 8), 0);
  EXPECT_EQ(line.rows_within(3, 8), 1);
  EXPECT_EQ(line.rows_within(7, 8), 3);
  EXPECT_EQ(line.rows_within(1000, 8), 8);
  const std::vector<double> seen{3, 3, 9};
  const PassCost bent{3, 2, seen};
  EXPECT_EQ(bent.rows_within(3, 8), 2);
  EXPECT_EQ(bent.rows_within(10, 8), 3);
  EXPECT_EQ(bent.rows_within(11, 8), 4);
}

TEST(PassCostTest, KnowsTheRowsADeviceIsBestAt) {
  EXPECT_EQ((PassCost{1, 2, {}}).best_rows(8), 8);
  EXPECT_EQ((PassCost{0, 2, {}}).best_rows(8), 1) << "more gain nothing";
  const std::vector<double> cliff{1, 1.1, 1.2, 5};
  EXPECT_EQ((PassCost{4, 0.25, cliff}).best_rows(4), 3);
}

TEST(LevelTest, BestRowsAreTheBestOfAllSplits) {
  std::mt19937_64 random(1);
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<LevelDevice> devices;
    std::vector<std::int64_t> caps;
    for (int i = 0; i < 3; ++i) {
      devices.push_back(device(std::uniform_real_distribution<>(0, 1)(random),
                               std::uniform_real_distribution<>(0.1, 2)(random), 4));
      caps.push_back(static_cast<std::int64_t>(random() % 5));
    }
    const auto samples = static_cast<std::int64_t>(random() % 13);
    double best = 0;
    for (std::int64_t a = 0; a <= caps[0]; ++a) {
      for (std::int64_t b = 0; b <= caps[1]; ++b) {
        for (std::int64_t c = 0; c <= caps[2] && a + b + c <= samples; ++c) {
          const auto rate = [&](std::size_t i, std::int64_t n) {
            return n == 0 ? 0 : static_cast<double>(n) / devices[i].cost(n);
          };
          best = std::max(best, rate(0, a) + rate(1, b) + rate(2, c));
        }
      }
    }
    EXPECT_NEAR(best_rows(devices, caps, samples).rate, best, 1e-9);
  }
}

TEST(LevelTest, OneSampleGoesToTheFastestDevice) {
  const LevelSnapshot s = snapshot({device(1, 2, 8), device(1, 1, 8), device(1, 3, 8)}, 1, 20);
  const LevelPlan plan = level(s, level_settings()[0]);
  EXPECT_THAT(plan.place, ElementsAre(1));
  EXPECT_THAT(plan.rows, ElementsAre(0, 1, 0));
}

TEST(LevelTest, TheLongestGoToTheFastestPlaces) {
  LevelSnapshot s = snapshot({device(0, 1, 1), device(0, 3, 1)}, 2, 20);
  s.samples[0] = {5, 0, 0, 0};
  s.samples[1] = {15, 1, 0, 0};
  EXPECT_THAT(level(s, level_settings()[0]).place, ElementsAre(1, 0));
  s.samples[0].moves = s.samples[1].moves = 3;
  EXPECT_THAT(level(s, level_settings()[0]).place, ElementsAre(0, 1)) << "they moved enough";
}

TEST(LevelTest, AlikePlacesAreNotWorthAMove) {
  LevelSnapshot s = snapshot({device(0, 1, 1), device(0, 1.1, 1)}, 2, 20);
  s.samples[0] = {5, 0, 0, 0};
  s.samples[1] = {15, 1, 0, 0};
  EXPECT_THAT(level(s, level_settings()[0]).place, ElementsAre(0, 1));
}

/// Whatever the snapshot: every live sample has one place, no device more than its limit, ended ones none.
TEST(LevelTest, PlansArePossible) {
  std::mt19937_64 random(2);
  for (int trial = 0; trial < 500; ++trial) {
    LevelSnapshot s;
    const int devices = 1 + static_cast<int>(random() % 6);
    for (int i = 0; i < devices; ++i) {
      s.devices.push_back(device(std::uniform_real_distribution<>(0, 1)(random),
                                 std::uniform_real_distribution<>(0.1, 9)(random),
                                 static_cast<std::int64_t>(random() % 5)));
    }
    const int samples = static_cast<int>(random() % 25);
    for (int j = 0; j < samples; ++j) {
      LevelSample sample;
      sample.left = static_cast<int>(random() % 21);
      sample.device = static_cast<int>(random() % static_cast<std::uint64_t>(devices + 1)) - 1;
      sample.moves = static_cast<int>(random() % 5);
      if (sample.device >= 0 && sample.left > 0 && random() % 2 == 0)
        s.devices[static_cast<std::size_t>(sample.device)].running.push_back(j);
      s.samples.push_back(sample);
    }
    for (const LevelSetting& setting : level_settings()) {
      const LevelPlan plan = level(s, setting);
      std::vector<std::int64_t> placed(s.devices.size());
      for (int j = 0; j < samples; ++j) {
        const int to = plan.place[static_cast<std::size_t>(j)];
        EXPECT_TRUE(to == -1 || s.samples[static_cast<std::size_t>(j)].left > 0);
        ASSERT_LT(to, devices);
        if (to >= 0) ++placed[static_cast<std::size_t>(to)];
      }
      for (std::size_t i = 0; i < s.devices.size(); ++i) {
        EXPECT_LE(placed[i], plan.rows[i]);
        EXPECT_TRUE(setting.drop == 0 || plan.rows[i] <= s.devices[i].limit);
      }
      EXPECT_EQ(level(s, setting).place, plan.place) << "equal snapshots give equal plans";
    }
  }
}

TEST(RehearsalTest, EndsWhenTheBoundSaysForEqualDevices) {
  const LevelSnapshot s = snapshot({device(1, 1, 4), device(1, 1, 4)}, 16, 10);
  Rehearsal rehearsal(s, level_settings()[0]);
  ASSERT_TRUE(rehearsal.advance(1 << 20));
  EXPECT_NEAR(rehearsal.finish(), makespan_bound(s.devices, 16, 10), 1e-6);
}

TEST(RehearsalTest, GoesOnInPiecesAsAtOnce) {
  const LevelSnapshot s = snapshot({device(1, 1, 4), device(1, 5, 4), device(0, 9, 2)}, 13, 10);
  Rehearsal whole(s, level_settings()[4]);
  ASSERT_TRUE(whole.advance(1 << 20));
  Rehearsal pieces(s, level_settings()[4]);
  while (!pieces.advance(3)) {
  }
  EXPECT_EQ(whole.finish(), pieces.finish());
  SettingChoice choice(s, level_settings()[0]);
  while (!choice.advance(5)) {
  }
  EXPECT_EQ(choice.setting(), choose_setting(s, level_settings()[0]));
  EXPECT_LE(choice.finish(), whole.finish() * 1.01);
}

TEST(RehearsalTest, LoadingIsWaitedForOnceAndOnlyByWhoIsUsed) {
  LevelSnapshot s = snapshot({device(0, 1, 1)}, 2, 5);
  s.devices[0].wait = 7;
  Rehearsal rehearsal(s, level_settings()[0]);
  EXPECT_TRUE(rehearsal.advance(1000));
  EXPECT_DOUBLE_EQ(rehearsal.finish(), 17);
}

/// When the samples end under the setting that is chosen.
double finish_of(const LevelSnapshot& s) {
  Rehearsal rehearsal(s, choose_setting(s, level_settings()[0]));
  EXPECT_TRUE(rehearsal.advance(100000));
  return rehearsal.finish();
}

TEST(RehearsalTest, ASlowerDeviceThatHasTheModelMayBeTheFastest) {
  LevelSnapshot s = snapshot({device(0, 1, 4), device(0, 1.5, 4)}, 1, 10);
  s.devices[0].wait = 20;
  EXPECT_DOUBLE_EQ(finish_of(s), 15);
  s.devices[0].wait = 2;
  EXPECT_DOUBLE_EQ(finish_of(s), 12);
  // Two that have it, and two faster ones that have not.
  s = snapshot({device(0, 1, 1), device(0, 1, 1), device(0, 1.5, 1), device(0, 1.5, 1)}, 2, 10);
  s.devices[0].wait = s.devices[1].wait = 20;
  EXPECT_DOUBLE_EQ(finish_of(s), 15);
}

TEST(RehearsalTest, MuchWorkIsWorthLoading) {
  LevelSnapshot s = snapshot({device(0, 1, 1), device(0, 1, 1)}, 40, 10);
  s.devices[0].wait = 20;
  EXPECT_LT(finish_of(s), 225) << "alone it would take 400";
  EXPECT_GE(finish_of(s), 210);
}

TEST(RehearsalTest, NeverEndsWithoutADevice) {
  Rehearsal rehearsal(snapshot({device(1, 1, 0)}, 3, 5), level_settings()[0]);
  EXPECT_TRUE(rehearsal.advance(1 << 20));
  EXPECT_TRUE(std::isinf(rehearsal.finish()));
}

}  // namespace
}  // namespace pa
