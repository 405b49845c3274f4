#include "worker/engine/noise_maker.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <stdexcept>

namespace pa {
namespace {

NoiseRecipe constant(double value) {
  return [value] { return at::full({4}, value, at::kFloat); };
}

void wait_until_ready(NoiseMaker& maker, const MadeNoise& noise) {
  while (!noise.ready()) maker.wait();
}

TEST(NoiseMaker, MakesWhatItIsAskedFor) {
  NoiseMaker maker(2);
  std::vector<std::shared_ptr<const MadeNoise>> noises;
  for (int i = 0; i < 50; ++i) noises.push_back(maker.make(constant(i)));
  for (int i = 0; i < 50; ++i) {
    const MadeNoise& noise = *noises[static_cast<std::size_t>(i)];
    wait_until_ready(maker, noise);
    EXPECT_EQ((*noise.value())[3].item<float>(), static_cast<float>(i));
  }
}

TEST(NoiseMaker, LeavesOutWhatNobodyHoldsAnyMore) {
  NoiseMaker maker(1);
  std::latch go(1);
  std::atomic<int> made = 0;
  const auto blocked = maker.make([&] {
    go.wait();
    return at::zeros({1});
  });
  (void)maker.make([&] {
    ++made;
    return at::zeros({1});
  });
  const auto last = maker.make(constant(1));
  go.count_down();
  wait_until_ready(maker, *last);
  EXPECT_TRUE(blocked->ready());
  EXPECT_EQ(made, 0);
}

TEST(NoiseMaker, ARecipeThatThrowsFailsAlone) {
  NoiseMaker maker(1);
  const auto bad = maker.make([]() -> at::Tensor { throw std::runtime_error("no such noise"); });
  const auto good = maker.make(constant(2));
  wait_until_ready(maker, *good);
  ASSERT_TRUE(bad->ready());
  EXPECT_FALSE(bad->value().ok());
  EXPECT_TRUE(good->value().ok());
}

TEST(NoiseMaker, StopsWithWorkLeft) {
  std::vector<std::shared_ptr<const MadeNoise>> noises;
  NoiseMaker maker(1);
  for (int i = 0; i < 1000; ++i) noises.push_back(maker.make(constant(i)));
}

TEST(NoiseMaker, WaitingEndsWithoutNoiseToo) {
  NoiseMaker maker(1);
  maker.wait();
  (void)maker.make(constant(1));
  maker.wait();  // Made or left out: nothing is left to wait for.
}

}  // namespace
}  // namespace pa
