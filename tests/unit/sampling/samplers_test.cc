#include "shared/sampling/samplers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "shared/sampling/request_sampling.h"
#include "tests/support/fixture.h"

namespace pa {
namespace {

using test::Fixture;
using ::testing::HasSubstr;
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

  /// The whole batch, guidance and inpainting included.
  Values operator()(Values x, double sigma) const {
    const auto s = static_cast<float>(sigma);
    if (!mask_.empty()) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = x[i] * mask_[i] + scaled(s, i) * (1.0F - mask_[i]);
      }
    }
    Values answer = conditioned("positive", x, sigma);
    const double cfg = fixture_.meta["cfg"];
    if (std::abs(cfg - 1.0) > 1e-9) {
      const Values negative = conditioned("negative", x, sigma);
      for (std::size_t i = 0; i < x.size(); ++i) {
        answer[i] = negative[i] + (answer[i] - negative[i]) * static_cast<float>(cfg);
      }
    }
    if (!mask_.empty()) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        answer[i] = answer[i] * mask_[i] + latent_[i] * (1.0F - mask_[i]);
      }
    }
    return answer;
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

class SamplerReplay : public ::testing::TestWithParam<std::string> {};

TEST_P(SamplerReplay, EqualsTheReference) {
  const Fixture fixture("samplers/" + GetParam());
  const nlohmann::json& meta = fixture.meta;
  SCOPED_TRACE(meta["name"]);
  const SamplingInfo info = sampling_info(meta);
  const SigmaTable table = SigmaTable::make(info).value();
  const Values sigmas = fixture.values("in.sigmas");
  const Result<Program> compiled = compile(sampler_spec(meta), sigmas, prediction_of(info, table));
  ASSERT_TRUE(compiled.ok()) << compiled.error().message;
  const Program& program = *compiled;

  const Values noise = fixture.values("in.noise");
  const Values latent = fixture.values("in.latent");
  const bool flow = info.prediction == "flow";
  const bool full = sigmas[0] >= table.sigma_max() * (1.0F - 1e-5F);
  std::vector<Values> slots(static_cast<std::size_t>(program.slots), Values(noise.size()));
  for (std::size_t i = 0; i < noise.size(); ++i) {
    const float s = sigmas[0];
    const float scale = flow ? s : full ? std::sqrt(1.0F + s * s) : s;
    slots[0][i] = scale * noise[i] + (flow ? 1.0F - s : 1.0F) * latent[i];
  }

  const Denoiser denoise(fixture, table);
  const Values step_x = fixture.values("step.x");
  const std::vector<std::int32_t> step_index = fixture.values<std::int32_t>("step.index");
  const bool reports_steps = meta["sampler"] != "ipndm";
  const double tolerance =
      meta["atol"].get<double>() +
      meta["rtol"].get<double>() * test::largest_magnitude(fixture.values("out.x"));
  Values evaluated;
  std::size_t seen = 0;
  for (const Stage& stage : program.stages) {
    Values& x = slots[static_cast<std::size_t>(stage.input)];
    if (stage.step >= 0 && seen < step_index.size() && stage.step == step_index[seen]) {
      if (reports_steps) {
        const auto begin = step_x.begin() + static_cast<std::ptrdiff_t>(seen * x.size());
        const Values want(begin, begin + static_cast<std::ptrdiff_t>(x.size()));
        const double scale = std::max(1.0, test::largest_magnitude(want));
        EXPECT_LE(test::largest_difference(x, want), tolerance * scale) << "step " << stage.step;
      }
      ++seen;
    }
    evaluated.push_back(static_cast<float>(stage.sigma));
    slots[static_cast<std::size_t>(stage.denoised)] = denoise(x, static_cast<float>(stage.sigma));
    ASSERT_TRUE(stage.draws.empty());
    std::vector<Values> results;
    for (const Update& update : stage.updates) {
      Values& sum = results.emplace_back(noise.size());
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
  EXPECT_EQ(seen, step_index.size());

  Values result = slots[static_cast<std::size_t>(program.result)];
  if (flow) {
    for (float& value : result) value /= 1.0F - static_cast<float>(program.end_sigma);
  }
  EXPECT_LE(test::largest_difference(result, fixture.values("out.x")), tolerance);

  const Values calls = fixture.values("calls.sigma");  // One a condition batch.
  if (calls.size() == evaluated.size()) {
    EXPECT_LE(test::largest_difference(evaluated, calls), 2e-6 * calls[0]);
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, SamplerReplay,
                         ::testing::ValuesIn(test::fixtures_in("samplers")), [](const auto& test) {
                           std::string name = test.param.substr(0, test.param.find('.'));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

Prediction flow() {
  return {true, [](double percent) { return 1.0 - percent; }};
}

TEST(Samplers, EveryNameHasAFixture) {
  const std::vector<std::string> files = test::fixtures_in("samplers");
  for (const std::string& name : sampler_names()) {
    const bool covered = std::any_of(files.begin(), files.end(), [&](const std::string& file) {
      return file.ends_with("__" + name + ".safetensors");
    });
    EXPECT_TRUE(covered) << name;
  }
}

TEST(Samplers, RefusesAnUnknownNameWithTheNearestAndTheList) {
  const Result<Program> program = compile({"dpmp_2m", {}}, Values{1.0F, 0.0F}, flow());
  ASSERT_FALSE(program.ok());
  EXPECT_EQ(program.error().code, Code::kInvalid);
  EXPECT_EQ(program.error().field, "/sampler/name");
  EXPECT_THAT(program.error().message, HasSubstr("did you mean 'dpmpp_2m'?"));
  EXPECT_THAT(program.error().message, HasSubstr("euler, ddim, heun"));
}

TEST(Samplers, RefusesOptionsByName) {
  const Values sigmas{1.0F, 0.5F, 0.0F};
  const auto error_of = [&](const std::string& sampler, const std::string& option,
                            const OptionValue& value) {
    const Result<Program> program = compile({sampler, {{option, value}}}, sigmas, flow());
    return program.ok() ? Error{Code::kInternal, "no error", ""} : program.error();
  };
  const Error unknown = error_of("euler", "s_churm", 1.0);
  EXPECT_EQ(unknown.field, "/sampler/options/s_churm");
  EXPECT_THAT(unknown.message, HasSubstr("did you mean 's_churn'?"));
  EXPECT_THAT(error_of("dpmpp_2m", "eta", 1.0).message, HasSubstr("there are none"));
  const Error wrong_type = error_of("ipndm", "max_order", std::string("4"));
  EXPECT_EQ(wrong_type.field, "/sampler/options/max_order");
  EXPECT_EQ(wrong_type.message, "expected a number, found a string");
  EXPECT_EQ(error_of("ipndm", "max_order", 2.5).message,
            "expected a whole number from 1 to 4, found 2.5");
  EXPECT_EQ(error_of("ipndm", "max_order", 5.0).field, "/sampler/options/max_order");
}

TEST(Samplers, RefusesSigmasThatDoNotFall) {
  const auto field_of = [](const Values& sigmas) {
    const Result<Program> program = compile({"euler", {}}, sigmas, flow());
    return program.ok() ? std::string("no error") : program.error().field;
  };
  EXPECT_EQ(field_of({1.0F}), "/sigmas");
  EXPECT_EQ(field_of({1.0F, 0.5F, 0.5F}), "/sigmas/2");
  EXPECT_EQ(field_of({1.0F, 0.5F, -0.1F}), "/sigmas/2");
  EXPECT_EQ(field_of({INFINITY, 0.0F}), "/sigmas/0");
  EXPECT_EQ(field_of({1.0F, NAN, 0.0F}), "/sigmas/1");
}

TEST(Samplers, ChurnAsksForNoiseBeforeTheStepItRaises) {
  const Program program =
      compile({"euler", {{"s_churn", 1.0}}}, Values{1.0F, 0.5F, 0.0F}, flow()).value();
  ASSERT_EQ(draws_of(program), 2);
  const Stage& before = program.stages.front();
  EXPECT_EQ(before.input, -1);
  ASSERT_EQ(before.draws.size(), 1U);
  EXPECT_DOUBLE_EQ(before.draws[0].from, 1.0);
  EXPECT_NEAR(before.draws[0].to, std::sqrt(2.0), 1e-12);
  EXPECT_EQ(steps_of(program), 2);
  EXPECT_EQ(evaluations_of(program), 2);
}

TEST(Samplers, EulerNeedsTwoSlotsAndHeunFour) {
  const Values sigmas{1.0F, 0.75F, 0.5F, 0.0F};
  EXPECT_EQ(compile({"euler", {}}, sigmas, flow())->slots, 2);
  const Program heun = compile({"heun", {}}, sigmas, flow()).value();
  EXPECT_EQ(heun.slots, 4);
  EXPECT_EQ(steps_of(heun), 3);
  EXPECT_EQ(evaluations_of(heun), 5);
}

}  // namespace
}  // namespace pa
