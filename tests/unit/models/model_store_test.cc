#include "worker/models/model_store.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/model_folder.h"
#include "tests/support/paths.h"
#include "worker/models/registry.h"

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

  EXPECT_EQ(store.acquire("noop").value()->info, infos[1]);
  EXPECT_EQ(store.acquire(infos[0].identity).value(), store.acquire("flux").value());
  EXPECT_EQ(store.acquire("flax").error().code, Code::kUnavailable);
}

TEST(ModelStore, LoadsTheDigits) {
  ModelStore store;
  ASSERT_TRUE(store.load(test::source_path("config/models")).ok());
  const std::shared_ptr<Replica> digits = store.acquire("digits").value();
  EXPECT_THAT(digits->info.latent, ElementsAre(1, 8, 8));
  EXPECT_LT(digits->info.pixel_min, digits->info.pixel_max);
  EXPECT_EQ(digits->info.labels.size(), 11U);
  for (const std::string& label : digits->info.labels) {
    EXPECT_EQ(digits->labels.at(label).at("context").size(0), 1);
    EXPECT_EQ(digits->labels.at(label).at("y").size(0), 1);
  }
}

TEST(ModelStore, ABrokenFolderStopsNoOther) {
  const TempFolder models;
  models.write("bad/model.yaml", "family: flux\n");
  models.write("pickled/model.ckpt", "");
  models.write("noop/model.yaml", "family: noop\n");
  ModelStore store;
  ASSERT_TRUE(store.load(models.path()).ok());
  EXPECT_EQ(store.infos().size(), 1U);
  ASSERT_EQ(store.broken().size(), 2U);
  EXPECT_EQ(store.broken()[0].name, "bad");
  EXPECT_THAT(store.broken()[0].error.message, HasSubstr("'img_in.weight' is missing"));
  EXPECT_THAT(store.broken()[1].error.message, HasSubstr("convert it to .safetensors"));
}

TEST(ModelStore, TellsWhyNothingCanBeUsed) {
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

/// Models a, b and c, of which no two fit at once, unless `two` do.
class FullStore : public ::testing::Test {
 protected:
  void SetUp() override {
    const Fixture fixture("models/flux_dev_b1_text33.safetensors");  // BF16: widened on a CPU.
    for (const char* const name : {"a", "b", "c"}) make_model_folder(models_, name, fixture);
    FileHashes hashes;
    bytes_ =
        replica_size(read_model_folder(models_.path("a"), hashes).value(), Device{}).owned_bytes;
    ASSERT_GT(bytes_, 100000);
  }

  TempFolder models_;
  std::int64_t bytes_ = 0;
};

TEST_F(FullStore, ThoseUsedLongestAgoMakeRoom) {
  ModelStore store(Device{}, {.memory_bytes = 2 * bytes_});
  ASSERT_TRUE(store.load(models_.path()).ok());
  EXPECT_EQ(store.infos().size(), 3U);
  EXPECT_NE(store.find("a"), nullptr);
  EXPECT_NE(store.find("b"), nullptr);
  EXPECT_EQ(store.find("c"), nullptr);
  ASSERT_TRUE(store.acquire("b").ok());
  ASSERT_TRUE(store.acquire("a").ok());
  ASSERT_TRUE(store.acquire("c").ok());
  EXPECT_NE(store.find("a"), nullptr);
  EXPECT_EQ(store.find("b"), nullptr);
}

TEST_F(FullStore, TellsWhatIsInMemory) {
  ModelStore store(Device{}, {.memory_bytes = bytes_ + bytes_ / 2});
  ASSERT_TRUE(store.load(models_.path()).ok());
  ASSERT_EQ(store.loaded().size(), 1U);
  EXPECT_EQ(store.loaded()[0].model, "a");
  EXPECT_GT(store.loaded()[0].load_seconds, 0);
  ASSERT_TRUE(store.acquire("b").ok());
  ASSERT_EQ(store.loaded().size(), 1U);
  EXPECT_EQ(store.loaded()[0].model, "b");
}

TEST_F(FullStore, OneInUseIsNeverPutOut) {
  ModelStore store(Device{}, {.memory_bytes = bytes_ + bytes_ / 2});
  ASSERT_TRUE(store.load(models_.path()).ok());
  std::shared_ptr<Replica> a = store.acquire("a").value();
  const Result<std::shared_ptr<Replica>> refused = store.acquire("b");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::kOverloaded);
  EXPECT_THAT(refused.error().message, HasSubstr("taken by models in use: 'a'"));
  EXPECT_NE(store.find("a"), nullptr);
  a.reset();
  EXPECT_TRUE(store.acquire("b").ok());
  EXPECT_EQ(store.find("a"), nullptr);
}

TEST_F(FullStore, OneThatNeverFitsIsRefusedWithTheNumbers) {
  ModelStore store(Device{}, {.memory_bytes = bytes_ / 2});
  const Status status = store.load(models_.path());
  EXPECT_THAT(status.error().message, HasSubstr("the model takes"));
  EXPECT_THAT(status.error().message, HasSubstr("where models may take"));
  EXPECT_EQ(store.broken().size(), 3U);
}

TEST_F(FullStore, LoadingTellsHowFarItIsAndCanBeCancelled) {
  ModelStore store;
  std::vector<std::string> told;
  const Status status = store.load(models_.path(), [&](const std::string& model, double part) {
    told.push_back(model);
    return !(model == "b" && part > 0.5);
  });
  EXPECT_EQ(status.error().code, Code::kCancelled);
  EXPECT_EQ(told.back(), "b");
  EXPECT_NE(store.find("a"), nullptr);
}

TEST(ModelStore, ChecksLabelConditions) {
  const TempFolder models;
  const Fixture fixture("models/flux_dev_b1.safetensors");
  const std::vector<float> values(std::size_t{7} * 48);
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

}  // namespace
}  // namespace pa
