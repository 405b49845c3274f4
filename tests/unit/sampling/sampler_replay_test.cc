#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "shared/sampling/request_sampling.h"
#include "shared/sampling/samplers.h"
#include "tests/support/fixture.h"

namespace pa {
namespace {

using test::Fixture;
using Values = std::vector<float>;

/// The exact denoiser of tests/fixtures/samplers, in float64.
class Denoiser {
 public:
  Denoiser(const Fixture& fixture, const SigmaTable& table)
      : fixture_(fixture), table_(table), flow_(fixture.meta["prediction"] == "flow") {
    noise_ = fixture.values(fixture.has("in.inpaint_noise") ? "in.inpaint_noise" : "in.noise");
    latent_ = fixture.values("in.latent");
    if (fixture.has("in.mask")) mask_ = fixture.values("in.mask");
    if (fixture.has("in.cond_mask")) condition_mask_ = fixture.values("in.cond_mask");
  }

  struct Answers {
    Values denoised;
    Values uncond;
  };

  /// The whole batch, guidance and inpainting included.
  Answers operator()(Values x, double sigma, bool want_uncond) const {
    const auto s = static_cast<float>(sigma);
    if (!mask_.empty()) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = x[i] * mask_[i] + scaled(s, i) * (1.0F - mask_[i]);
      }
    }
    Values answer = conditioned("positive", x, sigma);
    const double cfg = fixture_.meta["cfg"];
    Values negative;
    if (std::abs(cfg - 1.0) > 1e-9 || want_uncond) {
      negative = conditioned("negative", x, sigma);
      for (std::size_t i = 0; i < x.size(); ++i) {
        answer[i] = negative[i] + (answer[i] - negative[i]) * static_cast<float>(cfg);
      }
    }
    if (!mask_.empty()) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        answer[i] = answer[i] * mask_[i] + latent_[i] * (1.0F - mask_[i]);
      }
    }
    return {std::move(answer), std::move(negative)};
  }

 private:
  float scaled(float sigma, std::size_t i) const {
    return flow_ ? sigma * noise_[i] + (1.0F - sigma) * latent_[i] : noise_[i] * sigma + latent_[i];
  }

  /// ComfyUI's mean over the conditions in force, weighted by strength and mask.
  Values conditioned(const char* polarity, const Values& x, double sigma) const {
    std::vector<double> sum(x.size());
    std::vector<double> weight(x.size());
    for (std::size_t k = 0; k < fixture_.meta[polarity].size(); ++k) {
      const auto& condition = fixture_.meta[polarity][k];
      const double start = table_.percent_to_sigma(condition.value("start_percent", 0.0));
      const double end = table_.percent_to_sigma(condition.value("end_percent", 1.0));
      if (sigma > start || sigma < end) continue;
      const bool masked = polarity == std::string("positive") && k == 0 && !condition_mask_.empty();
      for (std::size_t i = 0; i < x.size(); ++i) {
        const std::size_t plane = condition_mask_.size();
        const double w =
            condition.value("strength", 1.0) * (masked ? double{condition_mask_[i % plane]} : 1.0);
        sum[i] += w * one(condition["mu"], x[i], sigma);
        weight[i] += w;
      }
    }
    Values out(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      out[i] = static_cast<float>(sum[i] / std::max(weight[i], 1e-37));
    }
    return out;
  }

  float one(double mu, double x, double sigma) const {
    const auto& d = fixture_.meta["denoiser"];
    const double alpha = flow_ ? 1.0 - sigma : 1.0;
    if (d["kind"] == "gauss") {
      const double v = d["var"];
      return static_cast<float>(mu +
                                alpha * v / (alpha * alpha * v + sigma * sigma) * (x - alpha * mu));
    }
    std::vector<double> log_weight;
    std::vector<double> mean;
    for (std::size_t k = 0; k < d["weights"].size(); ++k) {
      const double w = d["weights"][k];
      const double centre = mu + d["centres"][k].get<double>();
      const double v = d["vars"][k];
      const double s = alpha * alpha * v + sigma * sigma;
      const double r = x - alpha * centre;
      log_weight.push_back(std::log(w) - 0.5 * std::log(s) - r * r / (2.0 * s));
      mean.push_back(centre + alpha * v / s * r);
    }
    const double top = *std::max_element(log_weight.begin(), log_weight.end());
    double sum = 0;
    double total = 0;
    for (std::size_t k = 0; k < mean.size(); ++k) {
      sum += std::exp(log_weight[k] - top) * mean[k];
      total += std::exp(log_weight[k] - top);
    }
    return static_cast<float>(sum / total);
  }

  const Fixture& fixture_;
  const SigmaTable& table_;
  bool flow_;
  Values noise_;
  Values latent_;
  Values mask_;
  Values condition_mask_;
};

