#include "worker/engine/guidance.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "worker/models/tensors.h"

namespace pa {
namespace {

/// Where no condition holds, the answer is 0 / kNothing.
constexpr double kNothing = 1e-37;

bool is_inside(const std::vector<std::int64_t>& inner, const std::vector<std::int64_t>& outer) {
  for (std::size_t axis = 0; axis < 2; ++axis) {
    if (inner[axis + 2] < outer[axis + 2]) return false;
    if (inner[axis + 2] + inner[axis] > outer[axis + 2] + outer[axis]) return false;
  }
  return true;
}

/// The smallest that covers `area`; those without an area are larger than any.
const Condition* smallest_around(const std::vector<Condition>& conditions,
                                 const std::vector<std::int64_t>& area) {
  const Condition* smallest = nullptr;
  for (const Condition& candidate : conditions) {
    if (candidate.area.empty()) {
      if (smallest == nullptr) smallest = &candidate;
    } else if (is_inside(area, candidate.area)) {
      const bool smaller =
          smallest == nullptr || smallest->area.empty() ||
          candidate.area[0] * candidate.area[1] < smallest->area[0] * smallest->area[1];
      if (smaller) smallest = &candidate;
    }
  }
  return smallest;
}

void add_opposites_of(const std::vector<Condition>& from, std::vector<Condition>& to) {
  for (const Condition& condition : from) {
    if (condition.area.empty()) continue;
    const Condition* const around = smallest_around(to, condition.area);
    if (around == nullptr || around->area == condition.area) continue;
    Condition opposite = condition;
    opposite.tensors = around->tensors;
    to.push_back(std::move(opposite));
  }
}

at::Tensor part(const at::Tensor& whole, const Area& area) {
  return whole.narrow(-2, area.y, area.height).narrow(-1, area.x, area.width);
}

/// The standard deviation of all values (F32), that of a sample (n - 1), in float64.
double deviation(const at::Tensor& on_device) {
  const at::Tensor values = on_device.to(at::kCPU).contiguous();
  const float* const data = values.const_data_ptr<float>();
  const std::int64_t count = values.numel();
  double sum = 0;
  for (std::int64_t k = 0; k < count; ++k) sum += data[k];
  const double mean = sum / static_cast<double>(count);
  double squares = 0;
  for (std::int64_t k = 0; k < count; ++k) squares += (data[k] - mean) * (data[k] - mean);
  return std::sqrt(squares / static_cast<double>(std::max<std::int64_t>(count - 1, 1)));
}

}  // namespace

void add_opposites(std::vector<Condition>& positive, std::vector<Condition>& negative) {
  add_opposites_of(positive, negative);
  add_opposites_of(negative, positive);
}

Status place_term(const Condition& condition, const ShardTensors& masks, const SigmaTable& table,
                  std::int64_t rows, const Shape& row, const std::string& field, c10::Device device,
                  ConditionTerm& term) {
  constexpr float kAlways = std::numeric_limits<float>::infinity();
  term.strength = condition.strength;
  term.first_sigma =
      condition.start > 0.0 ? static_cast<float>(table.percent_to_sigma(condition.start)) : kAlways;
  term.last_sigma =
      condition.end < 1.0 ? static_cast<float>(table.percent_to_sigma(condition.end)) : -kAlways;
  if (condition.area.empty() && condition.mask.empty()) return {};
  if (row.size() != 3) {
    return invalid("areas and masks are for latents [C, H, W], not " + to_string(row), field);
  }
  if (!condition.area.empty()) {
    PA_ASSIGN(term.area, area_of(condition.area, row, field + "/area"));
  }
  if (condition.mask.empty()) {
    term.weight = feather(*term.area, row);
  } else {
    PA_ASSIGN(const at::Tensor mask,
              mask_for(masks.find(condition.mask), condition.mask, rows, row));
    if (mask.size(1) != 1) {
      return invalid("a condition's mask has one channel, not " + std::to_string(mask.size(1)),
                     "/tensors/" + condition.mask);
    }
    term.weight = term.area ? part(mask, *term.area) : mask;
  }
  term.weight = (term.weight * static_cast<float>(condition.strength)).to(device);
  return {};
}

at::Tensor weigh(const std::vector<ConditionTerm>& terms, std::span<const at::Tensor> answers,
                 Polarity polarity, std::int64_t row, const at::Tensor& like) {
  at::Tensor sum = at::zeros_like(like);
  at::Tensor count = at::full_like(like, kNothing);
  for (std::size_t k = 0; k < terms.size(); ++k) {
    const ConditionTerm& term = terms[k];
    if (term.polarity != polarity || !answers[k].defined()) continue;
    const at::Tensor into = term.area ? part(sum, *term.area) : sum;
    const at::Tensor counted = term.area ? part(count, *term.area) : count;
    if (term.weight.defined()) {
      const at::Tensor weight = term.weight.select(0, term.weight.size(0) == 1 ? 0 : row);
      into.add_(answers[k] * weight);
      counted.add_(weight);
    } else {
      into.add_(answers[k] * static_cast<float>(term.strength));
      counted.add_(static_cast<float>(term.strength));
    }
  }
  return sum.div_(count);
}

bool is_plain(const std::vector<ConditionTerm>& terms, Polarity polarity, float sigma) {
  int count = 0;
  for (const ConditionTerm& term : terms) {
    if (term.polarity != polarity || !term.holds(sigma)) continue;
    if (++count > 1 || term.weight.defined() || term.strength != 1.0) return false;
  }
  return count == 1;
}

void rescale(const at::Tensor& guided, const at::Tensor& positive, const at::Tensor& x, float sigma,
             bool flow, double amount) {
  if (sigma <= 0.0F) return;  // No velocity.
  // v = (base - denoised) scale, which guidance mixes as it mixes denoised rows.
  const float total = sigma * sigma + 1.0F;
  const float scale = (flow ? 1.0F : std::sqrt(total)) / sigma;
  const at::Tensor base = flow ? x : x * (1.0F / total);
  const at::Tensor v = (base - guided) * scale;
  const double spread = deviation(v);
  if (!(spread > 0.0)) return;
  const double ratio = deviation((base - positive) * scale) / spread;
  const auto factor = static_cast<float>(amount * ratio + (1.0 - amount));
  guided.copy_(base - v * (factor / scale));
}

}  // namespace pa
