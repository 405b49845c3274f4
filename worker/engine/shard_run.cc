#include "worker/engine/shard_run.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "shared/io/digest.h"
#include "shared/sampling/network_scales.h"
#include "worker/engine/checkpoint.h"
#include "worker/engine/preview.h"
#include "worker/engine/row_math.h"
#include "worker/models/tensors.h"

namespace pa {
namespace {

/// So that whoever gets a row knows that it is what the device gave.
void add_digests(RowsFinished& rows) {
  const std::uint64_t bytes = rows.bytes.size() / rows.samples.size();
  for (std::size_t i = 0; i < rows.samples.size(); ++i) {
    rows.samples[i].digest = digest_of(rows.bytes.bytes().subspan(i * bytes, bytes));
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

bool ShardRun::waits(std::int64_t row, std::size_t term) const {
  const Trajectory& trajectory = at(row);
  return !trajectory.waiting.empty() && trajectory.waiting[term];
}

Shape ShardRun::shape(std::size_t term) const {
  Shape shape = row_shape();
  if (const std::optional<Area>& area = terms_[term].area) {
    shape[1] = area->height;
    shape[2] = area->width;
  }
  return shape;
}

double ShardRun::row_work(std::size_t term) const {
  return static_cast<double>(element_count(shape(term)).value_or(1));
}

double ShardRun::work_left() const {
  double evaluation = 0;
  for (std::size_t term = 0; term < terms_.size(); ++term) {
    if (terms_[term].polarity == Polarity::kPositive || guided_) evaluation += row_work(term);
  }
  std::vector<std::int64_t> evaluations(program_.stages.size() + 1, 0);  // From a stage on.
  for (std::size_t i = program_.stages.size(); i-- > 0;) {
    evaluations[i] = evaluations[i + 1] + (program_.stages[i].input >= 0 ? 1 : 0);
  }
  double work = 0;
  for (const Trajectory& trajectory : trajectories_) {
    if (!trajectory.ended) work += evaluation * static_cast<double>(evaluations[trajectory.stage]);
  }
  return work;
}

std::string ShardRun::fit(std::int64_t row, std::size_t term) const {
  std::string text = replica_->info.name + to_string(shape(term));
  text += key_of(job_.body.loras);
  for (const auto& [name, ref] : terms_[term].inputs.row(row)) {
    text += name + to_string(ref.base.sizes().slice(1).vec());
  }
  return text;
}

/// What the network sees of a row's x for this term, without its input scale: [...], contiguous.
at::Tensor ShardRun::seen(std::int64_t row, std::size_t term) {
  const at::Tensor& x = at(row).x;
  const std::optional<Area>& area = terms_[term].area;
  if (!area) return x;
  return x.narrow(-2, area->y, area->height).narrow(-1, area->x, area->width).contiguous();
}

QueryRow ShardRun::query(std::int64_t row, std::size_t term) {
  Trajectory& trajectory = at(row);
  PA_CHECK(waits(row, term));
  QueryRow query;
  query.inputs = &terms_[term].inputs.row(row);
  if (forward_) {
    query.x = {x_, row};
    query.time = time_[time_.size(0) == 1 ? 0 : row].item<float>();
    query.level = sampling_.type == "discrete"
                      ? table_->sigma_of(query.time)
                      : query.time / static_cast<float>(sampling_.multiplier);
    return query;
  }
  const Stage& now = stage(trajectory);
  const auto sigma = static_cast<float>(now.sigma);
  if (!trajectory.slots.defined()) trajectory.slots = slots_of(row);
  if (!trajectory.x.defined()) {
    trajectory.x = slot(trajectory, now.input);
    if (inpaint_) trajectory.x = inpaint_.blend(row, trajectory.x, sigma);
  }
  if (inpaint_ || terms_[term].area) {
    query.x = {seen(row, term).unsqueeze(0), 0};
  } else {  // So that neighbours are seen to be that.
    query.x = {slots_[static_cast<std::size_t>(now.input)], row};
  }
  query.input_scale = network_scales(sampling_, sigma).input;
  query.time = table_->timestep_of(sigma);
  query.level = sigma;
  return query;
}

void ShardRun::answer(std::int64_t row, std::size_t term, const RowRef& answer, bool finite) {
  Trajectory& trajectory = at(row);
  PA_CHECK(waits(row, term));
  trajectory.waiting[term] = false;
  --trajectory.answers_due;
  if (forward_) return end(row, answer);

  if (!finite) return fail(row, not_finite(trajectory));
  trajectory.answers[term].row = answer.base.select(0, answer.first);
  if (trajectory.answers_due > 0 || take_all_at_once(row)) return;
  for (std::size_t k = 0; k < terms_.size(); ++k) {
    if (!denoise(row, k)) return fail(row, not_finite(trajectory));
  }
  take_answers(row);
  if (finish_stage(row)) settle(row);
}

void ShardRun::keep_answers(std::int64_t row) {
  for (std::size_t k = 0; k < at(row).answers.size(); ++k) {
    if (!denoise(row, k)) return fail(row, not_finite(at(row)));
  }
}

/// From what the network answered to a term, if it did, to the denoised row. False if a value of it is
/// no number.
bool ShardRun::denoise(std::int64_t row, std::size_t term) {
  Trajectory& trajectory = at(row);
  Answer& answer = trajectory.answers[term];
  if (answer.denoised || !answer.row.defined()) return true;
  const Stage& now = stage(trajectory);
  const auto sigma = static_cast<float>(now.sigma);
  const NetworkScales scales = network_scales(sampling_, sigma);
  const Polarity polarity = terms_[term].polarity;
  const at::Tensor x = seen(row, term);
  const bool last_word = polarity == Polarity::kPositive && is_plain(terms_, polarity, sigma);
  const at::Tensor denoised = last_word ? slot(trajectory, now.denoised) : at::empty_like(x);
  const std::vector<WeightedRow> sum{{scales.x_weight, x}, {scales.answer_weight, answer.row}};
  answer = {denoised, true};
  return combine(denoised, sum);
}

/// What the network answered to the one term of this polarity, if that counts alone and everywhere.
const at::Tensor* ShardRun::plain_answer(const Trajectory& trajectory, Polarity polarity) const {
  if (!is_plain(terms_, polarity, static_cast<float>(stage(trajectory).sigma))) return nullptr;
  for (std::size_t k = 0; k < terms_.size(); ++k) {
    const Answer& answer = trajectory.answers[k];
    if (terms_[k].polarity != polarity || !answer.row.defined()) continue;
    return answer.denoised ? nullptr : &answer.row;
  }
  return nullptr;
}

/// Ends the stage of a row whose answers are all there, in one go over memory. False, and nothing has
/// happened, if it needs more than that can do.
bool ShardRun::take_all_at_once(std::int64_t row) {
  Trajectory& trajectory = at(row);
  if (inpaint_ || !noise_->ready(row) || previews_after(trajectory)) return false;
  const Guidance& guidance = job_.body.guidance;
  if (guided_ && guidance.rescale > 0.0) return false;
  const at::Tensor* const positive = plain_answer(trajectory, Polarity::kPositive);
  const at::Tensor* const negative =
      guided_ ? plain_answer(trajectory, Polarity::kNegative) : nullptr;
  if (positive == nullptr || (guided_ && negative == nullptr)) return false;

  StageRow math;
  math.stage = &stage(trajectory);
  math.slots = trajectory.slots;
  math.scales = network_scales(sampling_, static_cast<float>(math.stage->sigma));
  math.positive = *positive;
  if (negative != nullptr) math.negative = *negative;
  math.cfg = static_cast<float>(guidance.cfg);
  math.kept = &kept_[trajectory.stage];
  Result<std::vector<std::pair<int, at::Tensor>>> noises = noise_->take(row);
  if (!noises.ok()) {
    fail(row, noises.error());
    return true;
  }
  math.noises = std::move(noises).value();
  if (!run_stage(math)) {
    fail(row, not_finite(trajectory));
    return true;
  }
  next_stage(row);
  settle(row);
  return true;
}

void ShardRun::resume() {
  if (rows_without_noise_ == 0 || !noise_->started()) return;
  for (std::int64_t row = 0; row < rows(); ++row) {
    Trajectory& trajectory = at(row);
    if (!trajectory.lacks_noise || (trajectory.begun && !noise_->ready(row))) continue;
    trajectory.lacks_noise = false;
    --rows_without_noise_;
    if (!trajectory.begun) {
      begin(row);
    } else if (finish_stage(row)) {
      settle(row);
    }
  }
}

/// Ends a stage whose answers are taken, unless its noises are still being made.
bool ShardRun::finish_stage(std::int64_t row) {
  Trajectory& trajectory = at(row);
  if (noise_->ready(row)) {
    end_stage(row);
    return true;
  }
  trajectory.lacks_noise = true;
  ++rows_without_noise_;
  return false;
}

/// Guidance and masks: from the answers of all terms to the slots that the program wants them in.
void ShardRun::take_answers(std::int64_t row) {
  Trajectory& trajectory = at(row);
  const Stage& now = stage(trajectory);
  const auto sigma = static_cast<float>(now.sigma);
  std::vector<at::Tensor> denoised_rows;
  for (const Answer& answer : trajectory.answers) denoised_rows.push_back(answer.row);
  const auto said = [&](Polarity polarity) {
    if (!is_plain(terms_, polarity, sigma)) {
      return weigh(terms_, denoised_rows, polarity, row, slot(trajectory, now.denoised));
    }
    std::size_t k = 0;
    while (terms_[k].polarity != polarity || !denoised_rows[k].defined()) ++k;
    return denoised_rows[k];
  };
  const at::Tensor denoised = slot(trajectory, now.denoised);
  const at::Tensor positive = said(Polarity::kPositive);
  if (!positive.is_alias_of(denoised)) denoised.copy_(positive);
  if (guided_) {
    const Guidance& guidance = job_.body.guidance;
    const at::Tensor negative = said(Polarity::kNegative);
    const at::Tensor kept = guidance.rescale > 0.0 ? denoised.clone() : at::Tensor();
    guide(denoised, negative, static_cast<float>(guidance.cfg));
    if (kept.defined()) {
      rescale(denoised, kept, trajectory.x, sigma, sampling_.prediction == "flow",
              guidance.rescale);
    }
    if (now.uncond >= 0) slot(trajectory, now.uncond).copy_(negative);
  }
  if (inpaint_) inpaint_.keep(row, denoised);
}

void ShardRun::begin_stage(std::int64_t row) {
  Trajectory& trajectory = at(row);
  const Stage& now = stage(trajectory);
  trajectory.x.reset();
  trajectory.waiting.assign(terms_.size(), false);
  trajectory.answers.assign(terms_.size(), Answer());
  trajectory.answers_due = 0;
  if (noise_) noise_->enter(row, trajectory.stage);
  if (now.input < 0) return;
  const auto sigma = static_cast<float>(now.sigma);
  for (std::size_t k = 0; k < terms_.size(); ++k) {
    if (terms_[k].polarity == Polarity::kNegative && !guided_) continue;
    if (!forward_ && !terms_[k].holds(sigma)) continue;
    trajectory.waiting[k] = true;
    ++trajectory.answers_due;
  }
}

/// Goes on until the row waits for the network, has ended or left: stages may need no evaluation, and
/// at some sigmas no condition may hold.
void ShardRun::settle(std::int64_t row) {
  Trajectory& trajectory = at(row);
  while (!trajectory.ended && trajectory.answers_due == 0) {
    if (!trajectory.slots.defined()) trajectory.slots = slots_of(row);
    if (stage(trajectory).input >= 0) take_answers(row);
    if (!finish_stage(row)) return;
  }
}

bool ShardRun::at_boundary(const Trajectory& trajectory) const {
  if (!trajectory.slots.defined()) return true;
  if (stage(trajectory).step < 0) return false;
  return std::none_of(trajectory.answers.begin(), trajectory.answers.end(),
                      [](const Answer& answer) { return answer.row.defined(); });
}

/// Whether the end of its stage is that of a step.
bool ShardRun::ends_step(const Trajectory& trajectory) const {
  return trajectory.stage + 1 == program_.stages.size() ||
         program_.stages[trajectory.stage + 1].step >= 0;
}

/// Whether a preview is due when its stage ends.
bool ShardRun::previews_after(const Trajectory& trajectory) const {
  const int every = job_.body.preview.every;
  return every > 0 && ends_step(trajectory) && trajectory.stage + 1 < program_.stages.size() &&
         (trajectory.steps + 1) % every == 0;
}

void ShardRun::end_stage(std::int64_t row) {
  Trajectory& trajectory = at(row);
  const auto noises = noise_->take(row);
  if (!noises.ok()) return fail(row, noises.error());
  for (const auto& [index, noise] : *noises) slot(trajectory, index).copy_(noise);
  if (previews_after(trajectory)) make_preview(row);
  update_slots(trajectory.slots, stage(trajectory).updates);
  next_stage(row);
}

/// The slots are those after the stage.
void ShardRun::next_stage(std::int64_t row) {
  Trajectory& trajectory = at(row);
  if (ends_step(trajectory)) {
    ++trajectory.steps;
    ++steps_;
  }
  if (++trajectory.stage == program_.stages.size()) return make_result(row);
  begin_stage(row);
  if (!at_boundary(trajectory)) return;
  if (trajectory.leaving) return depart(row);
  if (trajectory.saving) save_row(row);
}

void ShardRun::make_preview(std::int64_t row) {
  const Trajectory& trajectory = at(row);
  const int denoised = stage(trajectory).denoised;
  if (denoised < 0) return;
  PreviewPicture picture =
      preview_of(slot(trajectory, denoised), replica_->info, job_.body.preview.size);
  if (picture.rgb.empty()) return;
  departed_.emplace_back(PreviewMade{job_.shard, job_.samples[static_cast<std::size_t>(row)],
                                     trajectory.steps + 1, picture.width, picture.height,
                                     std::move(picture.rgb)});
}

void ShardRun::make_result(std::int64_t row) {
  const Trajectory& trajectory = at(row);
  // A flow that ends at noise level sigma is 1 - sigma times the data (ComfyUI's
  // inverse_noise_scaling).
  const bool flow = sampling_.prediction == "flow";
  const float scale = flow ? 1.0F - static_cast<float>(program_.end_sigma) : 1.0F;
  at::Tensor result = trajectory.slots.narrow(0, program_.result, 1).to(at::kCPU, at::kFloat);
  if (scale != 1.0F) result = result / scale;
  if (all_finite(result)) return end(row, {result, 0});
  fail(row, {Code::kInternal,
             "the sample is not finite: the sampler diverged in its last step, " +
                 std::to_string(trajectory.steps),
             {}});
}

Error ShardRun::not_finite(const Trajectory& trajectory) const {
  return {Code::kInternal,
          "the sample is not finite: at step " + std::to_string(trajectory.steps + 1) + " of " +
              std::to_string(steps_of(program_)) + " (sigma " +
              std::to_string(stage(trajectory).sigma) +
              ") the network answered with a value that is no number, or the sampler diverged",
          {}};
}

void ShardRun::end(std::int64_t row, RowRef result) {
  Trajectory& trajectory = at(row);
  if (forward_) {
    ++trajectory.steps;
    ++steps_;
  }
  trajectory.result = std::move(result);
  close(row);
  fresh_.push_back(row);
}

void ShardRun::spend(std::int64_t row, double seconds) {
  at(row).seconds += seconds;
  seconds_ += seconds;
}

void ShardRun::fail(std::int64_t row, const Error& error) {
  Trajectory& trajectory = at(row);
  if (trajectory.ended) return;
  trajectory.error = error;
  close(row);
  fresh_.push_back(row);
}

/// Gives up what a row held that ends or leaves.
void ShardRun::close(std::int64_t row) {
  Trajectory& trajectory = at(row);
  trajectory.waiting.clear();
  trajectory.answers.clear();
  trajectory.answers_due = 0;
  trajectory.x.reset();
  trajectory.slots.reset();
  if (trajectory.lacks_noise) --rows_without_noise_;
  trajectory.lacks_noise = false;
  if (noise_) noise_->leave(row);
  trajectory.ended = true;
  ++ended_;
}

void ShardRun::leave(std::int64_t sample) {
  const auto found = std::find(job_.samples.begin(), job_.samples.end(), sample);
  if (found == job_.samples.end()) return;
  const std::int64_t row = found - job_.samples.begin();
  if (at(row).ended) return;
  at(row).leaving = true;
  if (at_boundary(at(row))) depart(row);
}

/// How to go on with a row that stands between two steps; empty if it has not begun.
Buffer ShardRun::written_down(std::int64_t row) const {
  const Trajectory& trajectory = at(row);
  if (!trajectory.slots.defined()) return {};
  Checkpoint checkpoint;
  checkpoint.request = job_.request;
  checkpoint.sample = job_.samples[static_cast<std::size_t>(row)];
  checkpoint.program = fingerprint(program_);
  checkpoint.stage = trajectory.stage;
  checkpoint.steps = trajectory.steps;
  checkpoint.seconds = trajectory.seconds;
  checkpoint.row = row_shape();
  checkpoint.slots = live_slots(program_, trajectory.stage);
  std::vector<at::Tensor> values;
  for (const int index : checkpoint.slots) values.push_back(slot(trajectory, index));
  checkpoint.values = at::stack(values).to(at::kCPU);
  return encode(checkpoint);
}

/// Ends a row between two steps, and says how to go on.
void ShardRun::depart(std::int64_t row) {
  departed_.emplace_back(
      SampleLeft{job_.shard, job_.samples[static_cast<std::size_t>(row)], written_down(row)});
  close(row);
}

void ShardRun::save(std::int64_t sample) {
  const auto found = std::find(job_.samples.begin(), job_.samples.end(), sample);
  if (found == job_.samples.end()) return;
  const std::int64_t row = found - job_.samples.begin();
  if (at(row).ended || !at(row).slots.defined()) return;
  at(row).saving = true;
  if (at_boundary(at(row))) save_row(row);
}

void ShardRun::save_row(std::int64_t row) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  Trajectory& trajectory = at(row);
  trajectory.saving = false;
  SampleSaved saved{job_.shard, job_.samples[static_cast<std::size_t>(row)], trajectory.steps, 0,
                    written_down(row)};
  saved.cost_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  departed_.emplace_back(std::move(saved));
}

void ShardRun::drop() {
  for (std::int64_t row = 0; row < rows(); ++row) fail(row, {});
  fresh_.clear();
  departed_.clear();
}

void ShardRun::take_finished(std::vector<EngineReport>& out) {
  std::move(departed_.begin(), departed_.end(), std::back_inserter(out));
  departed_.clear();
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
    if (!failed) {
      report.bytes = buffer_of(gather(results).to(at::kCPU).contiguous());
      add_digests(report);
    }
    for (std::int64_t row = first; row < first + count; ++row) at(row).result = {};
    out.emplace_back(std::move(report));
    begin += static_cast<std::size_t>(count);
  }
  fresh_.clear();
}

ShardMoved ShardRun::take_moved() {
  const std::int64_t fresh = steps_ - std::exchange(reported_steps_, steps_);
  ShardMoved moved{job_.shard, steps_, fresh, seconds_, {}};
  for (const Trajectory& trajectory : trajectories_) moved.sample_steps.push_back(trajectory.steps);
  return moved;
}

}  // namespace pa
