#pragma once

#include <string>

/// Where tests find the repository's files. In a library, so that no test's own code depends on
/// where the repository lies, and compiler caches hit in any clone.
namespace pa::test {

/// A file or folder of the repository, by its path from the root.
std::string source_path(const std::string& path);

/// A file or folder in tests/fixtures.
std::string fixture_path(const std::string& name);

}  // namespace pa::test
