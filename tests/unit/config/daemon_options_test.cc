#include "shared/io/daemon_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shared/core/version.h"

namespace pa {
namespace {

using ::testing::HasSubstr;

std::variant<DaemonOptions, int> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "pa-example");
  return parse_daemon_options(static_cast<int>(arguments.size()), arguments.data(), "pa-example",
                              "An example.");
}

TEST(DaemonOptions, ReadFileAndOverridesInOrder) {
  const auto parsed = parse({"--config", "f.yaml", "--set", "a.b=1", "--set", "c=x=y", "--set=d="});
  const auto* options = std::get_if<DaemonOptions>(&parsed);
  ASSERT_NE(options, nullptr);
  EXPECT_EQ(options->config_file, "f.yaml");
  EXPECT_FALSE(options->check_config);
  EXPECT_THAT(options->overrides,
              testing::ElementsAre(testing::Pair("a.b", "1"), testing::Pair("c", "x=y"),
                                   testing::Pair("d", "")));
}

TEST(DaemonOptions, EndTheProgramAfterHelpAndVersion) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(std::get<int>(parse({"--version"})), 0);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "pa-example " + std::string(version()) + "\n");
  testing::internal::CaptureStdout();
  EXPECT_EQ(std::get<int>(parse({"--help"})), 0);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("--check-config"));
}

TEST(DaemonOptions, AreRefusedWithStatus2AndWords) {
  for (const std::vector<const char*>& wrong : {std::vector<const char*>{"--confg", "f"},
                                                {"extra"},
                                                {"--set", "novalue"},
                                                {"--set", "=1"},
                                                {"--config"}}) {
    testing::internal::CaptureStderr();
    EXPECT_EQ(std::get<int>(parse(wrong)), 2);
    EXPECT_NE(testing::internal::GetCapturedStderr(), "");
  }
}

TEST(ConfigCheck, SaysOkOrTheErrors) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(report_config_check({.config_file = "f.yaml"}, ""), 0);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "f.yaml: ok\n");
  testing::internal::CaptureStderr();
  EXPECT_EQ(report_config_check({.config_file = "f.yaml"}, "f.yaml:1:1: no"), 2);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "f.yaml:1:1: no\n");
}

}  // namespace
}  // namespace pa
