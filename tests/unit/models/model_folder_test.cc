#include "shared/models/model_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/model_folder.h"
#include "tests/support/text_files.h"

namespace pa {
namespace {

using test::Fixture;
using test::TempFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ModelFolderTest : public ::testing::Test {
 protected:
  Result<ModelFolder> read(const std::string& yaml) {
    models_.write("m/model.yaml", yaml);
    return read_model_folder(models_.path("m"), hashes_);
  }
  std::string error_of(const std::string& yaml) {
    const Result<ModelFolder> folder = read(yaml);
    return folder.ok() ? "" : folder.error().message;
  }

  FileHashes hashes_;
  TempFolder models_;
};

TEST_F(ModelFolderTest, ReadsTheYaml) {
  const ModelInfo info = read(
                             "family: noop\n"
                             "prediction: v\n"
                             "sampling: {type: discrete}\n"
                             "latent: {channels: 4, height: 8}\n"
                             "pixels: {min: -1, max: 1}\n"
                             "dtype: BF16\n")
                             ->info;
  EXPECT_EQ(info.name, "m");
  EXPECT_EQ(info.family, "noop");
  EXPECT_EQ(info.sampling.prediction, "v");
  EXPECT_EQ(info.sampling.type, "discrete");
  EXPECT_THAT(info.latent, ElementsAre(4, 8, -1));
  EXPECT_EQ(info.pixel_min, -1.0);
  EXPECT_EQ(info.pixel_max, 1.0);
}

TEST_F(ModelFolderTest, ReadsTheColoursOfLatents) {
  const std::string latent = "family: noop\nlatent: {channels: 2}\n";
  EXPECT_THAT(read(latent)->info.colours, ::testing::IsEmpty());
  EXPECT_THAT(read(latent + "preview: {factors: [[1, 2, 3], [4, 5, 6]]}\n")->info.colours,
              ElementsAre(0.5, 0.5, 0.5, 1, 2, 3, 4, 5, 6));
  EXPECT_THAT(
      read(latent + "preview: {bias: [0, 1, 2], factors: [[1, 2, 3], [4, 5, 6]]}\n")->info.colours,
      ElementsAre(0, 1, 2, 1, 2, 3, 4, 5, 6));
  EXPECT_THAT(error_of(latent + "preview: {factors: [[1, 2, 3]]}\n"),
              HasSubstr("expected one for each of the latent's 2 channels, found 1"));
}

TEST_F(ModelFolderTest, ReadsSigmasOfEveryType) {
  const auto sampling = [&](const std::string& text) { return read(text)->info.sampling; };
  EXPECT_EQ(sampling("family: noop\nprediction: edm\n"
                     "sampling: {type: continuous, sigma_max: 80, sigma_data: 0.25}\n"),
            (SamplingInfo{.prediction = "edm",
                          .type = "continuous",
                          .sigma_min = 0.002,
                          .sigma_max = 80.0,
                          .sigma_data = 0.25}));
  EXPECT_EQ(sampling("family: noop\nprediction: v\nsampling: {zero_terminal_snr: true}\n"),
            (SamplingInfo{.prediction = "v", .type = "discrete", .zero_terminal_snr = true}));
  EXPECT_THAT(error_of("family: noop\nprediction: eps\nsampling: {sigma_max: 80}\n"),
              HasSubstr(":3:23: sampling.sigma_max: sigmas of type discrete have no sigma_max"));
  EXPECT_THAT(error_of("family: noop\nsampling: {zero_terminal_snr: true}\n"),
              HasSubstr("sigmas of type flow have no zero_terminal_snr"));
  EXPECT_THAT(error_of("family: noop\nsampling: {sigma_data: 1}\n"), HasSubstr("no sigma_data"));
  EXPECT_THAT(error_of("family: noop\nprediction: edm\n"
                       "sampling: {type: continuous, sigma_min: 90, sigma_max: 80}\n"),
              HasSubstr("expected 0 < sigma_min < sigma_max"));
}

TEST_F(ModelFolderTest, NamesTheLineOfAMistake) {
  const std::string path = models_.path("m/model.yaml");
  EXPECT_THAT(error_of("family: nop\n"), HasSubstr(path + ":1:9: "));
  EXPECT_THAT(error_of("family: noop\nlatnt: {channels: 4}\n"), HasSubstr(path + ":2:1: "));
  EXPECT_THAT(error_of("family: noop\nlatnt: {channels: 4}\n"), HasSubstr("latent"));
  EXPECT_THAT(error_of("family: noop\nlatent: {channels: x}\n"), HasSubstr(path + ":2:20: "));
  EXPECT_THAT(error_of("family: flux\nconfig: {axes_dims: [1]}\n"), HasSubstr("axes_dim"));
  EXPECT_THAT(error_of("family: noop\nconfig: {axes_dim: [1]}\n"), HasSubstr(":2:"));
  EXPECT_THAT(error_of("family: noop\npixels: {min: 1, max: 0}\n"), HasSubstr("min below max"));
  EXPECT_THAT(error_of("family: noop\nprediction: eps\nsampling: {type: flow}\n"),
              HasSubstr("expected prediction"));
}

TEST_F(ModelFolderTest, RecognisesTheFamilyByTheWeights) {
  const Fixture fixture("models/flux_dev_b1.safetensors");
  models_.write("m/model.yaml", "config: {axes_dim: [8, 12, 12]}\n");
  ASSERT_TRUE(
      write_safetensors(models_.path("m/w.safetensors"), {}, test::weights_of(fixture)).ok());
  EXPECT_EQ(read_model_folder(models_.path("m"), hashes_)->info.family, "flux");
}

TEST_F(ModelFolderTest, RefusesAFolderOfNoFamily) {
  EXPECT_THAT(error_of("prediction: flow\n"), HasSubstr("no family"));
  models_.write("empty/readme", "");
  EXPECT_THAT(read_model_folder(models_.path("empty"), hashes_).error().message,
              HasSubstr("neither"));
  EXPECT_FALSE(read_model_folder(models_.path("none"), hashes_).ok());
}

TEST_F(ModelFolderTest, LabelsNeedConditions) {
  EXPECT_THAT(error_of("family: noop\nlabels: [a]\n"), HasSubstr("no conditions.safetensors"));
  EXPECT_THAT(error_of("family: noop\nlabels: [a, b, a]\n"), HasSubstr("'a' is there twice"));
}

TEST_F(ModelFolderTest, TheIdentityIsOfNamesAndContents) {
  const std::string first = read("family: noop\n")->info.identity;
  EXPECT_THAT(first, ::testing::MatchesRegex("sha256:[0-9a-f]{64}"));
  models_.write("m/notes.txt", "not part of the model");
  EXPECT_EQ(read("family: noop\n")->info.identity, first);
  EXPECT_NE(read("family: noop \n")->info.identity, first);
  const std::vector<TensorView> none;
  ASSERT_TRUE(write_safetensors(models_.path("m/a.safetensors"), {}, none).ok());
  const std::string with_a = read("family: noop\n")->info.identity;
  EXPECT_NE(with_a, first);
  std::filesystem::rename(models_.path("m/a.safetensors"), models_.path("m/b.safetensors"));
  EXPECT_NE(read("family: noop\n")->info.identity, with_a);
}

TEST_F(ModelFolderTest, RefusesATensorInTwoFiles) {
  const std::vector<float> one{1.0F};
  const std::vector<TensorView> tensors{{{"t", DType::kF32, {1}}, std::as_bytes(std::span(one))}};
  ASSERT_TRUE(write_safetensors(models_.path("a.safetensors"), {}, tensors).ok());
  ASSERT_TRUE(write_safetensors(models_.path("b.safetensors"), {}, tensors).ok());
  EXPECT_THAT(read_model_folder(models_.path(), hashes_).error().message,
              HasSubstr("'t' is also in another file"));
}

}  // namespace
}  // namespace pa
