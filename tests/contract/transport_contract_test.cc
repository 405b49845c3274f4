#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "shared/wire/codec.h"
#include "tests/contract/harness.h"

namespace pa {
namespace {

class TransportContract : public ::testing::TestWithParam<Environment> {
 protected:
  TransportContract() : harness_(GetParam().make()) {}

  /// Sends until it is taken: a connection may still be on its way.
  void send(ClientTransport& client, const Message& message, const Buffer& payload = {}) {
    ASSERT_TRUE(harness_->wait_until([&] { return client.send(message, payload).ok(); }));
  }

  Incoming at_server() {
    std::optional<Incoming> came;
    EXPECT_TRUE(harness_->wait_until([&] { return (came = server().receive()).has_value(); }));
    return came.value_or(Incoming{});
  }

  Incoming at_client(ClientTransport& client) {
    std::optional<Incoming> came;
    EXPECT_TRUE(harness_->wait_until([&] { return (came = client.receive()).has_value(); }));
    return came.value_or(Incoming{});
  }

  /// Makes the client known to the server.
  PeerId meet(ClientTransport& client) {
    send(client, StatusQuery{999});
    const Incoming came = at_server();
    EXPECT_EQ(tag_of(came), 999U);
    return came.peer;
  }

  void pass_some_time() {
    for (int i = 0; i < 100; ++i) harness_->pass_time();
  }

  static std::uint64_t tag_of(const Incoming& incoming) {
    const auto* query = std::get_if<StatusQuery>(&incoming.message);
    return query ? query->tag : 0;
  }

  static Buffer bytes(std::uint64_t size, unsigned salt = 1) {
    auto memory = std::make_shared<std::vector<std::byte>>(size);
    for (std::uint64_t i = 0; i < size; ++i) (*memory)[i] = static_cast<std::byte>(i * salt);
    return {std::shared_ptr<std::byte>(memory, memory->data()), size};
  }

  static void expect_same(const Buffer& a, const Buffer& b) {
    ASSERT_EQ(a.size(), b.size());
    EXPECT_TRUE(std::ranges::equal(a.bytes(), b.bytes()));
  }

  static void expect_error(const Status& status, Code code) {
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, code) << status.error().message;
    EXPECT_FALSE(status.error().message.empty());
  }

  ServerTransport& server() { return harness_->server(); }

