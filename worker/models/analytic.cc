#include "worker/models/analytic.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

#include "shared/sampling/network_scales.h"

namespace pa {
namespace {

class Analytic : public Network {
 public:
  Analytic(AnalyticDenoiser denoiser, SamplingInfo sampling)
      : denoiser_(std::move(denoiser)), sampling_(std::move(sampling)) {}

  [[nodiscard]] Result<at::Tensor> forward(const Rows& rows) override {
    const at::Tensor levels = rows.level.to(at::kCPU);
    const auto mu = rows.inputs.find("mu");
    const at::Tensor shifts = mu == rows.inputs.end() ? at::zeros({rows.x.size(0)}, at::kDouble)
                                                      : mu->second.to(at::kCPU, at::kDouble);
    at::Tensor answer = at::empty_like(rows.x);
    for (std::int64_t row = 0; row < rows.x.size(0); ++row) {
      answer[row].copy_(
          answer_of(rows.x[row], levels[row].item<float>(), shifts[row].item<double>()));
    }
    return answer;
  }

  [[nodiscard]] const std::vector<InputSpec>& input_contract() const override { return inputs_; }

 private:
  /// x, returned: one row.
  [[nodiscard]] at::Tensor answer_of(const at::Tensor& scaled, float sigma, double mu) const {
    const NetworkScales scales = network_scales(sampling_, sigma);
    const at::Tensor x = scaled.to(at::kDouble) / static_cast<double>(scales.input);
    if (scales.answer_weight == 0.0F) return at::zeros_like(x);  // No noise: x is the data.
    const double level = sigma;
    const double alpha = sampling_.prediction == "flow" ? 1.0 - level : 1.0;
    // Weights relative to the largest, so that not all of them vanish far away from the data.
    std::vector<at::Tensor> means;
    std::vector<at::Tensor> logs;
    for (std::size_t k = 0; k < denoiser_.weights.size(); ++k) {
      const double centre = mu + denoiser_.centres[k];
      const double variance = denoiser_.variances[k];
      const double spread = alpha * alpha * variance + level * level;
      const at::Tensor r = x - alpha * centre;
      means.push_back(r * (alpha * variance / spread) + centre);
      logs.push_back(r * r * (-0.5 / spread) +
                     (std::log(denoiser_.weights[k]) - 0.5 * std::log(spread)));
    }
    const at::Tensor share = at::softmax(at::stack(logs), 0);
    const at::Tensor denoised = (share * at::stack(means)).sum(0);
    return (denoised - x * static_cast<double>(scales.x_weight)) /
           static_cast<double>(scales.answer_weight);
  }

  AnalyticDenoiser denoiser_;
  SamplingInfo sampling_;
  std::vector<InputSpec> inputs_{{"mu", DType::kF32, {}, false}};
};

}  // namespace

std::unique_ptr<Network> make_analytic(AnalyticDenoiser denoiser, SamplingInfo sampling) {
  return std::make_unique<Analytic>(std::move(denoiser), std::move(sampling));
}

}  // namespace pa