SamplingInfo sampling_info(const nlohmann::json& meta) {
  const auto& settings = meta["sampling"]["settings"];
  const std::string type = meta["sampling"]["type"];
  SamplingInfo info;
  info.prediction = type == "EPS" ? "eps" : "flow";
  info.type = type == "EPS" ? "discrete" : type == "FLUX" ? "flux" : "flow";
  info.shift = settings.value("shift", 1.0);
  info.multiplier = settings.value("multiplier", 1.0);
  return info;
}

SamplerSpec sampler_spec(const nlohmann::json& meta) {
  SamplerSpec spec{meta["sampler"], {}};
  if (!meta.contains("options")) return spec;
  for (const auto& [name, value] : meta["options"].items()) {
    if (value.is_string()) {
      spec.options[name] = value.get<std::string>();
    } else {
      spec.options[name] = value.get<double>();
    }
  }
  return spec;
}

/// Runs of values that are equal but for rounding, made one.
Values distinct(Values values) {
  const auto same = [](float a, float b) { return std::abs(a - b) <= 2e-6F * std::abs(a); };
  values.erase(std::unique(values.begin(), values.end(), same), values.end());
  return values;
}

/// Samplers whose fixtures do not hold x on entry to each step: the reference reports another x there.
bool reports_steps(const std::string& sampler) {
  return !sampler.starts_with("uni_pc") && !sampler.starts_with("ipndm") && sampler != "deis" &&
         sampler != "dpm_fast";
}

class SamplerReplay : public ::testing::TestWithParam<std::string> {
 protected:
  /// Noise scaled into the latent, as ComfyUI does.
  [[nodiscard]] Values start(float sigma) const {
    const Values noise = fixture_.values("in.noise");
    const Values latent = fixture_.values("in.latent");
    const bool full = sigma >= table_.sigma_max() * (1.0F - 1e-5F);
    const float scale = flow_ || !full ? sigma : std::sqrt(1.0F + sigma * sigma);
    Values x(noise.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = scale * noise[i] + (flow_ ? 1.0F - sigma : 1.0F) * latent[i];
    }
    return x;
  }

  /// The k-th recorded noise, which must have been asked for this interval.
  [[nodiscard]] Values recorded(std::size_t k, const NoiseDraw& draw, std::size_t size) const {
    const Values from = fixture_.values("noise.from");
    const Values to = fixture_.values("noise.to");
    if (k >= from.size()) {
      ADD_FAILURE() << "more noises than the " << from.size() << " that were recorded";
      return Values(size);
    }
    EXPECT_NEAR(draw.from, from[k], 2e-6 * std::max(1.0F, from[k])) << "noise " << k;
    EXPECT_NEAR(draw.to, to[k], 2e-6 * std::max(1.0F, to[k])) << "noise " << k;
    const Values all = fixture_.values("noise.z");
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(k * size);
    return {begin, begin + static_cast<std::ptrdiff_t>(size)};
  }

  void expect_step(std::size_t k, const Values& x, double tolerance) const {
    const Values all = fixture_.values("step.x");
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(k * x.size());
    const Values want(begin, begin + static_cast<std::ptrdiff_t>(x.size()));
    const double scale = std::max(1.0, test::largest_magnitude(want));
    EXPECT_LE(test::largest_difference(x, want), tolerance * scale) << "step " << k;
  }

