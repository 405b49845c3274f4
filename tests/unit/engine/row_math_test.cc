#include "worker/engine/row_math.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

namespace pa {
namespace {

at::Tensor values(std::int64_t count, int seed) {
  return at::randn({count}, at::detail::createCPUGenerator(static_cast<std::uint64_t>(seed)));
}

TEST(Combine, SumsInTheOrderOfTheTerms) {
  for (const std::int64_t count : {1, 7, 1024, 3001}) {
    const at::Tensor a = values(count, 1);
    const at::Tensor b = values(count, 2);
    const at::Tensor out = at::empty({count});
    const std::vector<WeightedRow> terms{{0.1F, a}, {-3.0F, b}, {0.7F, a}};
    combine(out, terms);
    const at::Tensor want = (a * 0.1F + b * -3.0F) + a * 0.7F;
    EXPECT_TRUE(at::equal(out, want)) << count;
  }
}

TEST(Combine, MayOverwriteATerm) {
  const at::Tensor a = values(2000, 1);
  const at::Tensor want = a * 2.0F + a * 0.5F;
  const std::vector<WeightedRow> terms{{2.0F, a}, {0.5F, a}};
  combine(a, terms);
  EXPECT_TRUE(at::equal(a, want));
}

TEST(UpdateSlots, ReadsAllBeforeItWritesAny) {
  const at::Tensor slots = values(3 * 1500, 3).reshape({3, 1500});
  const at::Tensor before = slots.clone();
  const std::vector<Update> swap{{0, {{1, 1.0}}}, {1, {{0, 1.0}}}, {2, {{0, 2.0}, {1, 0.5}}}};
  update_slots(slots, swap);
  EXPECT_TRUE(at::equal(slots[0], before[1]));
  EXPECT_TRUE(at::equal(slots[1], before[0]));
  EXPECT_TRUE(at::equal(slots[2], before[0] * 2.0F + before[1] * 0.5F));
}

TEST(Guide, GoesFromTheNegativePastThePositive) {
  const at::Tensor positive = values(100, 1);
  const at::Tensor negative = values(100, 2);
  const at::Tensor want = negative + (positive - negative) * 7.5F;
  guide(positive, negative, 7.5F);
  EXPECT_TRUE(at::equal(positive, want));
}

TEST(AllFinite, FindsOneBadValue) {
  const at::Tensor row = values(5000, 1);
  EXPECT_TRUE(all_finite(row));
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    row[4321] = bad;
    EXPECT_FALSE(all_finite(row)) << bad;
  }
}

}  // namespace
}  // namespace pa
