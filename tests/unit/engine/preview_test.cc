#include "worker/engine/preview.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace pa {
namespace {

int at_pixel(const PreviewPicture& picture, std::int64_t y, std::int64_t x, std::int64_t colour) {
  const auto index = static_cast<std::size_t>((y * picture.width + x) * 3 + colour);
  return picture.rgb[index];
}

TEST(Preview, OfPixelsIsThePicture) {
  ModelInfo model;
  model.pixel_min = -1;
  model.pixel_max = 1;
  const at::Tensor latent = at::tensor({-1.0F, 0.0F, 1.0F, 5.0F}).reshape({1, 2, 2});
  const PreviewPicture picture = preview_of(latent, model, 0);
  ASSERT_EQ(picture.rgb.size(), 12U);
  EXPECT_EQ(at_pixel(picture, 0, 0, 0), 0);
  EXPECT_EQ(at_pixel(picture, 0, 1, 2), 128);
  EXPECT_EQ(at_pixel(picture, 1, 0, 1), 255);
  EXPECT_EQ(at_pixel(picture, 1, 1, 1), 255);
}

TEST(Preview, OfALatentGoesByFactors) {
  ModelInfo model;
  model.colours = {0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.5, 0.0};
  const at::Tensor latent = at::ones({2, 1, 1});
  const PreviewPicture picture = preview_of(latent, model, 0);
  EXPECT_EQ(at_pixel(picture, 0, 0, 0), 255);
  EXPECT_EQ(at_pixel(picture, 0, 0, 1), 128);
  EXPECT_EQ(at_pixel(picture, 0, 0, 2), 255);
  EXPECT_TRUE(preview_of(at::ones({3, 1, 1}), model, 0).rgb.empty());
  EXPECT_TRUE(preview_of(at::ones({4}), model, 0).rgb.empty());
}

TEST(Preview, OfAnUnknownLatentIsGrey) {
  const at::Tensor latent = at::cat({at::full({4, 1, 2}, -3.0), at::full({4, 1, 2}, 9.0)}, 1);
  const PreviewPicture picture = preview_of(latent, {}, 0);
  EXPECT_EQ(at_pixel(picture, 0, 0, 0), at_pixel(picture, 0, 0, 2));
  EXPECT_LT(at_pixel(picture, 0, 0, 0), 100);
  EXPECT_GT(at_pixel(picture, 1, 0, 0), 155);
}

TEST(Preview, IsSmall) {
  const PreviewPicture picture = preview_of(at::randn({16, 300, 600}), {}, 0);
  EXPECT_EQ(picture.width, kMaxPreviewSide);
  EXPECT_EQ(picture.height, kMaxPreviewSide / 2);
  EXPECT_EQ(preview_of(at::randn({16, 30, 60}), {}, 20).width, 20);
  EXPECT_EQ(preview_of(at::randn({16, 30, 60}), {}, 5000).width, 60);
}

}  // namespace
}  // namespace pa
