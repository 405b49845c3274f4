#include "worker/models/model_store.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/model_folder.h"
#include "tests/support/paths.h"
#include "worker/models/replica.h"

namespace pa {
namespace {

using test::Fixture;
using test::TempFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ModelStore, LoadsEveryFolderByName) {
  const TempFolder models;
  models.write("nothing/notes.txt", "passed over");
  models.write("noop/model.yaml", "family: noop\n");
  make_model_folder(models, "flux", Fixture("models/flux_dev_b1.safetensors"));
  ModelStore store;
  ASSERT_TRUE(store.load(models.path()).ok());
  const std::vector<ModelInfo> infos = store.infos();
  ASSERT_EQ(infos.size(), 2U);
  EXPECT_EQ(infos[0].name, "flux");
  EXPECT_THAT(infos[0].latent, ElementsAre(16, -1, -1));
  EXPECT_EQ(infos[0].sampling, (SamplingInfo{"flow", "flux", 1.15, 1.0}));
  ASSERT_EQ(infos[0].inputs.size(), 3U);
  EXPECT_EQ(infos[0].inputs[0], (InputSpec{"context", DType::kF32, {-1, 48}, true}));
  EXPECT_EQ(infos[0].inputs[2], (InputSpec{"guidance", DType::kF32, {}, true}));
  EXPECT_GT(infos[0].parameters, 100000);
  EXPECT_EQ(infos[1].name, "noop");
  EXPECT_THAT(infos[1].latent, ElementsAre());
  EXPECT_TRUE(store.warm_up().ok());

  EXPECT_EQ(store.find("noop")->info, infos[1]);
  EXPECT_EQ(store.find(infos[0].identity), store.find("flux"));
  EXPECT_EQ(store.find("flax"), nullptr);
}

TEST(ModelStore, LoadsTheDigits) {
  ModelStore store;
  ASSERT_TRUE(store.load(test::source_path("config/models")).ok());
  ASSERT_TRUE(store.warm_up().ok());
  const Replica* const digits = store.find("digits");
  ASSERT_NE(digits, nullptr);
  EXPECT_THAT(digits->info.latent, ElementsAre(1, 8, 8));
  EXPECT_LT(digits->info.pixel_min, digits->info.pixel_max);
  EXPECT_EQ(digits->info.labels.size(), 11U);
  for (const std::string& label : digits->info.labels) {
    EXPECT_EQ(digits->labels.at(label).at("context").size(0), 1);
    EXPECT_EQ(digits->labels.at(label).at("y").size(0), 1);
  }
}

TEST(ModelStore, NamesTheFolderThatCannotBeLoaded) {
  const TempFolder models;
  models.write("bad/model.yaml", "family: flux\n");
  ModelStore store;
  const Status status = store.load(models.path());
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr(models.path("bad")));
  EXPECT_THAT(status.error().message, HasSubstr("'img_in.weight' is missing"));

  const TempFolder empty;
  EXPECT_THAT(store.load(empty.path()).error().message, HasSubstr("no folder in"));
  EXPECT_FALSE(store.load(empty.path("none")).ok());
}

TEST(ModelStore, ChecksLabelConditions) {
  const TempFolder models;
  const Fixture fixture("models/flux_dev_b1.safetensors");
  const std::vector<float> values(7 * 48);
  const auto error_of = [&](const std::string& labels, const std::vector<TensorSpec>& specs) {
    make_model_folder(models, "m", fixture);
    models.write("m/model.yaml", test::model_yaml(fixture) + labels);
    std::vector<TensorView> views;
    for (const TensorSpec& spec : specs) {
      views.push_back({spec, std::as_bytes(std::span(values)).first(byte_size(spec).value())});
    }
    PA_CHECK(write_safetensors(models.path("m/conditions.safetensors"), {}, views).ok());
    ModelStore store;
    const Status status = store.load(models.path());
    return status.ok() ? std::string() : status.error().message;
  };
  const TensorSpec context{"a.b.context", DType::kF32, {1, 7, 48}};
  const TensorSpec y{"a.b.y", DType::kF32, {1, 24}};
  const TensorSpec guidance{"a.b.guidance", DType::kF32, {1}};
  EXPECT_EQ(error_of("labels: [a.b]\n", {context, y, guidance}), "");
  EXPECT_THAT(error_of("labels: [a.b]\n", {context, y}), HasSubstr("no tensor 'a.b.guidance'"));
  EXPECT_THAT(error_of("labels: [c]\n", {context, y, guidance}), HasSubstr("'c.context'"));
  EXPECT_THAT(error_of("", {{"a.b.z", DType::kF32, {1}}}), HasSubstr("no input 'z'"));
  EXPECT_THAT(error_of("", {{"context", DType::kF32, {1}}}), HasSubstr("LABEL.INPUT"));
  EXPECT_THAT(error_of("", {{"a.y", DType::kF32, {2, 24}}}), HasSubstr("expected one row of [24]"));
}

/// Answers with what is not a number.
class Broken : public Network {
 public:
  [[nodiscard]] Result<at::Tensor> forward(const Rows& rows) override { return rows.x / 0.0; }
  [[nodiscard]] const std::vector<InputSpec>& input_contract() const override { return inputs_; }

 private:
  std::vector<InputSpec> inputs_;
};

TEST(ModelStore, IsNotReadyIfAnEvaluationFails) {
  ModelStore store;
  Replica replica;
  replica.info.name = "broken";
  replica.info.latent = {1, 4, 4};
  replica.network = std::make_unique<Broken>();
  store.add(std::move(replica));
  EXPECT_THAT(store.warm_up().error().message, HasSubstr("model 'broken'"));
}

}  // namespace
}  // namespace pa
