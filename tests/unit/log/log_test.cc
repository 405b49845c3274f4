#include "shared/io/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

namespace pa {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A logger on a clock that the test moves, whose lines it keeps.
struct LogTest : ::testing::Test {
  std::vector<std::string> lines;
  std::chrono::system_clock::time_point now{seconds{1'767'355'201} + milliseconds{123}};
  Logger logger{
      {}, [this] { return now; }, [this](std::string_view line) { lines.emplace_back(line); }};
};

TEST_F(LogTest, WritesTextForPeople) {
  logger.write(LogLevel::kInfo, "worker.joined", {{"worker", "a"}, {"device", "cpu"}});
  EXPECT_THAT(lines, ElementsAre("12:00:01.123 info worker.joined worker=a device=cpu"));
}

TEST_F(LogTest, WritesJsonForMachines) {
  logger.configure({.format = LogFormat::kJson});
  logger.write(LogLevel::kWarning, "worker.lost",
               {{"worker", "a"}, {"samples", 3}, {"seconds", 0.5}, {"last", true}});
  EXPECT_THAT(lines, ElementsAre("{\"ts\":\"2026-01-02T12:00:01.123Z\",\"level\":\"warning\","
                                 "\"event\":\"worker.lost\",\"worker\":\"a\",\"samples\":3,"
                                 "\"seconds\":0.5,\"last\":true}"));
}

TEST_F(LogTest, WritesEveryKindOfNumber) {
  logger.write(LogLevel::kInfo, "numbers",
               {{"low", std::int64_t{INT64_MIN}},
                {"high", std::uint64_t{UINT64_MAX}},
                {"tenth", 0.1},
                {"size", std::size_t{7}},
                {"short", short{-1}},
                {"nan", std::nan("")},
                {"inf", -HUGE_VAL}});
  EXPECT_THAT(lines[0], HasSubstr("low=-9223372036854775808 high=18446744073709551615 tenth=0.1 "
                                  "size=7 short=-1 nan=nan inf=-inf"));
}

TEST_F(LogTest, JsonOfAnyTextIsValid) {
  logger.configure({.format = LogFormat::kJson});
  for (int byte = 0; byte < 256; ++byte) {
    now += seconds{2};
    const std::string text = std::string("a") + static_cast<char>(byte) + "b\"\\";
    logger.write(LogLevel::kInfo, "any", {{"text", text}});
    const json line = json::parse(lines.back());
    const std::string expected =
        byte < 0x80 ? text : "a\uFFFDb\"\\";  // Alone, such a byte is no UTF-8.
    EXPECT_EQ(line["text"].get<std::string>(), expected) << byte;
  }
}

TEST_F(LogTest, JsonTakesNumbersThatItDoesNotHaveAsText) {
  logger.configure({.format = LogFormat::kJson});
  logger.write(LogLevel::kInfo, "odd", {{"x", std::nan("")}});
  EXPECT_EQ(json::parse(lines[0])["x"], "nan");
}

TEST_F(LogTest, TextStaysOnOneLineAndCanBeTakenApart) {
  logger.write(LogLevel::kInfo, "e",
               {{"a", "two words"},
                {"b", "line\nbreak"},
                {"c", "x=y"},
                {"d", ""},
                {"e", "q\"q"},
                {"f", "\x1b[2J"},
                {"g", "caf\u00e9"}});
  EXPECT_THAT(lines[0], HasSubstr("a=\"two words\" b=\"line\\nbreak\" c=\"x=y\" d=\"\" "
                                  "e=\"q\\\"q\" f=\"\\u001b[2J\" g=caf\u00e9"));
}

TEST_F(LogTest, CutsLongValuesBetweenCharacters) {
  std::string text(kLogValueBytes - 1, 'a');
  text += "\u00e9\u00e9";
  logger.write(LogLevel::kInfo, "long", {{"text", text}});
  EXPECT_THAT(lines[0], testing::EndsWith("a..."));
  EXPECT_LT(lines[0].size(), kLogValueBytes + 100);
}

TEST_F(LogTest, LeavesOutWhatIsBelowItsLevel) {
  logger.write(LogLevel::kDebug, "a", {});
  EXPECT_TRUE(lines.empty());
  logger.configure({.level = LogLevel::kDebug});
  logger.write(LogLevel::kDebug, "a", {});
  EXPECT_EQ(lines.size(), 1u);
}

TEST_F(LogTest, LimitsAnEventAndCountsTheRest) {
  for (int i = 0; i < 25; ++i) logger.write(LogLevel::kInfo, "noisy", {{"i", i}});
  ASSERT_EQ(lines.size(), 10u);
  EXPECT_THAT(lines[8], testing::Not(HasSubstr("limited")));
  EXPECT_THAT(lines[9], HasSubstr("i=9 limited=true"));
  logger.write(LogLevel::kInfo, "quiet", {});
  EXPECT_EQ(lines.size(), 11u) << "another event has a limit of its own";

  now += milliseconds{999};
  logger.write(LogLevel::kInfo, "noisy", {});
  EXPECT_EQ(lines.size(), 11u);
  now += milliseconds{1};
  logger.write(LogLevel::kInfo, "noisy", {{"i", 26}});
  EXPECT_THAT(lines.back(), HasSubstr("i=26 suppressed=16"));
  logger.write(LogLevel::kInfo, "noisy", {{"i", 27}});
  EXPECT_THAT(lines.back(), testing::Not(HasSubstr("suppressed")));
}

TEST_F(LogTest, GoesOnWhenTheClockIsSetBack) {
  for (int i = 0; i < 20; ++i) logger.write(LogLevel::kInfo, "noisy", {});
  now -= seconds{3600};
  logger.write(LogLevel::kInfo, "noisy", {});
  EXPECT_EQ(lines.size(), 11u);
}

TEST_F(LogTest, CountsWrittenAndSuppressedByLevel) {
  for (int i = 0; i < 15; ++i) logger.write(LogLevel::kError, "noisy", {});
  logger.write(LogLevel::kWarning, "once", {});
  logger.write(LogLevel::kDebug, "below", {});
  EXPECT_THAT(logger.counts(), ElementsAre(0, 0, 1, 15));
}

TEST(Log, GoesToStandardErrorAsWholeLines) {
  testing::internal::CaptureStderr();
  std::vector<std::thread> threads;
  for (const char* event : {"a.a", "b.b", "c.c"}) {
    threads.emplace_back([event] {
      for (int i = 0; i < 5; ++i) log_error(event, {{"text", std::string(300, 'x')}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::string written = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(written.begin(), written.end(), '\n'), 15);
  EXPECT_EQ(written.size() % 15, 0u) << "lines are equally long, so none is torn";
  EXPECT_EQ(log_counts()[3], 15u);
}

}  // namespace
}  // namespace pa
