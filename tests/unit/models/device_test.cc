#include "worker/models/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pa {
namespace {

using ::testing::HasSubstr;

TEST(Device, IsReadAndWritten) {
  EXPECT_EQ(to_string(parse_device("cpu").value()), "cpu");
  EXPECT_EQ(to_string(parse_device("cuda").value()), "cuda:0");
  EXPECT_EQ(parse_device("cuda:3").value(), (Device{"cuda", 3}));
  EXPECT_EQ(to_string(parse_device("xpu:1").value()), "xpu:1");
  for (const char* text : {"", "gpu", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "mps:1"}) {
    const Result<Device> device = parse_device(text);
    ASSERT_FALSE(device.ok()) << text;
    EXPECT_THAT(device.error().message, HasSubstr("expected cpu, cuda:0"));
  }
}

TEST(Device, TellsWhatTheCpuIs) {
  EXPECT_FALSE(device_name({}).empty());
  EXPECT_GT(free_memory_bytes({}), 1 << 20);
  EXPECT_THAT(numerics_id({}), HasSubstr(device_name({})));
  EXPECT_THAT(numerics_id({}), HasSubstr("LibTorch 2."));
  EXPECT_THAT(numerics_id({}), HasSubstr("threads"));
}

TEST(Device, SaysWhyItCannotBeUsed) {
  EXPECT_TRUE(start_device({}, 1).ok());
  const Status status = start_device({"cuda", 100}, 1);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::kUnavailable);
  EXPECT_THAT(status.error().message,
              ::testing::AnyOf(HasSubstr("deploy/fetch_libtorch.sh --cuda"),
                               HasSubstr("device cuda:100 cannot be used")));
  EXPECT_EQ(start_device({"xpu", 0}, 1).error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace pa