  std::unique_ptr<Harness> harness_;
};

TEST_P(TransportContract, CarriesMessagesBothWaysOnEveryChannel) {
  for (const Channel channel : {Channel::kClient, Channel::kWorkerControl, Channel::kWorkerData}) {
    const auto client = harness_->connect(channel);
    send(*client, StatusQuery{7});
    const Incoming question = at_server();
    EXPECT_EQ(question.channel, channel);
    EXPECT_EQ(tag_of(question), 7U);
    EXPECT_TRUE(question.payload.empty());
    ASSERT_TRUE(server().send(question.peer, StatusQuery{8}, {}).ok());
    const Incoming answer = at_client(*client);
    EXPECT_EQ(tag_of(answer), 8U);
    EXPECT_EQ(answer.peer, PeerId{0});
    EXPECT_EQ(answer.channel, channel);
  }
}

TEST_P(TransportContract, KeepsTheOrderOfAConnection) {
  const auto client = harness_->connect(Channel::kWorkerControl);
  const PeerId peer = meet(*client);
  std::uint64_t expected = 1;
  const auto take_all = [&] {
    while (const std::optional<Incoming> came = server().receive()) {
      EXPECT_EQ(came->peer, peer);
      EXPECT_EQ(tag_of(*came), expected++);
    }
  };
  for (std::uint64_t sent = 1; sent <= 500; ++sent) {
    ASSERT_TRUE(harness_->wait_until([&] {
      take_all();
      return client->send(StatusQuery{sent}, {}).ok();
    }));
  }
  EXPECT_TRUE(harness_->wait_until([&] {
    take_all();
    return expected == 501;
  }));
}

TEST_P(TransportContract, TellsClientsApart) {
  const auto first = harness_->connect(Channel::kClient);
  const auto second = harness_->connect(Channel::kClient);
  const PeerId first_peer = meet(*first);
  const PeerId second_peer = meet(*second);
  EXPECT_NE(first_peer, second_peer);
  EXPECT_EQ(meet(*first), first_peer) << "a connection keeps its id";
  ASSERT_TRUE(server().send(second_peer, StatusQuery{2}, {}).ok());
  ASSERT_TRUE(server().send(first_peer, StatusQuery{1}, {}).ok());
  EXPECT_EQ(tag_of(at_client(*first)), 1U);
  EXPECT_EQ(tag_of(at_client(*second)), 2U);
  pass_some_time();
  EXPECT_FALSE(first->receive());
  EXPECT_FALSE(second->receive());
}

TEST_P(TransportContract, AnUnknownPeerIsUnavailable) {
  expect_error(server().send(PeerId{123456}, StatusQuery{1}, {}), Code::kUnavailable);
}

TEST_P(TransportContract, APeerThatEndedBecomesUnavailable) {
  auto client = harness_->connect(Channel::kWorkerData);
  const PeerId peer = meet(*client);
  client.reset();
  EXPECT_TRUE(harness_->wait_until([&] {
    (void)server().receive();  // Only who also reads is told.
    const Status status = server().send(peer, StatusQuery{1}, {});
    return !status.ok() && status.error().code == Code::kUnavailable;
  }));
  expect_error(server().send(peer, StatusQuery{1}, {}), Code::kUnavailable);
}

TEST_P(TransportContract, AReconnectedClientIsANewPeer) {
  const auto client = harness_->connect(Channel::kClient);
  const PeerId before = meet(*client);
  ASSERT_TRUE(client->reconnect().ok());
  const PeerId after = meet(*client);
  EXPECT_NE(before, after);
  ASSERT_TRUE(server().send(after, StatusQuery{5}, {}).ok());
  EXPECT_EQ(tag_of(at_client(*client)), 5U);
}

TEST_P(TransportContract, CarriesPayloadsOfEverySize) {
  const auto client = harness_->connect(Channel::kWorkerData);
  const PeerId peer = meet(*client);
  for (const std::uint64_t size :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{33}, std::uint64_t{8191},
        std::uint64_t{8192}, std::uint64_t{100000}, Harness::kChunkBytes}) {
    const Buffer payload = bytes(size, 3);
    const Put put{{StreamKind::kShardResult, RequestId{1, 2}, ShardId{3}}, 4, 5};
    send(*client, put, payload);
    const Incoming up = at_server();
    ASSERT_TRUE(std::holds_alternative<Put>(up.message));
    EXPECT_EQ(std::get<Put>(up.message).stream, put.stream);
    expect_same(up.payload, payload);
    ASSERT_TRUE(server().send(peer, put, payload).ok());
    expect_same(at_client(*client).payload, payload);
  }
}

TEST_P(TransportContract, APayloadOutlivesTheBufferOfItsSender) {
  const auto client = harness_->connect(Channel::kClient);
  meet(*client);
  Buffer payload = bytes(Harness::kChunkBytes, 5);
  send(*client, Put{}, payload.slice(1000, 500000));
  payload = {};
  expect_same(at_server().payload, bytes(Harness::kChunkBytes, 5).slice(1000, 500000));
}

