#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "shared/sampling/catalogue.h"
#include "tests/support/paths.h"

namespace pa {
namespace {

/// docs/numerics.md, table of samplers: name -> its row.
std::map<std::string, std::string> documented_samplers() {
  std::ifstream file(test::source_path("docs/numerics.md"));
  std::map<std::string, std::string> rows;
  const std::regex name("`([a-z0-9_]+)`");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| `")) continue;
    const std::string first = line.substr(0, line.find('|', 1));
    for (auto it = std::sregex_iterator(first.begin(), first.end(), name);
         it != std::sregex_iterator(); ++it) {
      rows[(*it)[1]] = line;
    }
  }
  return rows;
}

TEST(SamplerDocs, HasEverySamplerWithEveryOption) {
  const std::map<std::string, std::string> rows = documented_samplers();
  for (const SamplerRule& rule : catalogue()) {
    if (rule.name.ends_with("_gpu")) continue;
    const auto row = rows.find(rule.name);
    ASSERT_NE(row, rows.end()) << rule.name;
    for (const OptionRule& option : rule.options) {
      const bool churns =
          option.name.starts_with("s_") && row->second.find("churn") != std::string::npos;
      const bool as_other = row->second.find("as sa_solver") != std::string::npos;
      EXPECT_TRUE(churns || as_other || row->second.find(option.name) != std::string::npos)
          << rule.name << " " << option.name;
    }
  }
}

}  // namespace
}  // namespace pa
