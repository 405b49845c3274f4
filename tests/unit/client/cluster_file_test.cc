#include "clients/cli/cluster_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace pa::cli {
namespace {

using ::testing::HasSubstr;

class ClusterFileTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(state_); }
  void TearDown() override { std::filesystem::remove_all(state_); }

  const std::string state_ = ::testing::TempDir() + "/pa_cluster_file_test";
};

TEST_F(ClusterFileTest, ComesBackAndIsItsOwnersAlone) {
  ClusterFile cluster;
  cluster.client = "ipc:///s/client.sock";
  cluster.pid = 10;
  cluster.coordinator = {"", "", 11, "http://127.0.0.1:1/metrics", "/s/coordinator.log"};
  cluster.workers = {{"a", "cpu", 12, "http://127.0.0.1:2/metrics", "/s/worker-a.log"}};
  ASSERT_TRUE(write_cluster_file(state_, cluster).ok());
  struct stat status {};
  ASSERT_EQ(::stat((state_ + "/cluster.json").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  const auto again = read_cluster_file(state_);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->client, cluster.client);
  EXPECT_EQ(again->coordinator.pid, 11);
  ASSERT_EQ(again->workers.size(), 1U);
  EXPECT_EQ(again->workers[0].metrics, "http://127.0.0.1:2/metrics");
  EXPECT_EQ(*find_endpoint({.state = state_}), cluster.client);
  EXPECT_EQ(*find_endpoint({.connect = "ipc:///other", .state = state_}), "ipc:///other");
}

TEST_F(ClusterFileTest, WithoutAClusterItSaysHowToGetOne) {
  const auto endpoint = find_endpoint({.state = state_});
  ASSERT_FALSE(endpoint.ok());
  EXPECT_EQ(endpoint.error().code, Code::kUnavailable);
  EXPECT_THAT(endpoint.error().message, HasSubstr("pa up"));
}

TEST_F(ClusterFileTest, ABrokenFileIsAnError) {
  std::ofstream(state_ + "/cluster.json") << "{\"client\": 3}";
  EXPECT_EQ(read_cluster_file(state_).error().code, Code::kInternal);
}

TEST(StateDirectory, IsAbsolute) {
  EXPECT_EQ(state_directory({.state = "/a/b/"}), "/a/b");
  EXPECT_TRUE(state_directory({.state = "relative"}).starts_with("/"));
  EXPECT_TRUE(state_directory({}).starts_with("/"));
}

}  // namespace
}  // namespace pa::cli
