#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shared/core/result.h"

namespace pa::cli {

/// An RGB picture, 8 bits a channel, row by row from the top.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;  ///< width * height * 3.
};

/// Writes `image` as PNG, under another name first and then renamed, so that `path` is never half a
/// picture.
///
/// Errors: kInternal, the file system's or libpng's words.
[[nodiscard]] Status write_png(const std::string& path, const Image& image);

}  // namespace pa::cli
