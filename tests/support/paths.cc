#include "tests/support/paths.h"

namespace pa::test {

std::string source_path(const std::string& path) { return std::string(PA_SOURCE_DIR "/") + path; }

std::string fixture_path(const std::string& name) { return source_path("tests/fixtures/" + name); }

}  // namespace pa::test
