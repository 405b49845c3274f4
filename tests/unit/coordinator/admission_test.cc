#include "coordinator/core/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pa {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

ModelInfo digits() {
  ModelInfo model;
  model.name = "digits";
  model.family = "flux";
  model.latent = {1, 8, 8};
  model.inputs = {{"context", DType::kF32, {-1, 32}, true}, {"y", DType::kF32, {16}, true}};
  model.labels = {"0", "1", "2"};
  return model;
}

Request sample_of(std::int64_t samples) {
  Request request;
  request.model = "digits";
  request.samples = samples;
  request.schedule = ScheduleSpec{"simple", 20, 1.0};
  request.labels.assign(static_cast<std::size_t>(samples), "1");
  return request;
}

TensorEntry f32(const std::string& name, Shape shape) {
  return {{name, DType::kF32, std::move(shape)}, {}};
}

/// The error's field and message, or "admitted".
std::string refusal(const Request& request, const std::vector<TensorEntry>& tensors,
                    const ModelInfo& model = digits()) {
  const Result<Admitted> admitted = admit(request, tensors, model, {});
  return admitted.ok() ? "admitted" : admitted.error().field + ": " + admitted.error().message;
}

TEST(Admission, TellsStepsAndResultOfALabelledRequest) {
  const Result<Admitted> admitted = admit(sample_of(21), {}, digits(), {});
  ASSERT_TRUE(admitted.ok()) << admitted.error().message;
  EXPECT_EQ(admitted->steps_per_sample, 20);
  EXPECT_EQ(admitted->result, (TensorSpec{"samples", DType::kF32, {21, 1, 8, 8}}));
  EXPECT_EQ(admitted->result_row_bytes, 256u);
  EXPECT_EQ(admitted->input_bytes, 0u);
}

TEST(Admission, LaysOutConditionsByRow) {
  Request request = sample_of(3);
  request.noise = NoiseKind::kGiven;
  request.labels.clear();
  request.positive = {{.tensors = "cond.0", .mask = {}, .area = {}}};
  const Result<Admitted> admitted = admit(
      request,
      {f32("cond.0.context", {1, 5, 32}), f32("cond.0.y", {3, 16}), f32("noise", {3, 1, 8, 8})},
      digits(), {});
  ASSERT_TRUE(admitted.ok()) << admitted.error().message;
  EXPECT_EQ(admitted->inputs[0].rows, RowsOf::kAll);
  EXPECT_EQ(admitted->inputs[1].rows, RowsOf::kSample);
  EXPECT_EQ(admitted->inputs[1].row_bytes, 64u);
  EXPECT_EQ(admitted->inputs[2].offset % 64, 0u);
}

TEST(Admission, KnowsTheNoisesOfAStochasticSampler) {
  Request request = sample_of(3);
  request.sampler.name = "euler_ancestral";
  request.schedule->steps = 4;
  const Result<Admitted> admitted =
      admit(request, {f32("step_noise", {3, 3, 1, 8, 8})}, digits(), {});
  ASSERT_TRUE(admitted.ok()) << admitted.error().message;
  const AdmittedInput& noise = admitted->inputs[0];
  EXPECT_EQ(noise.rows, RowsOf::kSample);
  EXPECT_EQ(noise.axis, 1u);
  EXPECT_EQ(noise.groups, 3u);
  EXPECT_EQ(noise.row_bytes, 256u);
  EXPECT_EQ(noise.group_bytes, 768u);
  EXPECT_THAT(refusal(request, {f32("step_noise", {4, 3, 1, 8, 8})}),
              AllOf(HasSubstr("/tensors/step_noise"), HasSubstr("one for each of the 3 noises")));
  request.sampler.name = "euler";
  EXPECT_THAT(refusal(request, {f32("step_noise", {3, 3, 1, 8, 8})}),
              HasSubstr("the sampler 'euler' draws no noise"));
}

TEST(Admission, KnowsTensorsOfOneSample) {
  Request request = sample_of(2);
  request.labels.clear();
  request.positive = {{.tensors = "cond.0", .mask = {}, .area = {}}};
  const std::vector<TensorEntry> tensors = {f32("cond.0.context.0", {1, 4, 32}),
                                            f32("cond.0.context.1", {1, 9, 32}),
                                            f32("cond.0.y", {1, 16})};
  const Result<Admitted> admitted = admit(request, tensors, digits(), {});
  ASSERT_TRUE(admitted.ok()) << admitted.error().message;
  EXPECT_EQ(admitted->inputs[1].rows, RowsOf::kOne);
  EXPECT_EQ(admitted->inputs[1].only, 1);
  EXPECT_THAT(refusal(request, {tensors[0], tensors[2]}),
              HasSubstr("needs the tensor 'cond.0.context'"));
}

