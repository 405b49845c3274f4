#pragma once

#include <string_view>

#include "clients/cli/png.h"

namespace pa::cli {

struct Colour {
  std::uint8_t red = 0, green = 0, blue = 0;
};

/// Pixels of one character with the gap after it, before enlarging.
inline constexpr int kGlyphWidth = 6;
inline constexpr int kGlyphHeight = 8;

/// Draws `text` with its upper left corner at (x, y), every pixel of the font `scale` pixels wide.
/// ASCII; other characters are boxes. What lies outside of the image is cut off.
void draw_text(Image& image, int x, int y, int scale, Colour colour, std::string_view text);

/// Fills a rectangle, as far as it lies in the image.
void fill(Image& image, int x, int y, int width, int height, Colour colour);

}  // namespace pa::cli
