#include "clients/cli/contact_sheet.h"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>

namespace pa::cli {
namespace {

/// The red of the pixel in the middle of a cell's picture.
int middle(const Image& image, const SheetLayout& layout, int cell) {
  const int x = 16 + cell % layout.columns * layout.cell_width + layout.picture_width / 2;
  const int y = 16 + cell / layout.columns * layout.cell_height + layout.picture_height / 2;
  const auto pixel = static_cast<std::size_t>(y) * static_cast<std::size_t>(image.width) +
                     static_cast<std::size_t>(x);
  return image.rgb[pixel * 3];
}

TEST(ContactSheet, IsWiderThanHighWithFewEmptyPlaces) {
  const SheetLayout of21 = layout_sheet(21, 8, 8, 2);
  EXPECT_EQ(of21.columns, 7);
  EXPECT_EQ(of21.rows, 3);
  EXPECT_EQ(layout_sheet(10, 8, 8, 0).columns, 5);
  EXPECT_EQ(layout_sheet(1, 8, 8, 0).columns, 1);
  for (int count = 1; count <= kMaxCells; ++count) {
    const SheetLayout layout = layout_sheet(count, 8, 8, 1);
    EXPECT_GE(layout.columns * layout.rows, count);
    EXPECT_LT(layout.columns * (layout.rows - 1), count);
    EXPECT_GE(layout.width * 5, layout.height * 3) << count;
  }
}

TEST(ContactSheet, SmallSamplesGrowByWholeFactorsAndLargeOnesAreThinned) {
  EXPECT_EQ(layout_sheet(1, 8, 8, 0).scale, 12);
  EXPECT_EQ(layout_sheet(1, 64, 48, 0).scale, 1);
  EXPECT_EQ(layout_sheet(1, 64, 48, 0).picture_width, 48);
  const SheetLayout large = layout_sheet(1, 1024, 2048, 0);
  EXPECT_EQ(large.skip, 4);
  EXPECT_EQ(large.picture_width, 512);
  EXPECT_EQ(large.picture_height, 256);
}

TEST(ContactSheet, DrawsPixelsInTheirRange) {
  const std::array<float, 3> values{-1, 0, 1};
  SheetContents contents;
  contents.spec = {"samples", DType::kF32, {3, 1, 1, 1}};
  contents.bytes = std::as_bytes(std::span(values));
  contents.pixel_min = -1;
  contents.pixel_max = 1;
  contents.captions = {"a", "b"};
  contents.legend = {"worker"};
  const auto image = draw_contact_sheet(contents);
  ASSERT_TRUE(image.ok()) << image.error().message;
  const SheetLayout layout = layout_sheet(3, 1, 1, 1);
  EXPECT_GE(image->width, layout.width);  // The legend may need more.
  EXPECT_EQ(image->height, layout.height);
  EXPECT_EQ(middle(*image, layout, 0), 0);
  EXPECT_EQ(middle(*image, layout, 1), 128);
  EXPECT_EQ(middle(*image, layout, 2), 255);
}

TEST(ContactSheet, DrawsLatentsAsTheMeanOfTheirChannels) {
  const std::array<float, 4> values{3, -3, 10, 10};  // Means 0 and 10.
  SheetContents contents;
  contents.spec = {"samples", DType::kF32, {2, 2, 1, 1}};
  contents.bytes = std::as_bytes(std::span(values));
  const auto image = draw_contact_sheet(contents);
  ASSERT_TRUE(image.ok());
  const SheetLayout layout = layout_sheet(2, 1, 1, 0);
  EXPECT_EQ(middle(*image, layout, 0), 77);  // One deviation of 2.5 below the middle.
  EXPECT_EQ(middle(*image, layout, 1), 179);
}

TEST(ContactSheet, DrawsLatentsInTheirColours) {
  const std::array<float, 4> values{1, -1, 0, 4};  // Of two samples, two channels each.
  SheetContents contents;
  contents.spec = {"samples", DType::kF32, {2, 2, 1, 1}};
  contents.bytes = std::as_bytes(std::span(values));
  contents.colours = {0.5, 0, 0, 0.25, 0, 0, 0.125, 1, 1};
  const auto image = draw_contact_sheet(contents);
  ASSERT_TRUE(image.ok());
  const SheetLayout layout = layout_sheet(2, 1, 1, 0);
  EXPECT_EQ(middle(*image, layout, 0), 159);  // 0.5 + 0.25 - 0.125
  EXPECT_EQ(middle(*image, layout, 1), 255);  // 0.5 + 4 * 0.125
}

TEST(ContactSheet, ReadsHalfPrecisionAndSurvivesWhatIsNoNumber) {
  const std::array<std::uint16_t, 3> halves{0x3C00, 0xBC00, 0x7E00};  // 1, -1, NaN
  SheetContents contents;
  contents.spec = {"samples", DType::kF16, {3, 1, 1, 1}};
  contents.bytes = std::as_bytes(std::span(halves));
  contents.pixel_min = -1;
  contents.pixel_max = 1;
  const auto image = draw_contact_sheet(contents);
  ASSERT_TRUE(image.ok());
  const SheetLayout layout = layout_sheet(3, 1, 1, 0);
  EXPECT_EQ(middle(*image, layout, 0), 255);
  EXPECT_EQ(middle(*image, layout, 1), 0);
  EXPECT_EQ(middle(*image, layout, 2), 128);
}

TEST(ContactSheet, RefusesOtherShapes) {
  SheetContents contents;
  contents.spec = {"output", DType::kF32, {4, 3}};
  EXPECT_FALSE(draw_contact_sheet(contents).ok());
  contents.spec = {"samples", DType::kI64, {1, 1, 1, 1}};
  EXPECT_FALSE(draw_contact_sheet(contents).ok());
  contents.spec = {"samples", DType::kF32, {1, 1, 1, 1}};
  EXPECT_FALSE(draw_contact_sheet(contents).ok());
}

TEST(Png, HasItsSignatureAndNoLeftovers) {
  const std::string path = ::testing::TempDir() + "/pa_picture.png";
  Image image{2, 1, {255, 0, 0, 0, 0, 255}};
  ASSERT_TRUE(write_png(path, image).ok());
  std::ifstream file(path, std::ios::binary);
  std::string head(4, '\0');
  file.read(head.data(), 4);
  EXPECT_EQ(head, "\x89PNG");
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
  std::filesystem::remove(path);
  const Status nowhere = write_png("/nowhere/x.png", image);
  ASSERT_FALSE(nowhere.ok());
  EXPECT_EQ(nowhere.error().message,
            "/nowhere/x.png: cannot be written: No such file or directory");
}

}  // namespace
}  // namespace pa::cli
