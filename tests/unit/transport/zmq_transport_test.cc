#include "shared/io/zmq_transport.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

#include "shared/io/loop.h"
#include "tests/support/temporary_folder.h"

namespace pa {
namespace {

class ZmqTransportTest : public ::testing::Test {
 protected:
  static std::string refusal(const Endpoints& endpoints) {
    const auto server = ZmqServer::bind(endpoints);
    return server.ok() ? "" : server.error().message;
  }

  static bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  const test::TemporaryFolder temporary_;
  const std::string base_ = temporary_.path();
};

TEST_F(ZmqTransportTest, RefusesTcpAndSaysWhy) {
  Endpoints endpoints = ipc_endpoints(base_);
  endpoints.data = "tcp://127.0.0.1:5555";
  EXPECT_TRUE(contains(refusal(endpoints), "CURVE")) << refusal(endpoints);
  EXPECT_TRUE(contains(refusal(endpoints), "tcp://127.0.0.1:5555"));
  const auto client = ZmqClient::connect(ZmqContext(), "tcp://127.0.0.1:5555", Channel::kClient);
  ASSERT_FALSE(client.ok());
  EXPECT_TRUE(contains(client.error().message, "CURVE"));
}

TEST_F(ZmqTransportTest, RefusesSocketsInSeveralDirectories) {
  Endpoints endpoints = ipc_endpoints(base_ + "/a");
  endpoints.control = ipc_endpoints(base_ + "/b").control;
  EXPECT_TRUE(contains(refusal(endpoints), "one directory"));
}

TEST_F(ZmqTransportTest, ASecondServerInTheDirectoryIsRefused) {
  const Endpoints endpoints = ipc_endpoints(base_ + "/run");
  {
    const auto first = ZmqServer::bind(endpoints);
    ASSERT_TRUE(first.ok()) << first.error().message;
    const auto second = ZmqServer::bind(endpoints);
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.error().code, Code::kUnavailable);
    EXPECT_TRUE(contains(second.error().message, base_ + "/run"));
    EXPECT_TRUE(contains(second.error().message, std::to_string(::getpid())));
  }
  EXPECT_EQ(refusal(endpoints), "") << "the next one may begin when the first has ended";
}

TEST_F(ZmqTransportTest, AClientMayStartBeforeTheServer) {
  const Endpoints endpoints = ipc_endpoints(base_ + "/later");
  auto client = ZmqClient::connect(ZmqContext(), endpoints.client, Channel::kClient);
  ASSERT_TRUE(client.ok());
  const Status early = (*client)->send(StatusQuery{1}, {});
  ASSERT_FALSE(early.ok());
  EXPECT_EQ(early.error().code, Code::kOverloaded);
  EXPECT_TRUE(contains(early.error().message, base_ + "/later"));

  auto server = ZmqServer::bind(endpoints);
  ASSERT_TRUE(server.ok());
  Loop loop;
  loop.watch(**server);
  loop.watch(**client);
  const TimePoint end = loop.now() + std::chrono::seconds{10};
  bool came = false;
  while (!came && loop.now() < end) {
    (void)(*client)->send(StatusQuery{2}, {}).ok();
    loop.wait(loop.now() + std::chrono::milliseconds{1});
    came = (*server)->receive().has_value();
  }
  EXPECT_TRUE(came);
}

TEST_F(ZmqTransportTest, AClientRefusesADirectoryThatOthersMayEnter) {
  ASSERT_EQ(::chmod(base_.c_str(), 0755), 0);
  const auto client =
      ZmqClient::connect(ZmqContext(), ipc_endpoints(base_).client, Channel::kClient);
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.error().code, Code::kInvalid);
}

}  // namespace
}  // namespace pa
