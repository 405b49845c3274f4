#include "worker/engine/row_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <random>

#include "worker/engine/row_memory.h"

namespace pa {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// `count` rows of a request.
void add_rows(std::vector<DueRow>& due, std::size_t claim, int count, DueRow like = {}) {
  like.claim = claim;
  for (int i = 0; i < count; ++i) due.push_back(like);
}

TEST(ChooseRows, TakesTheRowsOfOneRequestInOrder) {
  std::vector<DueRow> due;
  EXPECT_THAT(choose_rows({}, due, {}), IsEmpty());
  add_rows(due, 0, 5);
  EXPECT_THAT(choose_rows(std::vector<Claim>(1), due, {.max_rows = 3}), ElementsAre(0, 1, 2));
}

TEST(ChooseRows, FillsAPassWithTheNextRequestsRows) {
  std::vector<DueRow> due;
  add_rows(due, 0, 3);
  add_rows(due, 1, 6);
  EXPECT_THAT(choose_rows(std::vector<Claim>(2), due, {.max_rows = 4}), ElementsAre(0, 1, 2, 3));
  std::vector<Claim> claims(2);
  claims[0].finish = 2;
  EXPECT_THAT(choose_rows(claims, due, {.max_rows = 4}), ElementsAre(3, 4, 5, 6));
}

TEST(ChooseRows, FillsWithWhatFitsTheFirst) {
  std::vector<DueRow> due;
  add_rows(due, 0, 1, {.group = 7});
  add_rows(due, 1, 2, {.group = 3});
  add_rows(due, 2, 2, {.group = 7});
  EXPECT_THAT(choose_rows(std::vector<Claim>(3), due, {}), ElementsAre(0, 3, 4));
}

TEST(ChooseRows, GoesByPriorityThenDeadlineThenShare) {
  std::vector<DueRow> due;
  for (std::size_t claim = 0; claim < 4; ++claim) add_rows(due, claim, 1);
  std::vector<Claim> claims(4);
  claims[0].finish = 1;
  claims[1].finish = 5;
  claims[1].deadline = 10;
  claims[2].deadline = 20;
  claims[3].priority = 1;
  claims[3].finish = 100;
  const RowLimits one{.max_rows = 1};
  std::vector<std::size_t> order;
  while (!due.empty()) {
    const std::size_t next = choose_rows(claims, due, one).front();
    order.push_back(due[next].claim);
    due.erase(due.begin() + static_cast<std::ptrdiff_t>(next));
  }
  EXPECT_THAT(order, ElementsAre(3, 1, 2, 0));
}

TEST(ChooseRows, HonoursLimitsOfRowsAndMemory) {
  std::vector<DueRow> due;
  add_rows(due, 0, 8, {.max_rows = 3});
  EXPECT_EQ(choose_rows(std::vector<Claim>(1), due, {}).size(), 3U);
  add_rows(due, 1, 8);  // Joins, but must not make the first's pass larger.
  EXPECT_EQ(choose_rows(std::vector<Claim>(2), due, {}).size(), 3U);
  due.clear();
  add_rows(due, 0, 8, {.group = 5});
  EXPECT_EQ(choose_rows(std::vector<Claim>(1), due, {.memory = {{5, 2}}}).size(), 2U);
  EXPECT_EQ(choose_rows(std::vector<Claim>(1), due, {.memory = {{4, 2}}}).size(), 8U);
}

TEST(ChooseRows, DeterministicRowsAreAlone) {
  std::vector<DueRow> due;
  add_rows(due, 0, 2);
  add_rows(due, 1, 2, {.alone = true});
  EXPECT_THAT(choose_rows(std::vector<Claim>(2), due, {}), ElementsAre(0, 1));
  std::vector<Claim> claims(2);
  claims[0].finish = 1;
  EXPECT_THAT(choose_rows(claims, due, {}), ElementsAre(2));
}

TEST(ChooseRows, LetsAStarvedRequestGoFirst) {
  std::vector<DueRow> due;
  add_rows(due, 0, 8);
  add_rows(due, 1, 8, {.group = 1});
  std::vector<Claim> claims(2);
  claims[0].priority = 9;
  claims[1].skipped = 31;
  EXPECT_EQ(due[choose_rows(claims, due, {}).front()].claim, 0U);
  claims[1].skipped = 32;
  EXPECT_EQ(due[choose_rows(claims, due, {}).front()].claim, 1U);
}

/// Requests of random claims and rows; their counters advance as in an engine.
class RandomCrowd {
 public:
  explicit RandomCrowd(std::uint32_t seed) : random_(seed) {
    const auto requests = static_cast<std::size_t>(pick(1, 50));
    for (std::size_t k = 0; k < requests; ++k) {
      Claim& claim = claims.emplace_back();
      claim.priority = pick(0, 2) * 10;
      if (pick(0, 1) == 1) claim.deadline = pick(1, 100);
      claim.finish = pick(1, 100);
      DueRow row;
      row.group = pick(0, 3);
      row.max_rows = pick(0, 3) == 0 ? pick(1, 4) : 0;
      row.alone = pick(0, 4) == 0;
      add_rows(due, k, pick(1, 12), row);
    }
    limits.max_rows = pick(1, 9);
    limits.max_passes_skipped = pick(1, 40);
    if (pick(0, 1) == 1) limits.memory[pick(0, 3)] = pick(1, 4);
  }

  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

