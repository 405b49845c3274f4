#include "shared/io/endpoints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shared/io/cores.h"

namespace pa {
namespace {

using ::testing::HasSubstr;

TEST(Endpoints, LieInTheRunDirectory) {
  const Endpoints endpoints = ipc_endpoints("/run/pa");
  EXPECT_EQ(endpoints.client, "ipc:///run/pa/client.sock");
  EXPECT_EQ(endpoints.control, "ipc:///run/pa/control.sock");
  EXPECT_EQ(endpoints.data, "ipc:///run/pa/data.sock");
  EXPECT_TRUE(check_endpoint(endpoints.client).ok());
}

TEST(Endpoints, FitASocketAddress) {
  EXPECT_TRUE(check_endpoint("ipc:///" + std::string(106, 'a')).ok());
  EXPECT_THAT(check_endpoint("ipc:///" + std::string(107, 'a')).error().message,
              HasSubstr("at most 107 bytes; this one has 108"));
}

TEST(Endpoints, AreNeitherRelativeNorUnencrypted) {
  for (const char* endpoint : {"", "ipc://", "ipc://pa.sock", "/run/pa", "inproc://x"}) {
    EXPECT_THAT(check_endpoint(endpoint).error().message, HasSubstr("expected ipc:///PATH"));
  }
  EXPECT_THAT(check_endpoint("tcp://127.0.0.1:1").error().message, HasSubstr("CURVE keys"));
}

TEST(IpAddress, IsInNumbers) {
  for (const char* address : {"127.0.0.1", "0.0.0.0", "::1", "::"}) {
    EXPECT_TRUE(check_ip_address(address).ok()) << address;
  }
  for (const char* address : {"", "localhost", "127.0.0.1:80", "1.2.3", "[::1]"}) {
    EXPECT_FALSE(check_ip_address(address).ok()) << address;
  }
}

TEST(Cores, AreAtLeastOne) { EXPECT_GE(usable_cores(), 1); }

}  // namespace
}  // namespace pa
