#include "tests/support/sim_network.h"

#include <gtest/gtest.h>

namespace pa {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

std::vector<std::uint64_t> drain(ServerTransport& server) {
  std::vector<std::uint64_t> tags;
  while (const std::optional<Incoming> came = server.receive()) {
    tags.push_back(std::get<StatusQuery>(came->message).tag);
  }
  return tags;
}

/// What a server hears of 1000 messages, one each 10 µs.
std::vector<std::uint64_t> heard(std::uint64_t seed, const SimNetworkOptions& options) {
  SimNetwork network(seed, options);
  const auto client = network.connect(Channel::kClient);
  TimePoint now;
  std::vector<std::uint64_t> tags;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    EXPECT_TRUE(client->send(StatusQuery{i}, {}).ok());
    network.advance_to(now += microseconds{10});
    for (const std::uint64_t tag : drain(network.server())) tags.push_back(tag);
  }
  network.advance_to(now + milliseconds{100});
  for (const std::uint64_t tag : drain(network.server())) tags.push_back(tag);
  return tags;
}

TEST(SimNetworkTest, DeliversAfterTheLatency) {
  SimNetwork network(1, {.latency = milliseconds{2}});
  const auto client = network.connect(Channel::kClient);
  EXPECT_EQ(network.next_event(), std::nullopt);
  ASSERT_TRUE(client->send(StatusQuery{1}, {}).ok());
  EXPECT_EQ(network.next_event(), TimePoint{} + milliseconds{2});
  network.advance_to(TimePoint{} + milliseconds{2} - microseconds{1});
  EXPECT_FALSE(network.server().receive());
  EXPECT_EQ(network.peer_of(*client), std::nullopt);
  network.advance_to(TimePoint{} + milliseconds{2});
  const std::optional<Incoming> came = network.server().receive();
  ASSERT_TRUE(came);
  EXPECT_EQ(network.peer_of(*client), came->peer);
}

TEST(SimNetworkTest, LosesDoublesAndReordersOnlyWhenTold) {
  const std::vector<std::uint64_t> good = heard(1, {.jitter = milliseconds{1}});
  EXPECT_EQ(good.size(), 1000U);
  EXPECT_TRUE(std::is_sorted(good.begin(), good.end()));
  const std::size_t lossy = heard(1, {.loss = 0.2}).size();
  EXPECT_GT(lossy, 700U);
  EXPECT_LT(lossy, 900U);
  const std::size_t doubled = heard(1, {.doubling = 0.2}).size();
  EXPECT_GT(doubled, 1100U);
  EXPECT_LT(doubled, 1300U);
  const std::vector<std::uint64_t> shuffled =
      heard(1, {.jitter = milliseconds{1}, .reordering = true});
  EXPECT_EQ(shuffled.size(), 1000U);
  EXPECT_FALSE(std::is_sorted(shuffled.begin(), shuffled.end()));
}

TEST(SimNetworkTest, AnEqualSeedGivesAnEqualRun) {
  const SimNetworkOptions options{
      .jitter = milliseconds{1}, .loss = 0.1, .doubling = 0.1, .reordering = true};
  EXPECT_EQ(heard(5, options), heard(5, options));
  EXPECT_NE(heard(5, options), heard(6, options));
}

TEST(SimNetworkTest, ACutLinkSwallowsBothWays) {
  SimNetwork network(1);
  const auto client = network.connect(Channel::kClient);
  TimePoint now;
  const auto pass = [&] { network.advance_to(now += milliseconds{1}); };
  ASSERT_TRUE(client->send(StatusQuery{1}, {}).ok());
  pass();
  const PeerId peer = network.server().receive()->peer;
  ASSERT_TRUE(client->send(StatusQuery{2}, {}).ok());  // Under way when the link is cut.
  network.cut(*client, true);
  ASSERT_TRUE(client->send(StatusQuery{3}, {}).ok());
  ASSERT_TRUE(network.server().send(peer, StatusQuery{4}, {}).ok());
  pass();
  EXPECT_FALSE(network.server().receive());
  EXPECT_FALSE(client->receive());
  network.cut(*client, false);
  ASSERT_TRUE(client->send(StatusQuery{5}, {}).ok());
  pass();
  EXPECT_EQ(drain(network.server()), std::vector<std::uint64_t>{5});
  EXPECT_EQ(network.peer_of(*client), peer);
}

TEST(SimNetworkTest, ARestartedServerMeetsEverybodyAnew) {
  SimNetwork network(1);
  const auto client = network.connect(Channel::kClient);
  TimePoint now;
  const auto pass = [&] { network.advance_to(now += milliseconds{1}); };
  ASSERT_TRUE(client->send(StatusQuery{1}, {}).ok());
  pass();
  const PeerId before = network.server().receive()->peer;
  ASSERT_TRUE(client->send(StatusQuery{2}, {}).ok());
  network.restart_server();
  pass();
  EXPECT_FALSE(network.server().receive()) << "what was under way is lost";
  EXPECT_FALSE(network.server().send(before, StatusQuery{}, {}).ok());
  ASSERT_TRUE(client->send(StatusQuery{3}, {}).ok());
  pass();
  EXPECT_NE(network.server().receive()->peer, before);
}

TEST(SimNetworkTest, BytesTakeTime) {
  SimNetwork network(1, {.latency = {}, .bytes_per_second = 1e6});
  const auto client = network.connect(Channel::kClient);
  const Buffer payload(
      std::shared_ptr<std::byte>(new std::byte[10000], std::default_delete<std::byte[]>()), 10000);
  ASSERT_TRUE(client->send(Put{}, payload).ok());
  ASSERT_TRUE(client->send(Put{}, payload).ok());
  network.advance_to(TimePoint{} + milliseconds{15});
  EXPECT_TRUE(network.server().receive());
  EXPECT_FALSE(network.server().receive());
  network.advance_to(TimePoint{} + milliseconds{25});
  EXPECT_TRUE(network.server().receive());
}

}  // namespace
}  // namespace pa
