#include "worker/models/layers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace pa {
namespace {

constexpr double kTimePeriod = 10000.0;
constexpr std::size_t kRotaryTables = 16;  // Grids whose tables are kept.

Status expect(const std::string& name, const at::Tensor& tensor, const Shape& shape) {
  const at::IntArrayRef sizes = tensor.sizes();
  const bool fits =
      std::equal(sizes.begin(), sizes.end(), shape.begin(), shape.end(),
                 [](std::int64_t got, std::int64_t want) { return want < 0 || got == want; });
  if (fits && tensor.scalar_type() == at::kFloat) return {};
  return invalid(name + " is " + to_string(sizes.vec()) + "; expected F32 " + to_string(shape));
}

}  // namespace

at::Tensor Linear::operator()(const at::Tensor& x) const {
  const at::Tensor matrix = weight->dim() == 2 ? *weight : weight->flatten(1);
  return bias == nullptr ? at::linear(x, matrix) : at::linear(x, matrix, *bias);
}

at::Tensor Convolution::operator()(const at::Tensor& x) const {
  const std::int64_t padding = weight->size(2) / 2;
  return at::conv2d(x, *weight, *bias, stride, padding);
}

Linear linear_of(const Weights& weights, const std::string& name) {
  return {weights.at(name + ".weight"), weights.find(name + ".bias")};
}

Convolution convolution_of(const Weights& weights, const std::string& name, std::int64_t stride) {
  return {weights.at(name + ".weight"), weights.at(name + ".bias"), stride};
}

Status check_rows(const Rows& rows, std::int64_t channels, const std::vector<InputSpec>& inputs) {
  const std::int64_t n = rows.x.dim() > 0 ? rows.x.size(0) : 0;
  PA_TRY(expect("x", rows.x, {n, channels, -1, -1}));
  PA_TRY(expect("sigma", rows.sigma, {n}));
  for (const InputSpec& input : inputs) {
    const auto given = rows.inputs.find(input.name);
    if (given == rows.inputs.end()) {
      if (!input.required) continue;
      return invalid("the input '" + input.name + "' is missing");
    }
    Shape shape{n};
    shape.insert(shape.end(), input.shape.begin(), input.shape.end());
    PA_TRY(expect(input.name, given->second, shape));
  }
  return {};
}

at::Tensor TimeFeatures::operator()(const at::Tensor& t) {
  const std::int64_t half = count_ / 2;
  if (!frequencies_.defined() || frequencies_.device() != t.device()) {
    const at::Tensor exponents = at::arange(half, at::TensorOptions(at::kFloat));
    frequencies_ =
        at::exp(exponents * (-std::log(kTimePeriod)) / static_cast<double>(half)).to(t.device());
  }
  const at::Tensor angles = t.unsqueeze(1) * frequencies_;
  return at::cat({at::cos(angles), at::sin(angles)}, 1);
}

at::Tensor padded_to(const at::Tensor& x, std::int64_t patch) {
  const std::int64_t down = (patch - x.size(2) % patch) % patch;
  const std::int64_t right = (patch - x.size(3) % patch) % patch;
  if (down + right == 0) return x;
  // Gathered, since at::pad() wraps around once only.
  const auto wrapped = [&](std::int64_t size, std::int64_t more) {
    return at::remainder(at::arange(size + more, at::TensorOptions(at::kLong).device(x.device())),
                         size);
  };
  return x.index_select(2, wrapped(x.size(2), down)).index_select(3, wrapped(x.size(3), right));
}

const at::Tensor* RotaryTables::find(const Grid& grid) {
  for (auto table = tables_.begin(); table != tables_.end(); ++table) {
    if (table->grid == grid) {
      tables_.splice(tables_.begin(), tables_, table);
      return &table->turns;
    }
  }
  return nullptr;
}

const at::Tensor& RotaryTables::keep(const Grid& grid, c10::Device device,
                                     const at::Tensor& positions) {
  std::vector<at::Tensor> angles;
  for (std::size_t axis = 0; axis < axes_.size(); ++axis) {
    const std::int64_t dim = axes_[axis];
    if (dim == 0) continue;
    const at::Tensor exponents =
        at::arange(0, dim, 2, at::TensorOptions(at::kDouble)) / static_cast<double>(dim);
    const at::Tensor omega = at::pow(theta_, at::neg(exponents));
    angles.push_back(at::outer(positions.select(1, static_cast<std::int64_t>(axis)), omega));
  }
  const at::Tensor all = at::cat(angles, 1);
  const at::Tensor turns = at::polar(at::ones_like(all), all).to(at::kComplexFloat);
  if (tables_.size() == kRotaryTables) tables_.pop_back();
  tables_.push_front({grid, turns.unsqueeze(1).unsqueeze(1).to(device)});
  return tables_.front().turns;
}

at::Tensor grid_positions(std::int64_t high, std::int64_t wide) {
  const at::TensorOptions f64(at::kDouble);
  const at::Tensor row = at::arange(high, f64).repeat_interleave(wide);
  const at::Tensor column = at::arange(wide, f64).repeat(high);
  return at::stack({at::zeros({high * wide}, f64), row, column}, 1);
}

void turn(const at::Tensor& x, const at::Tensor& turns) {
  std::vector<std::int64_t> shape = x.sizes().vec();
  shape.back() /= 2;
  shape.push_back(2);
  at::view_as_complex(x.view(shape)).mul_(turns);
}

}  // namespace pa
