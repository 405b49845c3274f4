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

TEST(Endpoints, OfTcpAreThreePortsInARow) {
  const auto named = tcp_endpoints("tcp://box1:7000");
  ASSERT_TRUE(named.ok());
  EXPECT_EQ(named->client, "tcp://box1:7000");
  EXPECT_EQ(named->control, "tcp://box1:7001");
  EXPECT_EQ(named->data, "tcp://box1:7002");
  EXPECT_EQ(tcp_endpoints("tcp://10.0.0.1")->client, "tcp://10.0.0.1:9460");
  EXPECT_EQ(tcp_endpoints("tcp://[::1]:5000")->data, "tcp://[::1]:5002");
  for (const char* address : {"", "tcp://", "tcp://:1", "tcp://*:1", "tcp://a:0", "tcp://a:65534",
                              "tcp://a:1x", "tcp://a;b:1", "ipc:///a", "tcp://[::1]5"}) {
    EXPECT_FALSE(tcp_endpoints(address).ok()) << address;
  }
}

TEST(Endpoints, ToListenAtAreExplicit) {
  EXPECT_TRUE(check_listen_address("tcp://192.168.1.10:9460").ok());
  EXPECT_TRUE(check_listen_address("tcp://[::1]").ok());
  for (const char* address : {"tcp://box1:9460", "tcp://eth0:9460", "tcp://*:9460"}) {
    EXPECT_FALSE(check_listen_address(address).ok()) << address;
  }
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