  static void update(const Stage& stage, std::vector<Values>& slots) {
    std::vector<Values> results;
    for (const Update& update : stage.updates) {
      Values& sum = results.emplace_back(slots[0].size());
      for (const Term& term : update.terms) {
        const Values& source = slots[static_cast<std::size_t>(term.slot)];
        for (std::size_t i = 0; i < sum.size(); ++i) {
          sum[i] += static_cast<float>(term.weight) * source[i];
        }
      }
    }
    for (std::size_t k = 0; k < results.size(); ++k) {
      slots[static_cast<std::size_t>(stage.updates[k].slot)] = results[k];
    }
  }

  Fixture fixture_{"samplers/" + GetParam()};
  SamplingInfo info_ = sampling_info(fixture_.meta);
  SigmaTable table_ = SigmaTable::make(info_).value();
  bool flow_ = info_.prediction == "flow";
};

TEST_P(SamplerReplay, EqualsTheReferenceAtEveryStep) {
  const std::string sampler = fixture_.meta["sampler"];
  const Values sigmas = fixture_.values("in.sigmas");
  const Result<Program> compiled =
      compile(sampler_spec(fixture_.meta), sigmas, prediction_of(info_, table_));
  ASSERT_TRUE(compiled.ok()) << compiled.error().message;
  const Program& program = *compiled;
  const double tolerance =
      fixture_.meta["atol"].get<double>() +
      fixture_.meta["rtol"].get<double>() * test::largest_magnitude(fixture_.values("out.x"));

  std::vector<Values> slots(static_cast<std::size_t>(program.slots));
  slots[0] = start(sigmas[0]);
  const std::size_t size = slots[0].size();
  const Denoiser denoise(fixture_, table_);
  const auto step_index = fixture_.values<std::int32_t>("step.index");
  Values evaluated;
  std::size_t steps = 0;
  std::size_t draws = 0;
  for (const Stage& stage : program.stages) {
    if (stage.input >= 0) {
      const Values& x = slots[static_cast<std::size_t>(stage.input)];
      const auto sigma = static_cast<float>(stage.sigma);
      if (reports_steps(sampler) && stage.step >= 0 && steps < step_index.size() &&
          stage.step == step_index[steps]) {
        expect_step(steps++, x, tolerance);
      }
      evaluated.push_back(sigma);
      Denoiser::Answers answers = denoise(x, sigma, stage.uncond >= 0);
      slots[static_cast<std::size_t>(stage.denoised)] = std::move(answers.denoised);
      if (stage.uncond >= 0) {
        slots[static_cast<std::size_t>(stage.uncond)] = std::move(answers.uncond);
      }
    }
    for (const NoiseDraw& draw : stage.draws) {
      Values noise = recorded(draws++, draw, size);
      if (draw.slot >= 0) slots[static_cast<std::size_t>(draw.slot)] = std::move(noise);
    }
    update(stage, slots);
  }
  if (reports_steps(sampler)) {
    EXPECT_EQ(steps, step_index.size());
  }
  EXPECT_EQ(draws, fixture_.has("noise.from") ? fixture_.values("noise.from").size() : 0);

  Values result = slots[static_cast<std::size_t>(program.result)];
  if (flow_) {
    for (float& value : result) value /= 1.0F - static_cast<float>(program.end_sigma);
  }
  EXPECT_LE(test::largest_difference(result, fixture_.values("out.x")), tolerance);

  const Values calls = distinct(fixture_.values("calls.sigma"));  // One a batch of conditions.
  EXPECT_LE(test::largest_difference(distinct(evaluated), calls), 2e-6 * calls[0]);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, SamplerReplay,
                         ::testing::ValuesIn(test::fixtures_in("samplers")), [](const auto& test) {
                           std::string name = test.param.substr(0, test.param.find('.'));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace pa
