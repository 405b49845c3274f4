#include "worker/models/weights.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/model_folder.h"

namespace pa {
namespace {

using test::TempFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class WeightsTest : public ::testing::Test {
 protected:
  WeightsTest() {
    const std::vector<float> full{1.5F, -2.0F};
    const std::vector<std::uint16_t> half{0x3FC0, 0xC000};  // 1.5 and -2 in BF16.
    const auto bytes = [](const auto& values) { return std::as_bytes(std::span(values)); };
    const Status written = write_safetensors(folder_.path("w"), {},
                                             {{{"blocks.0.w", DType::kF32, {2}}, bytes(full)},
                                              {{"blocks.1.w", DType::kBF16, {1, 2}}, bytes(half)},
                                              {{"blocks.10.w", DType::kBF16, {2}}, bytes(half)}});
    PA_CHECK(written.ok());
    file_ = std::make_unique<SafetensorsFile>(SafetensorsFile::open(folder_.path("w")).value());
    files_ = std::make_unique<WeightFiles>(WeightFiles::of({*file_}).value());
  }

  TempFolder folder_;
  std::unique_ptr<SafetensorsFile> file_;
  std::unique_ptr<WeightFiles> files_;
};

TEST_F(WeightsTest, TellsSizesAndCounts) {
  EXPECT_EQ(files_->size("blocks.1.w", 1), 2);
  EXPECT_EQ(files_->size("blocks.1.w", 2), -1);
  EXPECT_EQ(files_->size("blocks.2.w", 0), -1);
  EXPECT_EQ(files_->count("blocks."), 2);  // 10 does not follow 1.
  EXPECT_EQ(files_->count("layers."), 0);
  EXPECT_THAT(files_->names(), ElementsAre("blocks.0.w", "blocks.1.w", "blocks.10.w"));
}

TEST_F(WeightsTest, AliasesTheMapWhereNothingIsConverted) {
  WeightReader reader(*files_, at::kCPU, at::kFloat);
  const at::Tensor full = reader.take("blocks.0.w", {2});
  EXPECT_EQ(full.const_data_ptr(), file_->find("blocks.0.w")->bytes.data());
  const at::Tensor widened = reader.take("blocks.1.w", {1, 2});
  EXPECT_EQ(widened.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(widened.flatten(), full));
  EXPECT_EQ(reader.parameters(), 4);
}

TEST_F(WeightsTest, OutliveTheFile) {
  WeightReader reader(*files_, at::kCPU, at::kFloat);
  const at::Tensor full = reader.take("blocks.0.w", {2});
  file_.reset();
  EXPECT_EQ(full[1].item<float>(), -2.0F);
}

TEST_F(WeightsTest, TellsEveryMistakeAtOnce) {
  WeightReader reader(*files_, at::kCPU, at::kFloat);
  EXPECT_TRUE(reader.take("blocks.0.w", {2}).defined());
  EXPECT_FALSE(reader.take("blocks.1.w", {2, 1}).defined());
  EXPECT_FALSE(reader.take("blocks.11.w", {2}).defined());
  const Status status = reader.finish();
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("'blocks.1.w' is [1, 2]; expected [2, 1]"));
  EXPECT_THAT(status.error().message,
              HasSubstr("'blocks.11.w' is missing; the nearest is 'blocks.10.w'"));
  EXPECT_THAT(status.error().message, HasSubstr("'blocks.10.w' has no place"));
}

}  // namespace
}  // namespace pa