TEST(Admission, RefusesByNameAndSaysWhatWasExpected) {
  Request request = sample_of(2);
  request.labels[1] = "11";
  EXPECT_THAT(refusal(request, {}),
              ::testing::StartsWith("/labels/1: model 'digits' has no label '11'"));

  request = sample_of(2);
  request.labels.pop_back();
  EXPECT_THAT(refusal(request, {}), HasSubstr("labels has 1 entries; expected one a sample, 2"));

  request = sample_of(2);
  request.latent_shape = {1, 8, 9};
  EXPECT_THAT(
      refusal(request, {}),
      HasSubstr("/latent_shape: latent_shape is [1, 8, 9]; model 'digits' takes [1, 8, 8]"));

  EXPECT_THAT(refusal(sample_of(2), {f32("stray", {2})}),
              HasSubstr("nothing in the request uses tensor 'stray'"));
  EXPECT_THAT(refusal(sample_of(2), {f32("noise", {3, 1, 8, 8})}),
              HasSubstr("expected F32 [2, 1, 8, 8]"));
  EXPECT_THAT(refusal(sample_of(2), {f32("noise", {2, 1, 8, 8})}),
              ::testing::StartsWith("/noise: there is a tensor 'noise', which would not be used"));
  EXPECT_THAT(refusal(sample_of(0), {}), HasSubstr("/samples: samples is 0"));

  request = sample_of(2);
  request.sampler.name = "eular";
  EXPECT_THAT(refusal(request, {}), HasSubstr("euler"));

  request = sample_of(2);
  request.loras = {{"style", 1.0}};
  EXPECT_THAT(refusal(request, {}), HasSubstr("/loras/0/name: model 'digits' has no LoRA 'style'"));
  ModelInfo styled = digits();
  styled.loras = {{"style", "sha256:1"}};
  EXPECT_EQ(refusal(request, {}, styled), "admitted");
  request.loras.front().name = "sha256:1";
  EXPECT_EQ(refusal(request, {}, styled), "admitted");

  request = sample_of(2);
  request.labels.clear();
  EXPECT_THAT(refusal(request, {}), HasSubstr("/positive: model 'digits' needs conditioning"));
}

TEST(Admission, MasksAndAreasAreChecked) {
  Request request = sample_of(2);
  request.inpaint = true;
  EXPECT_THAT(refusal(request, {}), HasSubstr("/tensors/mask: inpaint needs the tensor 'mask'"));
  EXPECT_THAT(refusal(request, {f32("mask", {3, 1, 8, 8})}),
              HasSubstr("expected F32 [1 or 2, 1, 8, 8]"));
  EXPECT_EQ(refusal(request, {f32("mask", {1, 1, 64, 64})}), "admitted");
  EXPECT_EQ(refusal(request, {f32("mask", {2, 1, 8, 8}), f32("inpaint_noise", {2, 1, 8, 8})}),
            "admitted");
  request.inpaint_noise = InpaintNoise::kGiven;
  EXPECT_THAT(refusal(request, {f32("mask", {1, 1, 8, 8})}),
              HasSubstr("/inpaint/noise: inpaint.noise is 'given'"));
  request.inpaint = false;
  EXPECT_THAT(refusal(request, {f32("mask", {1, 1, 8, 8})}), HasSubstr("expected 'inpaint'"));

  request = sample_of(2);
  request.labels.clear();
  Condition condition;
  condition.tensors = "cond.0";
  request.positive = {condition, condition};
  request.positive[1].mask = "hole";
  std::vector<TensorEntry> tensors = {f32("cond.0.context", {1, 4, 32}), f32("cond.0.y", {1, 16})};
  EXPECT_THAT(refusal(request, tensors), HasSubstr("/positive/1/mask: there is no tensor 'hole'"));
  tensors.push_back(f32("hole", {1, 8, 8}));
  EXPECT_EQ(refusal(request, tensors), "admitted");
  request.positive[0].area = {4, 4, 8, 0};
  EXPECT_THAT(refusal(request, tensors), HasSubstr("/positive/0/area: the area [4, 4, 8, 0]"));
}

TEST(Admission, GuidanceNeedsANegativeOrTheLabelNone) {
  Request request = sample_of(2);
  request.guidance.cfg = 3;
  EXPECT_THAT(refusal(request, {}), HasSubstr("/negative: cfg is not 1"));
  ModelInfo model = digits();
  model.labels.emplace_back("none");
  EXPECT_EQ(refusal(request, {}, model), "admitted");
}

TEST(Admission, RefusesSizesThatOverflowOrExceedTheLimit) {
  Request request = sample_of(2);
  request.op = Operation::kForward;
  request.labels.clear();
  ModelInfo noop;
  noop.name = "noop";
  noop.family = "noop";
  EXPECT_EQ(refusal(request, {f32("x", {2, 4})}, noop), "admitted");
  EXPECT_THAT(refusal(request, {f32("x", {2, std::int64_t{1} << 62})}, noop),
              HasSubstr("must fit 63 bits"));
  EXPECT_THAT(refusal(request, {f32("x", {2, std::int64_t{1} << 40})}, noop),
              HasSubstr("this cluster takes"));
  EXPECT_THAT(refusal(request, {f32("x", {3, 4})}, noop), HasSubstr("expected F32 [2, ...]"));
}

}  // namespace
}  // namespace pa