TEST_P(TransportContract, RefusesToSendWhatExceedsTheLimits) {
  const auto control = harness_->connect(Channel::kWorkerControl);
  const auto data = harness_->connect(Channel::kWorkerData);
  const PeerId control_peer = meet(*control);
  const PeerId data_peer = meet(*data);
  const Buffer large = bytes(Harness::kChunkBytes + 1);
  Refused wordy;
  wordy.error.message = std::string(900'000, 'x');
  EXPECT_TRUE(control->send(wordy, {}).ok());
  EXPECT_TRUE(std::holds_alternative<Refused>(at_server().message));
  wordy.error.message = std::string((1u << 20) + 1, 'x');
  expect_error(data->send(wordy, {}), Code::kInvalid);
  expect_error(control->send(wordy, {}), Code::kInvalid);
  expect_error(server().send(control_peer, wordy, {}), Code::kInvalid);
  expect_error(server().send(data_peer, wordy, {}), Code::kInvalid);
  expect_error(data->send(Put{}, large), Code::kInvalid);
  expect_error(server().send(data_peer, Put{}, large), Code::kInvalid);
  expect_error(control->send(Put{}, bytes(10)), Code::kInvalid);
  expect_error(data->send(StatusQuery{}, bytes(10)), Code::kInvalid);
  pass_some_time();
  EXPECT_FALSE(server().receive());
  EXPECT_EQ(server().rejected(), 0U);
}

TEST_P(TransportContract, CountsAndDropsWhatIsMalformed) {
  const std::string good = encode(StatusQuery{1});
  const std::string put = encode(Put{});
  const std::vector<std::vector<std::string>> malformed{
      {""},
      {"nonsense"},
      {good + "x"},
      {good.substr(0, good.size() - 1)},
      {std::string("\xdd\xff\xff\xff\xff", 5)},
      {good, "a payload that does not belong"},
      {put, "one", "two"},
      {"", good},
      {put, std::string(Harness::kChunkBytes + 1, 'x')},
  };
  std::uint64_t expected = 0;
  for (const std::vector<std::string>& frames : malformed) {
    harness_->inject(Channel::kWorkerData, frames);
    ++expected;
    EXPECT_TRUE(harness_->wait_until([&] {
      EXPECT_FALSE(server().receive());
      return server().rejected() == expected;
    })) << "message "
        << expected;
  }
  harness_->inject(Channel::kWorkerData, {put, "fine"});
  EXPECT_EQ(at_server().payload.size(), 4U);
  harness_->inject(Channel::kWorkerControl, {put, "no payload on control"});
  EXPECT_TRUE(harness_->wait_until([&] {
    EXPECT_FALSE(server().receive());
    return server().rejected() == expected + 1;
  }));
}

TEST_P(TransportContract, AnOversizedFrameReachesNobodyAndOthersGoOn) {
  const auto client = harness_->connect(Channel::kWorkerData);
  const PeerId peer = meet(*client);
  harness_->inject(Channel::kWorkerData,
                   {encode(Put{}), std::string(8 * Harness::kChunkBytes, 'x')});
  for (std::uint64_t i = 1; i <= 20; ++i) {
    send(*client, StatusQuery{i});
    const Incoming came = at_server();
    EXPECT_EQ(came.peer, peer);
    EXPECT_EQ(tag_of(came), i);
  }
  pass_some_time();
  EXPECT_FALSE(server().receive());
}

TEST_P(TransportContract, AFullQueueIsOverloadedAndRecovers) {
  const auto client = harness_->connect(Channel::kWorkerControl);
  const PeerId peer = meet(*client);
  Refused padding;  // So that the kernel's buffers fill soon.
  padding.error.message = std::string(60000, 'x');
  std::uint64_t sent = 0;
  Status last;
  for (; sent < 100000 && last.ok(); sent += last.ok() ? 1 : 0) {
    last = server().send(peer, padding, {});
  }
  expect_error(last, Code::kOverloaded);
  std::uint64_t taken = 0;
  while (taken < sent) {
    at_client(*client);
    ++taken;
  }
  EXPECT_TRUE(harness_->wait_until([&] { return server().send(peer, StatusQuery{3}, {}).ok(); }));
  EXPECT_EQ(tag_of(at_client(*client)), 3U);
}

TEST_P(TransportContract, AClientsFullQueueIsOverloadedAndRecovers) {
  const auto client = harness_->connect(Channel::kWorkerControl);
  meet(*client);
  Refused padding;
  padding.error.message = std::string(60000, 'x');
  std::uint64_t sent = 0;
  Status last;
  for (; sent < 100000 && last.ok(); sent += last.ok() ? 1 : 0) last = client->send(padding, {});
  expect_error(last, Code::kOverloaded);
  for (std::uint64_t taken = 0; taken < sent; ++taken) at_server();
  send(*client, StatusQuery{3});
  EXPECT_EQ(tag_of(at_server()), 3U);
}

TEST_P(TransportContract, ABusyPeerDoesNotSilenceOthers) {
  const auto busy = harness_->connect(Channel::kWorkerData);
  const auto quiet = harness_->connect(Channel::kWorkerControl);
  const PeerId busy_peer = meet(*busy);
  const PeerId quiet_peer = meet(*quiet);
  const Buffer payload = bytes(100000);
  for (int i = 0; i < 60; ++i) {
    send(*busy, Put{}, payload);
  }
  send(*quiet, StatusQuery{1});
  pass_some_time();
  int before = 0;
  std::set<PeerId> heard;
  while (!heard.contains(quiet_peer)) {
    const Incoming came = at_server();
    ASSERT_TRUE(came.peer == busy_peer || came.peer == quiet_peer);
    heard.insert(came.peer);
    ++before;
    ASSERT_LE(before, 61);
  }
  for (; before < 61; ++before) EXPECT_EQ(at_server().peer, busy_peer);
}

INSTANTIATE_TEST_SUITE_P(Over, TransportContract,
                         ::testing::Values(Environment{"sim", make_sim_harness},
                                           Environment{"ipc", make_ipc_harness},
                                           Environment{"curve", make_curve_harness},
                                           Environment{"proxy", make_proxy_harness}),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace pa
