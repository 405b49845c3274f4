#include "worker/engine/shard_noise.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

namespace pa {

ShardNoise::ShardNoise(NoiseSource source, const Program& program, NoiseMaker& maker,
                       std::int64_t rows, bool wants_fresh)
    : source_(std::move(source)), maker_(&maker), rows_(static_cast<std::size_t>(rows)) {
  std::int64_t draw = 0;
  for (const Stage& stage : program.stages) {
    std::vector<Use>& uses = uses_.emplace_back();
    for (const NoiseDraw& noise : stage.draws) {
      if (noise.slot >= 0) uses.push_back({draw, noise.slot});
      ++draw;
    }
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    at(row).start = maker_->make(source_.start(row));
    if (wants_fresh) at(row).fresh = maker_->make(source_.fresh(row));
  }
}

bool ShardNoise::started() const {
  return std::all_of(rows_.begin(), rows_.end(), [](const Row& row) {
    return (row.start == nullptr || row.start->ready()) &&
           (row.fresh == nullptr || row.fresh->ready());
  });
}

Result<at::Tensor> ShardNoise::take_start(std::int64_t row) {
  return std::exchange(at(row).start, nullptr)->value();
}

Result<at::Tensor> ShardNoise::take_fresh(std::int64_t row) {
  return std::exchange(at(row).fresh, nullptr)->value();
}

void ShardNoise::enter(std::int64_t row, std::size_t stage) {
  Row& here = at(row);
  here.stage = stage;
  std::size_t held = 0;
  for (std::size_t next = stage; next < uses_.size(); ++next) {
    if (next > stage && held + uses_[next].size() > kAhead) break;
    for (const Use& use : uses_[next]) {
      Noise& noise = here.ahead[use.draw];
      if (noise == nullptr) noise = maker_->make(source_.draw(row, use.draw));
    }
    if (next > stage) held += uses_[next].size();
  }
}

bool ShardNoise::ready(std::int64_t row) const {
  const Row& here = at(row);
  const std::vector<Use>& uses = uses_[here.stage];
  return std::all_of(uses.begin(), uses.end(),
                     [&](const Use& use) { return here.ahead.at(use.draw)->ready(); });
}

Result<std::vector<std::pair<int, at::Tensor>>> ShardNoise::take(std::int64_t row) {
  Row& here = at(row);
  std::vector<std::pair<int, at::Tensor>> noises;
  for (const Use& use : uses_[here.stage]) {
    const auto found = here.ahead.find(use.draw);
    PA_ASSIGN(at::Tensor noise, found->second->value());
    noises.emplace_back(use.slot, std::move(noise));
    here.ahead.erase(found);
  }
  return noises;
}

void ShardNoise::leave(std::int64_t row) { at(row) = {}; }

}  // namespace pa
