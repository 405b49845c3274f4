// Every sampler fixture, on the analytic model and the engine, in one crowd.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/support/fixture.h"
#include "tests/support/shards.h"
#include "worker/engine/engine.h"
#include "worker/models/analytic.h"
#include "worker/models/model_store.h"
#include "worker/models/replica.h"

namespace pa {
namespace {

using test::Fixture;

at::Tensor tensor_of(const Fixture& fixture, const std::string& name) {
  const std::vector<float> values = fixture.values(name);
  return at::tensor(values).reshape(fixture.shape(name));
}

std::vector<double> numbers(const nlohmann::json& list) { return list.get<std::vector<double>>(); }

/// The model that a fixture was made with; returns its name.
std::string add_model(ModelStore& store, const nlohmann::json& meta) {
  const nlohmann::json& denoiser = meta.at("denoiser");
  Replica replica;
  replica.info.name =
      meta.at("model").get<std::string>() + "-" + denoiser.at("kind").get<std::string>();
  if (store.find(replica.info.name) != nullptr) return replica.info.name;
  replica.info.family = "analytic";
  const nlohmann::json& sampling = meta.at("sampling");
  const bool flow = meta.at("prediction") == "flow";
  replica.info.sampling.prediction = flow ? "flow" : "eps";
  replica.info.sampling.type = !flow ? "discrete" : sampling.at("type") == "FLUX" ? "flux" : "flow";
  replica.info.sampling.shift = sampling.at("settings").value("shift", 1.0);
  replica.info.sampling.multiplier = sampling.at("settings").value("multiplier", 1.0);
  AnalyticDenoiser values{{1.0}, {0.0}, {denoiser.value("var", 1.0)}};
  if (denoiser.at("kind") == "mix") {
    values = {numbers(denoiser.at("weights")), numbers(denoiser.at("centres")),
              numbers(denoiser.at("vars"))};
  }
  replica.network = make_analytic(values, replica.info.sampling);
  replica.info.inputs = replica.network->input_contract();
  const std::string name = replica.info.name;
  store.add(std::move(replica));
  return name;
}

void add_conditions(const nlohmann::json& list, const Fixture& fixture, std::size_t first,
                    std::vector<Condition>& conditions, test::Tensors& tensors) {
  for (std::size_t k = 0; k < list.size(); ++k) {
    Condition& condition = conditions.emplace_back();
    condition.tensors = "cond." + std::to_string(first + k);
    condition.strength = list[k].value("strength", 1.0);
    condition.start = list[k].value("start_percent", 0.0);
    condition.end = list[k].value("end_percent", 1.0);
    tensors[condition.tensors + ".mu"] = at::full({1}, list[k].at("mu").get<double>());
    if (first == 0 && k == 0 && fixture.has("in.cond_mask")) {
      condition.mask = "cond_mask";
      tensors["cond_mask"] = tensor_of(fixture, "in.cond_mask");
    }
  }
}

ShardJob job_of(const Fixture& fixture, std::uint64_t id, const std::string& model) {
  const nlohmann::json& meta = fixture.meta;
  Request body;
  test::Tensors tensors;
  body.model = model;
  body.samples = fixture.shape("in.noise")[0];
  body.seed = meta.at("seed");
  body.sigmas = fixture.values("in.sigmas");
  body.leftover_noise = body.sigmas.back() > 0;
  body.add_noise = !meta.value("disable_noise", false);
  if (body.add_noise) {
    body.noise = NoiseKind::kGiven;
    tensors["noise"] = tensor_of(fixture, "in.noise");
  }
  tensors["latent"] = tensor_of(fixture, "in.latent");
  body.sampler.name = meta.at("sampler");
  const nlohmann::json options = meta.value("options", nlohmann::json::object());
  for (const auto& [name, value] : options.items()) {
    if (value.is_boolean()) body.sampler.options[name] = value.get<bool>();
    if (value.is_number()) body.sampler.options[name] = value.get<double>();
    if (value.is_string()) body.sampler.options[name] = value.get<std::string>();
  }
  body.guidance.cfg = meta.at("cfg");
  add_conditions(meta.at("positive"), fixture, 0, body.positive, tensors);
  add_conditions(meta.at("negative"), fixture, body.positive.size(), body.negative, tensors);
  if (fixture.has("in.mask")) {
    body.inpaint = true;
    tensors["mask"] = tensor_of(fixture, "in.mask");
  }
  if (fixture.has("noise.z")) tensors["step_noise"] = tensor_of(fixture, "noise.z");
  const Shape& shape = fixture.shape("in.noise");
  return test::make_job(id, body, Shape(shape.begin() + 1, shape.end()),
                        test::first_samples(body.samples), tensors);
}

/// The largest error over the file's tolerance.
double error_of(const Fixture& fixture, const at::Tensor& got) {
  const at::Tensor want = tensor_of(fixture, "out.x").flatten(1);
  const double tolerance = fixture.meta.at("atol").get<double>() +
                           fixture.meta.at("rtol").get<double>() * want.abs().max().item<double>();
  return (got - want).abs().max().item<double>() / tolerance;
}

TEST(SamplerFixtures, AllOfThemTogether) {
  ModelStore store;
  Engine engine(store, {});
  std::vector<std::unique_ptr<Fixture>> fixtures;
  for (const std::string& name : test::fixtures_in("samplers")) {
    fixtures.push_back(std::make_unique<Fixture>("samplers/" + name));
    engine.add(job_of(*fixtures.back(), fixtures.size(), add_model(store, fixtures.back()->meta)));
  }
  const test::Outcome outcome = test::run(engine);
  for (std::size_t i = 0; i < fixtures.size(); ++i) {
    const std::string name = fixtures[i]->meta.at("name");
    const test::ShardOutcome& got = outcome.shards.at(i + 1);
    ASSERT_FALSE(got.samples.at(0).failed) << name << ": " << got.samples.at(0).error.message;
    EXPECT_LE(error_of(*fixtures[i], got.joined()), 1.0) << name;
  }
}

TEST(SamplerFixtures, AMaskOfPixelsIsResized) {
  ModelStore store;
  Engine engine(store, {});
  const Fixture fixture("samplers/inpaint_flow__euler.safetensors");
  const std::string model = add_model(store, fixture.meta);
  ShardJob job = job_of(fixture, 1, model);
  Request body = job.body;
  test::Tensors tensors{
      {"noise", tensor_of(fixture, "in.noise")},
      {"latent", tensor_of(fixture, "in.latent")},
      {"cond.0.mu", at::full({1, 1}, fixture.meta["positive"][0]["mu"].get<double>())},
      {"mask", tensor_of(fixture, "in.mask_raw")}};
  body.negative.clear();
  engine.add(test::make_job(1, body, Shape(job.result.shape.begin() + 1, job.result.shape.end()),
                            job.samples, tensors));
  EXPECT_LE(error_of(fixture, test::run(engine).shards.at(1).joined()), 1.0);
}

}  // namespace
}  // namespace pa
