#include "shared/core/units.h"

#include <gtest/gtest.h>

namespace pa {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

TEST(Duration, ReadsEveryUnit) {
  EXPECT_EQ(parse_duration("7ns"), nanoseconds{7});
  EXPECT_EQ(parse_duration("7us"), nanoseconds{7'000});
  EXPECT_EQ(parse_duration("500ms"), milliseconds{500});
  EXPECT_EQ(parse_duration("1.5s"), milliseconds{1500});
  EXPECT_EQ(parse_duration("10m"), minutes{10});
  EXPECT_EQ(parse_duration("0.5h"), minutes{30});
  EXPECT_EQ(parse_duration("2d"), hours{48});
  EXPECT_EQ(parse_duration("0s"), seconds{0});
}

TEST(Duration, RoundsToTheNanosecond) { EXPECT_EQ(parse_duration("1.6ns"), nanoseconds{2}); }

TEST(Duration, RefusesWhatIsNone) {
  for (const char* text : {"", "5", "s", "ms5", "-5ms", "+5ms", "5 ms", "5msec", "1e3s", "1.2.3s",
                           "infs", "nans", "0x10s", ".s", "99999999999999999999s", "40000d"}) {
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
  }
}

TEST(Duration, WritesTheShortestTextThatReadsBack) {
  EXPECT_EQ(format_duration(seconds{0}), "0s");
  EXPECT_EQ(format_duration(milliseconds{1500}), "1500ms");
  EXPECT_EQ(format_duration(seconds{600}), "10m");
  EXPECT_EQ(format_duration(hours{24}), "1d");
  EXPECT_EQ(format_duration(nanoseconds{1'000'000'001}), "1000000001ns");
}

TEST(Bytes, ReadsEveryUnit) {
  EXPECT_EQ(parse_bytes("0B"), 0u);
  EXPECT_EQ(parse_bytes("512B"), 512u);
  EXPECT_EQ(parse_bytes("64KiB"), 65536u);
  EXPECT_EQ(parse_bytes("8MiB"), 8u << 20);
  EXPECT_EQ(parse_bytes("1.5GiB"), 3ull << 29);
  EXPECT_EQ(parse_bytes("1TiB"), 1ull << 40);
  EXPECT_EQ(parse_bytes("4kB"), 4000u);
  EXPECT_EQ(parse_bytes("2MB"), 2'000'000u);
}

TEST(Bytes, RefusesWhatIsNone) {
  for (const char* text : {"", "8", "MiB", "8 MiB", "8mib", "8M", "-1B", "0.3B", "0.0001KiB",
                           "9000000TiB", "99999999999999999999B"}) {
    EXPECT_EQ(parse_bytes(text), std::nullopt) << text;
  }
}

TEST(Bytes, WritesTheShortestTextThatReadsBack) {
  EXPECT_EQ(format_bytes(0), "0B");
  EXPECT_EQ(format_bytes(1500), "1500B");
  EXPECT_EQ(format_bytes(8u << 20), "8MiB");
  EXPECT_EQ(format_bytes(3ull << 40), "3TiB");
}

TEST(Number, IsPlainIfWholeAndShortOtherwise) {
  EXPECT_EQ(format_number(1e6), "1000000");
  EXPECT_EQ(format_number(-3), "-3");
  EXPECT_EQ(format_number(0.1), "0.1");
  EXPECT_EQ(format_number(1e300), "1e+300");
}

}  // namespace
}  // namespace pa
