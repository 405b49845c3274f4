#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "clients/cli/png.h"
#include "shared/core/result.h"
#include "shared/core/tensor_spec.h"

namespace pa::cli {

/// What to draw of a batch, and how.
struct SheetContents {
  TensorSpec spec;  ///< [N, C, H, W]: F32, F16 or BF16.
  std::span<const std::byte> bytes;
  /// If pixel_max > pixel_min the samples are pixels in this range: grey (C = 1) or red, green, blue
  /// (C = 3). Otherwise they are latents, and without `colours` what is drawn is the mean of their channels, spread over
  /// black to white by the batch's own mean and deviation: composition and contours, not colours.
  double pixel_min = 0;
  double pixel_max = 0;
  /// As ModelInfo::colours: latents are drawn by them, if there are three for each channel and for zeros.
  std::vector<double> colours;
  std::vector<std::string> captions;  ///< Under each sample; may be fewer.
  std::vector<int> groups;            ///< Who made each sample, as a place in `legend`; -1: nobody.
  std::vector<std::string> legend;    ///< Below it all, each with the colour of its group.
};

/// Where things are on a sheet, in pixels.
struct SheetLayout {
  int columns = 0, rows = 0;
  int scale = 1;  ///< A sample's pixel is scale x scale; whole, so that nothing is blurred.
  int skip = 1;   ///< Or, of a large sample, every skip-th pixel is drawn.
  int picture_width = 0, picture_height = 0;
  int cell_width = 0, cell_height = 0;  ///< With caption and gap.
  int width = 0, height = 0;
};

/// At most so many samples are drawn, the first ones.
inline constexpr int kMaxCells = 256;

/// Lays out `count` samples of `height` x `width` in a grid that is wider than high and has few empty
/// places; a sample's longer side becomes about 96 pixels, or stays as it is up to 512.
[[nodiscard]] SheetLayout layout_sheet(int count, std::int64_t height, std::int64_t width,
                                       int legend_lines);

/// Draws the sheet. Errors: kInvalid if the samples have another shape or dtype than above.
[[nodiscard]] Result<Image> draw_contact_sheet(const SheetContents& contents);

}  // namespace pa::cli
