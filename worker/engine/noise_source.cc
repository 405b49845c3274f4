#include "worker/engine/noise_source.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

#include "worker/engine/brownian.h"
#include "worker/engine/noise.h"

namespace pa {

struct NoiseSource::State {
  NoiseKind kind = NoiseKind::kComfy;
  bool add_noise = true;
  std::uint64_t seed = 0;
  std::optional<std::uint64_t> sampler_seed;
  std::vector<std::int64_t> batch_index;
  NoiseOrigin origin = NoiseOrigin::kSampler;
  std::vector<NoiseDraw> draws;
  std::optional<BrownianTree> tree;
  Shape row;
  std::int64_t batch = 1;
  std::vector<std::int64_t> samples;
  GivenNoise given;

  [[nodiscard]] NoisePlace place(std::int64_t row_of_shard) const {
    return {row, batch, samples[static_cast<std::size_t>(row_of_shard)]};
  }
  [[nodiscard]] at::Tensor start(std::int64_t row_of_shard) const;
  [[nodiscard]] at::Tensor comfy_draw(const NoisePlace& at, std::int64_t draw) const;
  [[nodiscard]] at::Tensor draw(std::int64_t row_of_shard, std::int64_t draw) const;
};

at::Tensor NoiseSource::State::start(std::int64_t row_of_shard) const {
  const NoisePlace at = place(row_of_shard);
  if (!add_noise) return at::zeros(row, at::kFloat);
  if (kind == NoiseKind::kGiven) return given.start.select(0, row_of_shard);
  if (kind == NoiseKind::kKeyed) return keyed_noise(seed, row, at.sample, 0);
  if (batch_index.empty()) return comfy_noise(seed, at);
  return indexed_noise(seed, row, batch_index[static_cast<std::size_t>(at.sample)]);
}

at::Tensor NoiseSource::State::comfy_draw(const NoisePlace& at, std::int64_t draw) const {
  switch (origin) {
    case NoiseOrigin::kSampler:
      return comfy_noise(sampler_seed.value_or(seed + 1), at, draw);
    case NoiseOrigin::kStart:
      if (sampler_seed) return comfy_noise(*sampler_seed, at, draw);
      if (batch_index.empty()) return comfy_noise(seed, at, draw + 1);
      return comfy_noise(seed, at, draw,
                         *std::max_element(batch_index.begin(), batch_index.end()) + 1);
    case NoiseOrigin::kBrownian:
      break;
  }
  const NoiseDraw& interval = draws[static_cast<std::size_t>(draw)];
  return tree->noise(static_cast<float>(interval.from), static_cast<float>(interval.to), at);
}

at::Tensor NoiseSource::State::draw(std::int64_t row_of_shard, std::int64_t draw) const {
  if (given.steps.defined()) return given.steps.select(0, draw).select(0, row_of_shard);
  const NoisePlace at = place(row_of_shard);
  if (kind != NoiseKind::kKeyed) return comfy_draw(at, draw);
  return keyed_noise(sampler_seed.value_or(seed + 1), row, at.sample,
                     static_cast<std::uint32_t>(draw + 1));
}

Result<NoiseSource> NoiseSource::of(const Request& request, const Program& program,
                                    const Shape& row, const std::vector<std::int64_t>& samples,
                                    const GivenNoise& given) {
  State state;
  state.kind = request.noise;
  state.add_noise = request.add_noise;
  state.seed = request.seed;
  state.sampler_seed = request.sampler_seed;
  state.batch_index = request.batch_index;
  state.origin = program.noise_origin;
  for (const Stage& stage : program.stages) {
    state.draws.insert(state.draws.end(), stage.draws.begin(), stage.draws.end());
  }
  if (state.origin == NoiseOrigin::kBrownian) {
    state.tree.emplace(request.sampler_seed.value_or(request.seed),
                       static_cast<float>(program.sigma_min),
                       static_cast<float>(program.sigma_max));
  }
  state.row = row;
  state.batch = request.samples;
  state.samples = samples;
  state.given = given;

  const bool outside = std::any_of(samples.begin(), samples.end(), [&](std::int64_t sample) {
    return sample < 0 || sample >= request.samples;
  });
  if (outside) return invalid("expected samples of the batch", "/samples");
  if (!request.batch_index.empty() && std::ssize(request.batch_index) != request.samples) {
    return invalid("expected one index a sample", "/batch_index");
  }
  for (std::size_t i = 0; i < request.batch_index.size(); ++i) {
    if (request.batch_index[i] >= 0 && request.batch_index[i] <= kMaxBatchIndex) continue;
    return invalid("expected an index from 0 to " + std::to_string(kMaxBatchIndex) + ", found " +
                       std::to_string(request.batch_index[i]),
                   "/batch_index/" + std::to_string(i));
  }
  Shape rows{std::ssize(samples)};
  rows.insert(rows.end(), row.begin(), row.end());
  const auto fits = [](const at::Tensor& tensor, const Shape& shape) {
    return tensor.defined() && tensor.scalar_type() == at::kFloat && tensor.sizes() == shape;
  };
  if (request.noise == NoiseKind::kGiven && request.add_noise && !fits(given.start, rows)) {
    return invalid("expected a tensor 'noise' of F32 " + to_string(rows), "/tensors/noise");
  }
  rows.insert(rows.begin(), std::ssize(state.draws));
  if (given.steps.defined() && !fits(given.steps, rows)) {
    return invalid("expected a tensor 'step_noise' of F32 " + to_string(rows) +
                       ": one for each of the " + std::to_string(state.draws.size()) +
                       " noises that the sampler draws",
                   "/tensors/step_noise");
  }
  return NoiseSource(std::make_shared<const State>(std::move(state)));
}

NoiseRecipe NoiseSource::start(std::int64_t row) const {
  return [state = state_, row] { return state->start(row); };
}

NoiseRecipe NoiseSource::fresh(std::int64_t row) const {
  return [state = state_, row] { return comfy_noise(state->seed + 1, state->place(row)); };
}

NoiseRecipe NoiseSource::draw(std::int64_t row, std::int64_t draw) const {
  return [state = state_, row, draw] { return state->draw(row, draw); };
}

}  // namespace pa
