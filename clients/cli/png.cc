#include "clients/cli/png.h"

#include <png.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

namespace pa::cli {

Status write_png(const std::string& path, const Image& image) {
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  header.width = static_cast<png_uint_32>(image.width);
  header.height = static_cast<png_uint_32>(image.height);
  header.format = PNG_FORMAT_RGB;

  const std::string part = path + ".part";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(part.c_str(), "wb"),
                                                             std::fclose);
  if (!file) return internal(path + ": cannot be written: " + std::strerror(errno));
  bool written =
      png_image_write_to_stdio(&header, file.get(), 0, image.rgb.data(), 0, nullptr) != 0;
  written = std::fflush(file.get()) == 0 && written;
  std::error_code error;
  if (written) std::filesystem::rename(part, path, error);
  if (written && !error) return {};
  const std::string reason = error                       ? error.message()
                             : header.message[0] != '\0' ? header.message
                                                         : std::strerror(errno);
  std::filesystem::remove(part, error);
  return internal(path + ": cannot be written: " + reason);
}

}  // namespace pa::cli
