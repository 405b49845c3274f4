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
  const at::Tensor slots = values(std::int64_t{3} * 1500, 3).reshape({3, 1500});
  const at::Tensor before = slots.clone();
  const std::vector<Update> swap{{0, {{1, 1.0}}}, {1, {{0, 1.0}}}, {2, {{0, 2.0}, {1, 0.5}}}};
  update_slots(slots, swap);
  EXPECT_TRUE(at::equal(slots[0], before[1]));
  EXPECT_TRUE(at::equal(slots[1], before[0]));
  EXPECT_TRUE(at::equal(slots[2], before[0] * 2.0F + before[1] * 0.5F));
}

TEST(RunStage, GivesTheBitsOfItsPartsOneAfterTheOther) {
  // Slots: 0 x, 1 denoised, 2 unconditional, 3 noise, 4 history.
  Stage stage;
  stage.input = 0;
  stage.denoised = 1;
  stage.uncond = 2;
  stage.draws = {{2.0, 1.0, 3}};
  stage.updates = {{0, {{0, 0.3}, {1, 0.9}, {2, -0.2}, {3, 0.5}, {4, 0.1}}}, {4, {{1, 1.0}}}};
  const std::vector<bool> all(5, true);
  const std::vector<bool> few{true, false, false, false, true};
  const NetworkScales scales{0.5F, 0.8F, -1.3F};
  for (const std::int64_t count : {1, 1023, 1024, 200001}) {
    const at::Tensor before = values(5 * count, 1).reshape({5, count});
    const at::Tensor positive = values(count, 2);
    const at::Tensor negative = values(count, 3);
    const at::Tensor noise = values(count, 4);
    for (const bool guided : {false, true}) {
      const at::Tensor want = before.clone();
      const auto denoise = [&](int slot, const at::Tensor& answer) {
        const std::vector<WeightedRow> sum{{scales.x_weight, before[0]},
                                           {scales.answer_weight, answer}};
        combine(want[slot], sum);
      };
      denoise(1, positive);
      if (guided) {
        denoise(2, negative);
        guide(want[1], want[2], 4.5F);
      }
      want[3].copy_(noise);
      update_slots(want, stage.updates);
      for (const std::vector<bool>* kept : {&all, &few}) {
        StageRow row;
        row.stage = &stage;
        row.slots = before.clone();
        row.scales = scales;
        row.positive = positive;
        if (guided) row.negative = negative;
        row.cfg = 4.5F;
        row.noises = {{3, noise}};
        row.kept = kept;
        EXPECT_TRUE(run_stage(row));
        for (int slot = 0; slot < 5; ++slot) {
          const bool written = (*kept)[static_cast<std::size_t>(slot)];
          EXPECT_TRUE(at::equal(row.slots[slot], written ? want[slot] : before[slot]))
              << slot << " of " << count;
        }
      }
    }
  }
}

TEST(RunStage, FindsWhatIsNoNumber) {
  Stage stage;
  stage.input = 0;
  stage.denoised = 1;
  stage.updates = {{0, {{1, 1.0}}}};
  const std::vector<bool> kept{true, false};
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    StageRow row;
    row.stage = &stage;
    row.slots = values(std::int64_t{2} * 5000, 1).reshape({2, 5000});
    row.scales = {1, 1, -0.5F};
    row.positive = values(5000, 2);
    row.kept = &kept;
    row.positive[4321] = bad;
    EXPECT_FALSE(run_stage(row)) << bad;
  }
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
