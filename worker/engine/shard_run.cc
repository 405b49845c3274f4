#include "worker/engine/shard_run.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "shared/sampling/request_sampling.h"
#include "worker/engine/noise.h"
#include "worker/engine/row_math.h"
#include "worker/models/tensors.h"

namespace pa {
namespace {

std::size_t index(Polarity polarity) { return static_cast<std::size_t>(polarity); }

/// The label that stands for "no condition" in a folder whose conditions are labels.
constexpr const char* kNoneLabel = "none";

Status refuse_in(const std::vector<Condition>& conditions, const std::string& field) {
  if (conditions.size() > 1) {
    return invalid("this version supports one condition a polarity", field + "/1");
  }
  for (const Condition& condition : conditions) {
    const auto refuse = [&](const char* what, const char* name) {
      return invalid(std::string("this version does not support ") + what, field + "/0/" + name);
    };
    if (!condition.mask.empty()) return refuse("condition masks", "mask");
    if (!condition.area.empty()) return refuse("condition areas", "area");
    if (condition.strength != 1.0) return refuse("a condition strength but 1", "strength");
    if (condition.start != 0.0) return refuse("a condition start but 0", "start");
    if (condition.end != 1.0) return refuse("a condition end but 1", "end");
  }
  return {};
}

/// Noise and latent mixed at the first sigma (ComfyUI's noise_scaling), into `noise`. `latent` may be
/// undefined, for zeros.
void mix_start(const at::Tensor& noise, const at::Tensor& latent, float sigma, bool flow,
               float sigma_max) {
  const bool full = sigma > sigma_max ||
                    std::fabs(sigma - sigma_max) <= 1e-5F * std::max(std::fabs(sigma), sigma_max);
  const float weight = flow || !full ? sigma : std::sqrt(1.0F + sigma * sigma);
  for (std::int64_t i = 0; i < noise.size(0); ++i) {
    const at::Tensor row = noise.select(0, i);
    std::array<WeightedRow, 2> terms{{{weight, row}, {0.0F, row}}};
    if (latent.defined()) {
      terms[1] = {flow ? 1.0F - sigma : 1.0F, latent.select(0, latent.size(0) == 1 ? 0 : i)};
    }
    combine(row, std::span(terms).first(latent.defined() ? 2 : 1));
  }
}

}  // namespace

RowsFinished failed_rows(const ShardJob& job, std::int64_t first, std::int64_t count,
                         const Error& error) {
  RowsFinished report;
  report.shard = job.shard;
  report.first_row = first;
  for (std::int64_t row = first; row < first + count; ++row) {
    SampleReport& sample = report.samples.emplace_back();
    sample.sample = job.samples[static_cast<std::size_t>(row)];
    sample.failed = true;
    sample.error = error;
  }
  return report;
}

Result<std::unique_ptr<ShardRun>> ShardRun::start(ShardJob job, Replica& replica,
                                                  const Device& device) {
  std::unique_ptr<ShardRun> run(new ShardRun(std::move(job), replica, device));
  const Shape& shape = run->job_.result.shape;
  if (run->job_.samples.empty() || shape.empty() || shape[0] != run->rows() ||
      run->job_.result.dtype != DType::kF32) {
    return invalid("expected a result of F32 with one row a sample");
  }
  PA_TRY(run->refuse_what_is_not_built());
  PA_TRY(replica.loras.check(run->job_.body.loras));
  PA_ASSIGN(const ShardTensors tensors, ShardTensors::of(run->job_));
  run->trajectories_.resize(run->job_.samples.size());
  run->forward_ = run->job_.body.op == Operation::kForward;
  PA_TRY(run->forward_ ? run->prepare_forward(tensors) : run->prepare_sample(tensors));
  PA_TRY(run->prepare_conditions(tensors));
  for (Trajectory& trajectory : run->trajectories_) run->begin_stage(trajectory);
  return run;
}

Status ShardRun::refuse_what_is_not_built() const {
  const Request& body = job_.body;
  PA_TRY(refuse_in(body.positive, "/positive"));
  PA_TRY(refuse_in(body.negative, "/negative"));
  const auto refuse = [](const char* what, const char* field) {
    return invalid(std::string("this version does not support ") + what, field);
  };
  if (body.inpaint) return refuse("inpainting", "/inpaint");
  if (body.guidance.rescale != 0.0) return refuse("guidance rescale", "/guidance/rescale");
  return {};
}

Status ShardRun::prepare_forward(const ShardTensors& tensors) {
  const at::Tensor x = tensors.find("x");
  if (!x.defined() || x.scalar_type() != at::kFloat || x.sizes() != job_.result.shape) {
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
  Stage evaluation;
  evaluation.step = 0;
  evaluation.input = 0;
  program_.stages.push_back(std::move(evaluation));
  return {};
}

Status ShardRun::prepare_sample(const ShardTensors& tensors) {
  const Request& body = job_.body;
  PA_ASSIGN(sampling_, sampling_of(body, replica_->info.sampling));
  PA_ASSIGN(table_, SigmaTable::make(sampling_));
  PA_ASSIGN(const std::vector<float> sigmas, sigmas_of(body, replica_->info.sampling));
  PA_ASSIGN(program_, program_of(body, replica_->info.sampling));

  const Shape row(job_.result.shape.begin() + 1, job_.result.shape.end());
  Shape one{1};
  one.insert(one.end(), row.begin(), row.end());
  const at::Tensor latent = tensors.find("latent");
  if (latent.defined() && (latent.scalar_type() != at::kFloat ||
                           (latent.sizes() != job_.result.shape && latent.sizes() != one))) {
    return invalid("expected a tensor 'latent' of F32 " + to_string(job_.result.shape),
                   "/tensors/latent");
  }
  PA_ASSIGN(const at::Tensor noise, start_noise(tensors, row));
  mix_start(noise, latent, sigmas.front(), sampling_.prediction == "flow", table_->sigma_max());
  x_ = noise.to(torch_device(device_));
  return {};
}

Result<at::Tensor> ShardRun::start_noise(const ShardTensors& tensors, const Shape& row) const {
  const Request& body = job_.body;
  if (!body.add_noise) return at::zeros(job_.result.shape, at::kFloat);
  if (body.noise == NoiseKind::kKeyed) return keyed_noise(body.seed, row, job_.samples, 0);
  if (body.noise == NoiseKind::kComfy) {
    if (!body.batch_index.empty() && std::ssize(body.batch_index) != body.samples) {
      return invalid("expected one index a sample", "/batch_index");
    }
    if (job_.samples.front() < 0 || job_.samples.back() >= body.samples) {
      return invalid("expected samples of the batch", "/samples");
    }
    return comfy_noise(body.seed, row, body.samples, job_.samples, body.batch_index);
  }
  const at::Tensor given = tensors.find("noise");
  if (!given.defined() || given.scalar_type() != at::kFloat || given.sizes() != job_.result.shape) {
    return invalid("expected a tensor 'noise' of F32 " + to_string(job_.result.shape),
                   "/tensors/noise");
  }
  return given.clone();
}

Status ShardRun::prepare_conditions(const ShardTensors& tensors) {
  const Request& body = job_.body;
  const c10::Device device = torch_device(device_);
  const auto labels_of_shard = [&]() -> Result<std::vector<std::string>> {
    std::vector<std::string> labels;
    for (const std::int64_t sample : job_.samples) {
      if (sample < 0 || sample >= std::ssize(body.labels)) {
        return invalid("expected one label a sample", "/labels");
      }
      labels.push_back(body.labels[static_cast<std::size_t>(sample)]);
    }
    return labels;
  };
  if (!body.labels.empty()) {
    PA_ASSIGN(const std::vector<std::string> labels, labels_of_shard());
    PA_ASSIGN(conditions_[0], Conditioning::of_labels(*replica_, labels));
  } else {
    const bool given = !body.positive.empty();
    PA_ASSIGN(conditions_[0],
              Conditioning::of_tensors(*replica_, job_, tensors,
                                       given ? body.positive.front().tensors : "cond.0",
                                       given ? "/positive/0/tensors" : "/positive", device));
  }
  if (forward_) return {};

  const bool wants_uncond = std::any_of(program_.stages.begin(), program_.stages.end(),
                                        [](const Stage& stage) { return stage.uncond >= 0; });
  const bool at_one = std::fabs(body.guidance.cfg - 1.0) < 1e-9;
  const bool has_negative = !body.negative.empty();
  guided_ = !at_one || wants_uncond || (!body.guidance.skip_at_one && has_negative);
  if (!guided_) return {};
  if (!has_negative && replica_->labels.contains(kNoneLabel)) {
    PA_ASSIGN(conditions_[1],
              Conditioning::of_labels(*replica_,
                                      std::vector<std::string>(job_.samples.size(), kNoneLabel)));
    return {};
  }
  const bool needs_some = !replica_->network->input_contract().empty();
  if (!has_negative && needs_some) {
    return invalid("guidance needs a negative condition", "/negative");
  }
  PA_ASSIGN(conditions_[1],
            Conditioning::of_tensors(*replica_, job_, tensors,
                                     has_negative ? body.negative.front().tensors : "cond.1",
                                     "/negative/0/tensors", device));
  return {};
}

bool ShardRun::waits(std::int64_t row, Polarity polarity) const {
  return at(row).waiting[index(polarity)];
}

std::string ShardRun::fit(std::int64_t row, Polarity polarity) const {
  std::string text = replica_->info.name + to_string(x_.sizes().slice(1).vec());
  text += Loras::text_of(job_.body.loras);
  for (const auto& [name, ref] : conditions_[index(polarity)].row(row)) {
    text += name + to_string(ref.base.sizes().slice(1).vec());
  }
  return text;
}

QueryRow ShardRun::query(std::int64_t row, Polarity polarity) {
  Trajectory& trajectory = at(row);
  PA_CHECK(trajectory.waiting[index(polarity)]);
  QueryRow query;
  query.inputs = &conditions_[index(polarity)].row(row);
  if (forward_) {
    query.x = {x_, row};
    query.time = time_[time_.size(0) == 1 ? 0 : row].item<float>();
    return query;
  }
  const Stage& now = stage(trajectory);
  if (!trajectory.slots.defined()) {
    Shape shape = x_.sizes().vec();
    shape[0] = program_.slots;
    trajectory.slots = at::empty(shape, x_.options());
    trajectory.slots.select(0, 0).copy_(x_.select(0, row));
  }
  const auto sigma = static_cast<float>(now.sigma);
  query.x = {trajectory.slots, now.input};
  query.input_scale = network_scales(sampling_.prediction, sigma).input;
  query.time = table_->timestep_of(sigma);
  return query;
}

void ShardRun::answer(std::int64_t row, Polarity polarity, const RowRef& answer) {
  Trajectory& trajectory = at(row);
  PA_CHECK(trajectory.waiting[index(polarity)]);
  trajectory.waiting[index(polarity)] = false;
  if (forward_) {
    end(trajectory, answer);
    fresh_.push_back(row);
    return;
  }
  const Stage& now = stage(trajectory);
  const NetworkScales scales = network_scales(sampling_.prediction, static_cast<float>(now.sigma));
  const std::vector<WeightedRow> terms{{scales.x_weight, trajectory.slots.select(0, now.input)},
                                       {scales.answer_weight, answer.base.select(0, answer.first)}};
  if (polarity == Polarity::kPositive) {
    combine(trajectory.slots.select(0, now.denoised), terms);
  } else {
    trajectory.negative = at::empty_like(trajectory.slots.select(0, 0));
    combine(trajectory.negative, terms);
  }
  if (trajectory.waiting[0] || trajectory.waiting[1]) return;

  if (guided_) {
    guide(trajectory.slots.select(0, now.denoised), trajectory.negative,
          static_cast<float>(job_.body.guidance.cfg));
    if (now.uncond >= 0) trajectory.slots.select(0, now.uncond).copy_(trajectory.negative);
    trajectory.negative.reset();
  }
  end_stage(trajectory);
  if (trajectory.ended) fresh_.push_back(row);
}

void ShardRun::begin_stage(Trajectory& trajectory) { trajectory.waiting = {true, guided_}; }

void ShardRun::end_stage(Trajectory& trajectory) {
  update_slots(trajectory.slots, stage(trajectory).updates);
  ++trajectory.stage;
  const bool last = trajectory.stage == program_.stages.size();
  if (last || stage(trajectory).step >= 0) {
    ++trajectory.steps;
    ++steps_;
  }
  if (!last) {
    begin_stage(trajectory);
    return;
  }
  // A flow that ends at noise level sigma is 1 - sigma times the data (ComfyUI's
  // inverse_noise_scaling).
  const bool flow = sampling_.prediction == "flow";
  const float scale = flow ? 1.0F - static_cast<float>(program_.end_sigma) : 1.0F;
  at::Tensor result = trajectory.slots.narrow(0, program_.result, 1).to(at::kCPU, at::kFloat);
  if (scale != 1.0F) result = result / scale;
  if (all_finite(result)) {
    end(trajectory, {result, 0});
    return;
  }
  trajectory.error =
      Error{Code::kInternal, "the sample is not finite: the network or the sampler diverged", {}};
  end(trajectory, {});
}

void ShardRun::end(Trajectory& trajectory, RowRef result) {
  if (forward_) {
    ++trajectory.steps;
    ++steps_;
  }
  trajectory.result = std::move(result);
  trajectory.slots.reset();
  trajectory.ended = true;
  ++ended_;
}

void ShardRun::spend(std::int64_t row, double seconds) {
  at(row).seconds += seconds;
  seconds_ += seconds;
}

void ShardRun::fail(std::int64_t row, const Error& error) {
  Trajectory& trajectory = at(row);
  if (trajectory.ended) return;
  trajectory.waiting = {};
  trajectory.slots.reset();
  trajectory.negative.reset();
  trajectory.error = error;
  trajectory.ended = true;
  ++ended_;
  fresh_.push_back(row);
}

void ShardRun::take_finished(std::vector<EngineReport>& out) {
  std::sort(fresh_.begin(), fresh_.end());
  for (std::size_t begin = 0; begin < fresh_.size();) {
    const std::int64_t first = fresh_[begin];
    const bool failed = at(first).error.has_value();
    std::int64_t count = 1;
    while (begin + static_cast<std::size_t>(count) < fresh_.size() &&
           fresh_[begin + static_cast<std::size_t>(count)] == first + count &&
           at(first + count).error.has_value() == failed) {
      ++count;
    }
    RowsFinished report;
    report.shard = job_.shard;
    report.first_row = first;
    std::vector<RowRef> results;
    for (std::int64_t row = first; row < first + count; ++row) {
      Trajectory& trajectory = at(row);
      SampleReport& sample = report.samples.emplace_back();
      sample.sample = job_.samples[static_cast<std::size_t>(row)];
      sample.steps = trajectory.steps;
      sample.seconds = trajectory.seconds;
      sample.failed = failed;
      if (failed) sample.error = *trajectory.error;
      results.push_back(trajectory.result);
    }
    if (!failed) report.bytes = buffer_of(gather(results).to(at::kCPU).contiguous());
    for (std::int64_t row = first; row < first + count; ++row) at(row).result = {};
    out.emplace_back(std::move(report));
    begin += static_cast<std::size_t>(count);
  }
  fresh_.clear();
}

ShardMoved ShardRun::take_moved() {
  const std::int64_t fresh = steps_ - std::exchange(reported_steps_, steps_);
  return {job_.shard, steps_, fresh, seconds_};
}

}  // namespace pa