  std::vector<std::size_t> pass() {
    const std::vector<std::size_t> chosen = choose_rows(claims, due, limits);
    std::vector<bool> served(claims.size(), false);
    for (const std::size_t index : chosen) {
      served[due[index].claim] = true;
    }
    for (std::size_t k = 0; k < claims.size(); ++k) {
      claims[k].skipped = served[k] ? 0 : claims[k].skipped + 1;
    }
    return chosen;
  }

  std::vector<Claim> claims;
  std::vector<DueRow> due;
  RowLimits limits;

 private:
  std::mt19937 random_;
};

TEST(ChooseRows, EveryPassKeepsEveryLimit) {
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    RandomCrowd crowd(seed);
    for (int pass = 0; pass < 20; ++pass) {
      const std::vector<std::size_t> chosen = crowd.pass();
      ASSERT_FALSE(chosen.empty());
      ASSERT_TRUE(std::is_sorted(chosen.begin(), chosen.end()));
      ASSERT_EQ(std::adjacent_find(chosen.begin(), chosen.end()), chosen.end());
      const std::int64_t group = crowd.due[chosen.front()].group;
      ASSERT_LE(std::ssize(chosen), crowd.limits.rows_for(group));
      for (const std::size_t index : chosen) {
        const DueRow& row = crowd.due[index];
        ASSERT_EQ(row.group, group);
        ASSERT_TRUE(!row.alone || chosen.size() == 1);
        ASSERT_TRUE(row.max_rows == 0 || std::ssize(chosen) <= row.max_rows);
      }
    }
  }
}

TEST(ChooseRows, NobodyStarves) {
  for (std::uint32_t seed = 0; seed < 100; ++seed) {
    RandomCrowd crowd(seed);
    const std::int64_t bound = crowd.limits.max_passes_skipped + std::ssize(crowd.claims) - 1;
    for (int pass = 0; pass < 400; ++pass) {
      crowd.pass();
      for (const Claim& claim : crowd.claims) ASSERT_LE(claim.skipped, bound) << "seed " << seed;
    }
  }
}

/// Requests that come at random and take one unit of work at a time. When each ends, in units.
std::map<int, double> ends_of(std::uint32_t seed, bool evenly) {
  std::mt19937 random(seed);
  struct Here {
    double left = 0;
    double finish = 0;
  };
  EvenShares shares;
  std::map<int, Here> here;
  std::map<int, double> ends;
  int now = 0;
  int next = 0;
  int arrives = 0;
  while (next < 40 || !here.empty()) {
    while (next < 40 && arrives <= now) {
      const double work = std::uniform_int_distribution<int>(1, 30)(random);
      here[next++] = {work, shares.finish(0, work)};
      arrives += std::uniform_int_distribution<int>(0, 25)(random);
    }
    if (!here.empty()) {
      const double part = 1.0 / static_cast<double>(here.size());
      auto first = here.begin();
      for (auto each = here.begin(); each != here.end(); ++each) {
        if (each->second.finish < first->second.finish) first = each;
        if (evenly) each->second.left -= part;
      }
      if (!evenly) first->second.left -= 1;
      shares.advance(1, here.size());
    }
    ++now;
    std::erase_if(here, [&](const auto& entry) {
      const bool ended = entry.second.left < 1e-9;
      if (ended) ends[entry.first] = now;
      return ended;
    });
  }
  return ends;
}

TEST(EvenShares, ItsOrderEndsNothingMuchLaterThanSharingAndMostEarlier) {
  double sum_of_ratios = 0;
  for (std::uint32_t seed = 0; seed < 100; ++seed) {
    const std::map<int, double> shared = ends_of(seed, true);
    const std::map<int, double> ordered = ends_of(seed, false);
    double earlier = 0;
    for (const auto& [request, end] : ordered) {
      EXPECT_LE(end, shared.at(request) + 31) << request << " of seed " << seed;
      earlier += shared.at(request) - end;
    }
    EXPECT_GE(earlier, 0) << "seed " << seed;
    sum_of_ratios += earlier;
  }
  EXPECT_GT(sum_of_ratios, 0);
}

TEST(RowMemory, HalvesAndRemembersAShape) {
  RowMemory memory;
  EXPECT_EQ(memory.rows("a"), 0);
  memory.failed("a", 8);
  EXPECT_EQ(memory.rows("a"), 4);
  EXPECT_EQ(memory.rows("b"), 0);
  memory.failed("a", 3);
  EXPECT_EQ(memory.rows("a"), 1);
}

TEST(RowMemory, TriesOneMoreAfterALongTime) {
  RowMemory memory;
  memory.failed("a", 4);
  for (int i = 0; i < RowMemory::kPassesToGrow; ++i) memory.fitted("a", 1);  // Not the limit.
  EXPECT_EQ(memory.rows("a"), 2);
  for (int i = 0; i < RowMemory::kPassesToGrow; ++i) memory.fitted("a", 2);
  EXPECT_EQ(memory.rows("a"), 3);
  memory.failed("a", 3);
  EXPECT_EQ(memory.rows("a"), 1);
}

}  // namespace
}  // namespace pa
