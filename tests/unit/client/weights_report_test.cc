#include "clients/cli/weights_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clients/cli/sha256.h"
#include "tests/support/model_folder.h"

namespace pa::cli {
namespace {

using test::Fixture;
using test::TempFolder;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

class WeightsReportTest : public ::testing::Test {
 protected:
  /// What is said of these tensors, in a file beside the fixture's model.yaml.
  WeightsReport report(const std::string& fixture, const std::vector<TensorView>& tensors) {
    models_.write("m/model.yaml", test::model_yaml(Fixture(fixture)));
    const std::string path = models_.path("m/w.safetensors");
    PA_CHECK(write_safetensors(path, {}, tensors).ok());
    return report_weights(SafetensorsFile::open(path).value());
  }

  TempFolder models_;
};

TEST_F(WeightsReportTest, TellsFamilySizesAndMemory) {
  const std::string name = "models/flux_dev_b1.safetensors";
  const WeightsReport flux = report(name, test::weights_of(Fixture(name)));
  EXPECT_THAT(flux.problems, IsEmpty());
  EXPECT_THAT(flux.lines, Contains(Pair("kind", "weights of family flux, original names")));
  EXPECT_THAT(flux.lines, Contains(Pair("  hidden size", "64")));
  EXPECT_THAT(flux.lines, Contains(Pair("  variant", "dev (takes guidance)")));
  EXPECT_THAT(flux.lines, Contains(Pair("memory", HasSubstr("as BF16"))));
  const std::string sdxl = "models/sdxl_b1_10x6.safetensors";
  EXPECT_THAT(report(sdxl, test::weights_of(Fixture(sdxl))).lines,
              Contains(Pair("kind", "weights of family sdxl, original names, in a checkpoint")));
  const std::string other = "diffusers/zimage.safetensors";
  EXPECT_THAT(report(other, test::weights_of(Fixture(other))).lines,
              Contains(Pair("kind", "weights of family zimage, diffusers names")));
}

TEST_F(WeightsReportTest, NamesWhatDoesNotFit) {
  const std::string name = "models/flux_dev_b1.safetensors";
  const Fixture fixture(name);
  std::vector<TensorView> weights = test::weights_of(fixture);
  std::erase_if(weights, [](const TensorView& v) { return v.spec.name == "txt_in.bias"; });
  EXPECT_THAT(report(name, weights).problems, ElementsAre(HasSubstr("'txt_in.bias' is missing")));
  EXPECT_THAT(report(name, {}).lines, Contains(Pair("kind", HasSubstr("no family"))));
}

TEST_F(WeightsReportTest, TellsOfALoraAndWhetherItFits) {
  const Fixture lora("lora/flux_kohya.safetensors");
  std::vector<TensorView> tensors;
  for (const TensorView& view : lora.file().tensors()) {
    if (!view.spec.name.starts_with("lora.")) continue;
    tensors.push_back(view);
    tensors.back().spec.name.erase(0, 5);
  }
  const std::string path = models_.path("l.safetensors");
  ASSERT_TRUE(write_safetensors(path, {}, tensors).ok());
  const SafetensorsFile file = SafetensorsFile::open(path).value();
  const WeightsReport alone = report_lora(file, "");
  EXPECT_THAT(alone.lines, ElementsAre(Pair("kind", "LoRA for family flux"),
                                       Pair("ranks", "2 to 4"), Pair("layers", "13")));
  EXPECT_THAT(alone.problems, IsEmpty());

  make_model_folder(models_, "flux", Fixture("models/flux_dev_b1.safetensors"));
  const WeightsReport fits = report_lora(file, models_.path("flux"));
  EXPECT_THAT(fits.problems, IsEmpty());
  EXPECT_THAT(fits.lines, Contains(Pair("layers that fit", "13")));
  make_model_folder(models_, "sdxl", Fixture("models/sdxl_b2_8x8.safetensors"));
  EXPECT_THAT(report_lora(file, models_.path("sdxl")).problems,
              ElementsAre(HasSubstr("the model has no lora_unet_double_blocks_0")));
}

TEST_F(WeightsReportTest, TellsOfAFolder) {
  make_model_folder(models_, "z", Fixture("models/zimage_b1_8x8.safetensors"));
  const WeightsReport good = report_folder(models_.path("z"));
  EXPECT_THAT(good.problems, IsEmpty());
  EXPECT_THAT(good.lines, Contains(Pair("sampling", "predicts flow, sigmas flow with shift 3")));
  EXPECT_THAT(good.lines, Contains(Pair("identity", HasSubstr("sha256:"))));
  models_.write("edm/model.yaml",
                "family: noop\nprediction: edm\nsampling: {type: continuous, sigma_data: 0.25}\n");
  EXPECT_THAT(report_folder(models_.path("edm")).lines,
              Contains(Pair("sampling",
                            "predicts edm, sigmas continuous from 0.002 to 120, data of deviation "
                            "0.25")));
  models_.write("z/model.yaml", "family: zimage\n");
  EXPECT_THAT(report_folder(models_.path("z")).problems, ElementsAre(HasSubstr("axes_dims")));
}

TEST(Sha256, OfNothingAndOfAbc) {
  EXPECT_EQ(sha256({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256(std::as_bytes(std::span("abc", 3))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace pa::cli
