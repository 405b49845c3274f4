// What a shard's request says, before its first pass.

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "shared/io/failpoint.h"
#include "shared/sampling/request_sampling.h"
#include "worker/engine/checkpoint.h"
#include "worker/engine/row_math.h"
#include "worker/engine/shard_run.h"
#include "worker/models/tensors.h"

namespace pa {
namespace {

/// The label that stands for "no condition" in a folder whose conditions are labels.
constexpr const char* kNoneLabel = "none";

/// Noise [...] and latent mixed at the first sigma (ComfyUI's noise_scaling). `latent` may be
/// undefined, for zeros.
at::Tensor mix_start(const at::Tensor& noise, const at::Tensor& latent, float sigma, bool flow,
                     float sigma_max) {
  const bool full = sigma > sigma_max ||
                    std::fabs(sigma - sigma_max) <= 1e-5F * std::max(std::fabs(sigma), sigma_max);
  std::vector<WeightedRow> terms{{flow || !full ? sigma : std::sqrt(1.0F + sigma * sigma), noise}};
  if (latent.defined()) terms.push_back({flow ? 1.0F - sigma : 1.0F, latent});
  const at::Tensor mixed = at::empty_like(noise);
  combine(mixed, terms);
  return mixed;
}

/// The tensor `name` with one row a sample of this shape; undefined if there is none.
Result<at::Tensor> rows_of(const ShardTensors& tensors, const char* name, const Shape& shape,
                           bool one_for_all) {
  const at::Tensor found = tensors.find(name);
  if (!found.defined()) return found;
  Shape one = shape;
  one[0] = 1;
  if (found.scalar_type() == at::kFloat &&
      (found.sizes() == shape || (one_for_all && found.sizes() == one))) {
    return found;
  }
  return invalid("expected a tensor '" + std::string(name) + "' of F32 " + to_string(shape),
                 "/tensors/" + std::string(name));
}

}  // namespace

Result<std::unique_ptr<ShardRun>> ShardRun::start(ShardJob job, Replica& replica,
                                                  const Device& device, NoiseMaker& maker) {
  std::unique_ptr<ShardRun> run(new ShardRun(std::move(job), replica, device));
  const Shape& shape = run->job_.result.shape;
  if (run->job_.samples.empty() || shape.empty() || shape[0] != run->rows() ||
      run->job_.result.dtype != DType::kF32) {
    return invalid("expected a result of F32 with one row a sample");
  }
  PA_TRY(replica.loras.check(run->job_.body.loras));
  PA_ASSIGN(const ShardTensors tensors, ShardTensors::of(run->job_));
  run->trajectories_.resize(run->job_.samples.size());
  run->forward_ = run->job_.body.op == Operation::kForward;
  PA_TRY(run->forward_ ? run->prepare_forward(tensors) : run->prepare_sample(tensors, maker));
  PA_TRY(run->prepare_terms(tensors));
  PA_TRY(run->restore(tensors));
  for (std::int64_t row = 0; row < run->rows(); ++row) {
    run->at(row).begun = run->forward_;
    run->at(row).lacks_noise = !run->forward_;
    if (run->forward_) run->begin_stage(row);
  }
  run->rows_without_noise_ = run->forward_ ? 0 : run->rows();
  return run;
}

Status ShardRun::prepare_forward(const ShardTensors& tensors) {
  PA_ASSIGN(const at::Tensor x, rows_of(tensors, "x", job_.result.shape, false));
  if (!x.defined()) {
    return invalid("expected a tensor 'x' of F32 " + to_string(job_.result.shape), "/tensors/x");
  }
  x_ = x.to(torch_device(device_));
  time_ = tensors.find("timestep");
  const bool given = time_.defined();
  if (!given && replica_->info.family == "noop") time_ = at::zeros({1}, at::kFloat);
  if (!time_.defined() || time_.scalar_type() != at::kFloat || time_.dim() != 1 ||
      (time_.size(0) != 1 && time_.size(0) != rows())) {
    return invalid("expected a tensor 'timestep' of F32 [1] or [" + std::to_string(rows()) + "]",
                   "/tensors/timestep");
  }
  sampling_ = replica_->info.sampling;
  PA_ASSIGN(table_, SigmaTable::make(sampling_));
  Stage evaluation;
  evaluation.step = 0;
  evaluation.input = 0;
  program_.stages.push_back(std::move(evaluation));
  return {};
}

Status ShardRun::prepare_sample(const ShardTensors& tensors, NoiseMaker& maker) {
  const Request& body = job_.body;
  PA_ASSIGN(sampling_, sampling_of(body, replica_->info.sampling));
  PA_ASSIGN(table_, SigmaTable::make(sampling_));
  PA_ASSIGN(const std::vector<float> sigmas, sigmas_of(body, replica_->info.sampling));
  PA_ASSIGN(program_, program_of(body, replica_->info.sampling));
  kept_ = kept_slots(program_);

  const Shape row = row_shape();
  PA_ASSIGN(latent_, rows_of(tensors, "latent", job_.result.shape, true));
  first_sigma_ = sigmas.front();
  if (body.inpaint) PA_TRY(prepare_inpaint(tensors));
  PA_ASSIGN(NoiseSource source,
            NoiseSource::of(body, program_, row, job_.samples,
                            {tensors.find("noise"), tensors.find("step_noise")}));
  noise_.emplace(std::move(source), program_, maker, rows(), inpaints_fresh_);
  Shape shape = job_.result.shape;
  shape.insert(shape.begin(), program_.slots);
  all_slots_ = at::empty(shape, at::TensorOptions(at::kFloat).device(torch_device(device_)));
  slots_ = all_slots_.unbind(0);
  return {};
}

Status ShardRun::prepare_inpaint(const ShardTensors& tensors) {
  const Request& body = job_.body;
  const Shape row = row_shape();
  PA_ASSIGN(const at::Tensor mask, mask_for(tensors.find("mask"), "mask", rows(), row));
  PA_ASSIGN(const at::Tensor given, rows_of(tensors, "inpaint_noise", job_.result.shape, false));
  InpaintNoise kind = body.inpaint_noise;
  if (kind == InpaintNoise::kUsual) {
    kind = given.defined()               ? InpaintNoise::kGiven
           : body.sampler.name == "ddim" ? InpaintNoise::kFresh
                                         : InpaintNoise::kStart;
  }
  if (kind == InpaintNoise::kGiven && !given.defined()) {
    return invalid("inpaint.noise is 'given', but there is no tensor 'inpaint_noise'",
                   "/inpaint/noise");
  }
  const c10::Device device = torch_device(device_);
  at::Tensor mixed = given;
  if (kind != InpaintNoise::kGiven) {
    inpaint_noise_ = at::empty(job_.result.shape, at::TensorOptions(at::kFloat).device(device));
    mixed = inpaint_noise_;
  }
  inpaints_fresh_ = kind == InpaintNoise::kFresh;
  inpaint_ = Inpaint(mask.to(device), latent_.defined() ? latent_.to(device) : at::Tensor(),
                     mixed.to(device), sampling_.prediction == "flow");
  return {};
}

void ShardRun::begin(std::int64_t row) {
  const Result<at::Tensor> noise = noise_->take_start(row);
  if (!noise.ok()) return fail(row, noise.error());
  const at::Tensor latent =
      latent_.defined() ? latent_.select(0, latent_.size(0) == 1 ? 0 : row) : at::Tensor();
  if (!at(row).slots.defined()) {  // Else it goes on from a checkpoint.
    slots_[0].select(0, row).copy_(mix_start(noise->contiguous(), latent, first_sigma_,
                                             sampling_.prediction == "flow", table_->sigma_max()));
  }
  if (inpaint_noise_.defined()) {
    const Result<at::Tensor> mixed = inpaints_fresh_ ? noise_->take_fresh(row) : noise;
    if (!mixed.ok()) return fail(row, mixed.error());
    inpaint_noise_.select(0, row).copy_(*mixed);
  }
  at(row).begun = true;
  begin_stage(row);
  settle(row);
}

Status ShardRun::prepare_terms(const ShardTensors& tensors) {
  const Request& body = job_.body;
  std::vector<Condition> positive = body.positive;
  std::vector<Condition> negative = body.negative;
  if (!forward_) add_opposites(positive, negative);
  if (body.labels.empty()) {
    PA_TRY(add_terms(tensors, positive, Polarity::kPositive));
  } else {
    std::vector<std::string> labels;
    for (const std::int64_t sample : job_.samples) {
      if (sample < 0 || sample >= std::ssize(body.labels)) {
        return invalid("expected one label a sample", "/labels");
      }
      labels.push_back(body.labels[static_cast<std::size_t>(sample)]);
    }
    PA_TRY(add_labels(labels, Polarity::kPositive));
  }
  if (forward_) return {};

  const bool wants_uncond = std::any_of(program_.stages.begin(), program_.stages.end(),
                                        [](const Stage& stage) { return stage.uncond >= 0; });
  const bool at_one = std::fabs(body.guidance.cfg - 1.0) < 1e-9;
  guided_ = !at_one || wants_uncond || (!body.guidance.skip_at_one && !negative.empty());
  if (!guided_) return {};
  if (negative.empty() && replica_->labels.contains(kNoneLabel)) {
    return add_labels(std::vector<std::string>(job_.samples.size(), kNoneLabel),
                      Polarity::kNegative);
  }
  if (negative.empty() && !replica_->network->input_contract().empty()) {
    const std::vector<InputSpec>& inputs = replica_->network->input_contract();
    if (std::any_of(inputs.begin(), inputs.end(), [](const InputSpec& i) { return i.required; })) {
      return invalid("guidance needs a negative condition", "/negative");
    }
  }
  return add_terms(tensors, negative, Polarity::kNegative);
}

Status ShardRun::add_terms(const ShardTensors& tensors, const std::vector<Condition>& conditions,
                           Polarity polarity) {
  const c10::Device device = torch_device(device_);
  const bool is_positive = polarity == Polarity::kPositive;
  const std::string list = is_positive ? "/positive" : "/negative";
  const Shape row = row_shape();
  for (std::size_t k = 0; k < conditions.size(); ++k) {
    const std::string field = list + "/" + std::to_string(k);
    ConditionTerm term;
    term.polarity = polarity;
    PA_TRY(place_term(conditions[k], tensors, *table_, rows(), row, field, device, term));
    PA_ASSIGN(term.inputs, Conditioning::of_tensors(*replica_, job_, tensors, conditions[k].tensors,
                                                    field + "/tensors", device));
    terms_.push_back(std::move(term));
  }
  if (!conditions.empty()) return {};
  // A network that needs no input, or op forward, whose inputs are always cond.0.
  ConditionTerm term;
  term.polarity = polarity;
  PA_TRY(place_term({}, tensors, *table_, rows(), row, list, device, term));
  PA_ASSIGN(term.inputs, Conditioning::of_tensors(*replica_, job_, tensors,
                                                  is_positive ? "cond.0" : "cond.1", list, device));
  terms_.push_back(std::move(term));
  return {};
}

Status ShardRun::add_labels(const std::vector<std::string>& labels, Polarity polarity) {
  ConditionTerm term;
  term.polarity = polarity;
  PA_TRY(place_term({}, {}, *table_, rows(), {}, "/labels", torch_device(device_), term));
  PA_ASSIGN(term.inputs, Conditioning::of_labels(*replica_, labels));
  terms_.push_back(std::move(term));
  return {};
}

Status ShardRun::restore(const ShardTensors& tensors) {
  const Shape row = row_shape();
  for (std::int64_t i = 0; i < rows(); ++i) {
    const std::int64_t sample = job_.samples[static_cast<std::size_t>(i)];
    const std::string name = "checkpoint." + std::to_string(sample);
    const at::Tensor bytes = tensors.find(name);
    if (!bytes.defined()) continue;
    const auto restored = [&]() -> Result<Checkpoint> {
      if (bytes.scalar_type() != at::kByte) return invalid("a checkpoint is of dtype U8");
      if (const int error = failpoint("checkpoint.read")) return invalid(std::strerror(error));
      PA_ASSIGN(Checkpoint checkpoint,
                decode_checkpoint({static_cast<const std::byte*>(bytes.const_data_ptr()),
                                   static_cast<std::size_t>(bytes.numel())}));
      PA_TRY(check_checkpoint(checkpoint, job_.request, sample, program_, row));
      return checkpoint;
    }();
    if (!restored.ok()) {
      return Error{restored.error().code, restored.error().message, "/tensors/" + name};
    }
    Trajectory& trajectory = at(i);
    trajectory.stage = restored->stage;
    trajectory.steps = restored->steps;
    trajectory.seconds = restored->seconds;
    trajectory.slots = slots_of(i);
    for (std::size_t k = 0; k < restored->slots.size(); ++k) {
      slot(trajectory, restored->slots[k])
          .copy_(restored->values.select(0, static_cast<std::int64_t>(k)));
    }
  }
  return {};
}

}  // namespace pa
