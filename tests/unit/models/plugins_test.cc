#include "worker/models/plugins.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/model_folder.h"
#include "tests/support/paths.h"
#include "worker/models/model_store.h"
#include "worker/models/plugin_call.h"
#include "worker/models/registry.h"
#include "worker/models/tensors.h"

namespace pa {
namespace {

using test::Fixture;
using test::fixture_path;
using test::TempFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::vector<InputSpec> kInputs{{"encoder_hidden_states", DType::kF32, {6, 8}, true},
                                     {"pooled_projections", DType::kF32, {8}, true}};

Rows rows_of(const Fixture& fixture, std::int64_t first, std::int64_t count) {
  const auto tensor = [&](const std::string& name) {
    const TensorView& view = fixture.view(name);
    return alias(view.spec, view.bytes, fixture.file().keep_alive())
        .slice(0, first, first + count)
        .contiguous();
  };
  Rows rows;
  rows.x = tensor("in.x");
  rows.sigma = rows.level = tensor("in.timestep");
  for (const InputSpec& input : kInputs) rows.inputs[input.name] = tensor("in." + input.name);
  return rows;
}

Result<std::unique_ptr<Network>> load_dit() {
  return load_torchscript(fixture_path("plugins/dit/network.pt"), at::kCPU, at::kFloat, kInputs);
}

TEST(Plugins, ATorchScriptModuleAnswersAsInPyTorch) {
  const Fixture fixture("plugins/dit.safetensors");
  const auto network = load_dit();
  ASSERT_TRUE(network.ok()) << network.error().message;
  const TensorView& wanted = fixture.view("out.y");
  const at::Tensor answer = alias(wanted.spec, wanted.bytes, fixture.file().keep_alive());
  for (const std::int64_t count : {1, 2, 3}) {
    const auto got = (*network)->forward(rows_of(fixture, 0, count));
    ASSERT_TRUE(got.ok()) << got.error().message;
    EXPECT_TRUE(at::allclose(*got, answer.slice(0, 0, count), 1e-4, 1e-4)) << count << " rows";
  }
}

TEST(Plugins, AModelYamlTellsWhatTheyTake) {
  ModelStore store;
  ASSERT_TRUE(store.load(fixture_path("plugins")).ok());
  const std::shared_ptr<Replica> dit = store.acquire("dit").value();
  EXPECT_EQ(dit->info.family, "torchscript");
  EXPECT_EQ(dit->info.inputs, kInputs);
  EXPECT_EQ(dit->info.sampling.prediction, "flow");
  EXPECT_THAT(dit->info.latent, ElementsAre(4, 8, 8));
  EXPECT_THAT(dit->info.identity, HasSubstr("sha256:"));
}

TEST(Plugins, TheFileIsPartOfTheIdentity) {
  const TempFolder models;
  FileHashes hashes("");
  const std::string yaml = "family: torchscript\nfile: a.pt\n";
  models.write("one/model.yaml", yaml);
  models.write("two/model.yaml", yaml);
  models.write("one/a.pt", "1");
  models.write("two/a.pt", "2");
  const auto one = read_model_folder(models.path("one"), hashes);
  const auto two = read_model_folder(models.path("two"), hashes);
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_NE(one->info.identity, two->info.identity);
}

TEST(Plugins, MistakesAreNamed) {
  const std::vector<std::pair<std::string, std::string>> mistakes{
      {"family: torchscript\n", "expected 'file'"},
      {"family: torchscript\nfile: ../a.pt\n", "a file of this folder that ends in .pt"},
      {"family: torchscript\nfile: a.pt2\n", "a file of this folder that ends in .pt"},
      {"family: torchscript\nfile: b.pt\n", "there is no b.pt"},
      {"family: torchscript\nfile: a.pt\ninputs: [{name: a b, shape: []}]\n", "expected 'name'"},
      {"family: torchscript\nfile: a.pt\ninputs: [{name: z}]\n", "expected 'shape'"},
      {"family: torchscript\nfile: a.pt\ninputs: [{name: z, shape: [0]}]\n", "expected a size"},
      {"family: torchscript\nfile: a.pt\ninputs: [{name: z, shape: []}, {name: z, shape: []}]\n",
       "is there twice"},
      {"family: flux\n", "a pickle"},
  };
  for (const auto& [yaml, words] : mistakes) {
    const TempFolder models;
    FileHashes hashes("");
    models.write("m/model.yaml", yaml);
    models.write("m/a.pt", "no module");
    const auto folder = read_model_folder(models.path("m"), hashes);
    ASSERT_FALSE(folder.ok()) << yaml;
    EXPECT_THAT(folder.error().message, HasSubstr(words)) << yaml;
  }
}

TEST(Plugins, WhatIsNoModuleIsRefused) {
  const TempFolder models;
  const auto network =
      load_torchscript(models.write("a.pt", "no module"), at::kCPU, at::kFloat, {});
  ASSERT_FALSE(network.ok());
  EXPECT_EQ(network.error().code, Code::kInvalid);
  EXPECT_THAT(network.error().message, HasSubstr("no TorchScript module"));
  const auto package =
      load_aotinductor(models.write("a.pt2", "no package"), at::kCPU, at::kFloat, {}, {});
  ASSERT_FALSE(package.ok());
  EXPECT_EQ(package.error().code, Code::kInvalid);
}

TEST(Plugins, WrongInputsAreErrors) {
  const Fixture fixture("plugins/dit.safetensors");
  const auto network = load_dit();
  Rows rows = rows_of(fixture, 0, 2);
  rows.inputs.erase("pooled_projections");
  const auto missing = (*network)->forward(rows);
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message, HasSubstr("'pooled_projections' is missing"));
  rows = rows_of(fixture, 0, 2);
  rows.x = rows.x.slice(1, 0, 3).contiguous();
  EXPECT_FALSE((*network)->forward(rows).ok());
}

TEST(Plugins, WhatTheyAnswerHasTheShapeOfX) {
  Rows rows;
  rows.x = at::zeros({2, 4, 8, 8});
  const auto wrong = plugin_answer(at::zeros({2, 8, 8, 8}), rows);
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().message, HasSubstr("[2, 8, 8, 8] where x is [2, 4, 8, 8]"));
  const auto right = plugin_answer(at::zeros({2, 4, 8, 8}, at::kHalf), rows);
  ASSERT_TRUE(right.ok());
  EXPECT_EQ(right->scalar_type(), at::kFloat);
}

TEST(Plugins, MachineCodeRunsOnlyWhereItIsAllowed) {
  const TempFolder models;
  models.write("all/code/model.yaml", "family: aotinductor\nfile: a.pt2\n");
  models.write("all/code/a.pt2", "no package");
  models.write("all/noop/model.yaml", "family: noop\n");
  models.write("all-else/code/model.yaml", "family: noop\n");
  const auto error = [&](const std::string& allowed) {
    ModelStore store({}, {.compiled_models = allowed});
    EXPECT_TRUE(store.load(models.path("all")).ok());
    return store.broken().empty() ? "" : store.broken().front().error.message;
  };
  EXPECT_THAT(error(""), HasSubstr("is machine code"));
  EXPECT_THAT(error(models.path("all-else")), HasSubstr("is machine code"));
  EXPECT_THAT(error(models.path("all")), ::testing::Not(HasSubstr("is machine code")));
  EXPECT_THAT(error(models.path("all/../all/code")), ::testing::Not(HasSubstr("is machine code")));
}

}  // namespace
}  // namespace pa
