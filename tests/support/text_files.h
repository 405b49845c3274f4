#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "tests/support/paths.h"

/// Files of text in tests: temporary ones, and committed ones that the code could write itself.
namespace pa::test {

/// A file that is there while this is.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string_view text) {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("pa_test." + std::to_string(::getpid()) + "." + std::to_string(count++));
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  [[nodiscard]] std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

/// Expects that the repository's file at `path` is `text`. With PA_UPDATE_FILES set in the
/// environment, writes it instead.
inline void expect_committed(const std::string& path, const std::string& text) {
  const std::filesystem::path file = source_path(path);
  if (std::getenv("PA_UPDATE_FILES") != nullptr) std::ofstream(file, std::ios::binary) << text;
  EXPECT_EQ(read_file(file), text) << "run this test with PA_UPDATE_FILES=1 to write " << path;
}

}  // namespace pa::test
