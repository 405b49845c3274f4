#include "shared/sampling/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace pa {
namespace {

using ::testing::ElementsAre;

TEST(Trace, AnIdentityIsAnEmptyProgram) {
  Trace trace;
  Expr x = trace.start();
  const Program program = std::move(trace).finish(x, 0.5).value();
  EXPECT_THAT(program.stages, ElementsAre());
  EXPECT_EQ(program.slots, 1);
  EXPECT_EQ(program.result, 0);
  EXPECT_EQ(program.end_sigma, 0.5);
}

TEST(Trace, CombinesAtTheEndOfTheStageInTheOrderOfTheTerms) {
  Trace trace;
  Expr x = trace.start();
  const Expr answer = trace.denoise(x, 2.0, 0);
  x = 0.25 * x + 0.75 * answer;
  const Program program = std::move(trace).finish(x, 0.0).value();
  ASSERT_EQ(program.stages.size(), 1U);
  const Stage& stage = program.stages[0];
  EXPECT_EQ(stage.step, 0);
  EXPECT_EQ(stage.input, 0);
  EXPECT_EQ(stage.sigma, 2.0);
  EXPECT_EQ(stage.denoised, 1);
  EXPECT_THAT(stage.updates, ElementsAre(Update{0, {{0, 0.25}, {1, 0.75}}}));
}

TEST(Trace, DropsTermsThatCancelAndAnswersThatNobodyReads) {
  Trace trace;
  Expr x = trace.start();
  const Expr answer = trace.denoise(x, 2.0, 0);
  x = x + answer - answer;
  const Program program = std::move(trace).finish(x, 0.0).value();
  EXPECT_THAT(program.stages[0].updates, ElementsAre());
  EXPECT_EQ(program.result, 0);
}

TEST(Trace, DrawsNoiseEvenIfItsWeightIsZero) {
  Trace trace;
  Expr x = trace.start();
  const Expr answer = trace.denoise(x, 2.0, 0);
  x = answer + 0.0 * trace.noise(2.0, 1.0);
  const Program program = std::move(trace).finish(x, 1.0).value();
  EXPECT_THAT(program.stages[0].draws, ElementsAre(NoiseDraw{2.0, 1.0, -1}));
  EXPECT_EQ(draws_of(program), 1);
}

TEST(Trace, ReusesSlotsAfterTheLastUse) {
  Trace trace;
  Expr x = trace.start();
  Expr before;
  for (int i = 0; i < 10; ++i) {
    const Expr answer = trace.denoise(x, 10.0 - i, i);
    x = 0.5 * x + 0.5 * answer + 0.1 * before;
    before = answer;
  }
  EXPECT_EQ(std::move(trace).finish(x, 0.0)->slots, 3);
}

TEST(Trace, GivesTheUnconditionalAnswerASlotOfItsOwn) {
  Trace trace;
  Expr x = trace.start();
  const Trace::Answers answers = trace.denoise_pair(x, 2.0, 0);
  x = 3.0 * answers.denoised - 2.0 * answers.uncond;
  const Stage stage = std::move(trace).finish(x, 0.0)->stages[0];
  EXPECT_EQ(stage.denoised, 1);
  EXPECT_EQ(stage.uncond, 2);
}

TEST(Trace, RefusesWeightsThatAreNotFinite) {
  Trace trace;
  Expr x = trace.start();
  const Expr answer = trace.denoise(x, 2.0, 0);
  x = x + std::log(0.0) * answer;
  EXPECT_EQ(std::move(trace).finish(x, 0.0).error().code, Code::kInvalid);
}

}  // namespace
}  // namespace pa
