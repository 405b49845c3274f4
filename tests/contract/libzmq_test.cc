// What libzmq 4.3 does badly, and that it does not hurt us. What the contract of every transport has
// already is not here: full queues (a send that succeeds is no delivery), frames beyond the limit,
// malformed messages; and of curve_test.cc: the key's owner, which libzmq leaves out of a message's
// first frame after a poll.

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "shared/io/clock.h"
#include "shared/io/loop.h"
#include "shared/io/zmq_transport.h"
#include "shared/wire/codec.h"
#include "tests/contract/raw_dealer.h"
#include "tests/support/free_tcp_address.h"
#include "tests/support/tcp_proxy.h"
#include "tests/support/temporary_folder.h"

namespace pa {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class LibzmqTest : public ::testing::Test {
 protected:
  LibzmqTest() {
    endpoints_ = ipc_endpoints(folder_.path());
    tcp_ = free_tcp_address();
    const CurveKeys server_keys = *make_curve_keys();
    keys_.own = *make_curve_keys();
    keys_.server_key = server_keys.public_key;
    TcpListener listener{tcp_, server_keys, {}};
    listener.allowed.add(keys_.own.public_key, {Role::kClient, "tester"});
    auto server = ZmqServer::bind(endpoints_, options(), std::move(listener));
    PA_CHECK(server.ok());
    server_ = std::move(*server);
    loop_.watch(*server_);
  }
  static ZmqOptions options() {
    ZmqOptions options;
    options.control_messages = 8;
    options.data_messages = 8;
    return options;
  }

  std::unique_ptr<ZmqClient> connect(const std::string& endpoint,
                                     const std::optional<PeerKeys>& keys = std::nullopt) {
    auto client = ZmqClient::connect(context_, endpoint, Channel::kClient, options(), keys);
    PA_CHECK(client.ok());
    return std::move(*client);
  }

  void pass_time() { loop_.wait(steady_now() + milliseconds{1}); }

  /// Who sent a StatusQuery with the tag, if one comes within the limit.
  std::optional<PeerId> hear(std::uint64_t tag, Duration limit = seconds{10}) {
    for (const TimePoint end = steady_now() + limit; steady_now() < end; pass_time()) {
      while (const std::optional<Incoming> came = server_->receive()) {
        const auto* query = std::get_if<StatusQuery>(&came->message);
        if (query && query->tag == tag) return came->peer;
      }
    }
    return std::nullopt;
  }

  void send(ZmqClient& client, std::uint64_t tag) {
    const TimePoint end = steady_now() + seconds{10};
    while (!client.send(StatusQuery{tag}, {}).ok() && steady_now() < end) pass_time();
  }

  test::TemporaryFolder folder_;  // Outlives the server in it.
  Endpoints endpoints_;
  std::string tcp_;
  PeerKeys keys_;
  ZmqContext context_;
  std::unique_ptr<ZmqServer> server_;
  Loop loop_;
};

TEST_F(LibzmqTest, APeerThatDiesWithAFullQueueIsFoundGoneWithoutReadingIt) {
  auto client = connect(endpoints_.client);
  send(*client, 1);
  const PeerId peer = hear(1).value();
  Refused padding;
  padding.error.message = std::string(60000, 'x');
  Status last;
  for (int i = 0; i < 100000 && last.ok(); ++i) last = server_->send(peer, padding, {});
  ASSERT_EQ(last.error().code, Code::kOverloaded);
  client.reset();
  // Some may still be taken, by what the end of the connection makes room in.
  const TimePoint end = steady_now() + seconds{10};
  while ((last.ok() || last.error().code == Code::kOverloaded) && steady_now() < end) {
    pass_time();
    EXPECT_FALSE(server_->receive());
    last = server_->send(peer, padding, {});
  }
  ASSERT_FALSE(last.ok());
  EXPECT_EQ(last.error().code, Code::kUnavailable) << last.error().message;
}

TEST_F(LibzmqTest, ANameTakenTwiceByStrangersSilencesNobodyElse) {
  const std::string query = encode(StatusQuery{7});
  RawDealer first(endpoints_.client, std::nullopt, "same");
  first.send({query});
  EXPECT_TRUE(hear(7));
  RawDealer second(endpoints_.client, std::nullopt, "same");
  second.send({query});
  const auto ours = connect(endpoints_.client);
  for (std::uint64_t i = 10; i < 20; ++i) {
    send(*ours, i);
    EXPECT_TRUE(hear(i));
  }
  first.send({encode(StatusQuery{8})});
  EXPECT_TRUE(hear(8));
}

TEST_F(LibzmqTest, ClientsThatComeAgainAtOnceAreNeverTakenForThemselves) {
  std::optional<PeerId> before;
  for (std::uint64_t i = 1; i <= 20; ++i) {
    const auto client = connect(endpoints_.client);
    send(*client, i);
    const std::optional<PeerId> peer = hear(i);
    ASSERT_TRUE(peer);
    EXPECT_NE(peer, before);
    before = peer;
  }
}

TEST_F(LibzmqTest, AMessageWithoutEndHoldsUpNobodyAndIsGoneWithItsSender) {
  {
    RawDealer endless(endpoints_.client, std::nullopt);
    for (int i = 0; i < 100; ++i) endless.send(std::string(100000, 'x'), true);
    const auto ours = connect(endpoints_.client);
    for (std::uint64_t i = 1; i <= 20; ++i) {
      send(*ours, i);
      EXPECT_TRUE(hear(i));
    }
  }
  EXPECT_FALSE(hear(0, milliseconds{100}));
  EXPECT_EQ(server_->rejected(), 0U);
  const auto ours = connect(endpoints_.client);
  send(*ours, 30);
  EXPECT_TRUE(hear(30));
}

TEST_F(LibzmqTest, ConnectionsThatAreCutComeBackByThemselvesAsNewPeers) {
  TcpProxy proxy(tcp_, 7);
  const auto client = connect(tcp_endpoints(proxy.address())->client, keys_);
  std::set<PeerId> peers;
  const auto memory = std::make_shared<std::vector<std::byte>>(1u << 20);
  const Buffer big({memory, memory->data()}, memory->size());
  for (std::uint64_t i = 1; i <= 8; ++i) {
    // Each is lost with the connection, or cut short, or arrives; never half of one.
    for (int k = 0; k < 4; ++k) (void)client->send(Put{}, big).ok();
    proxy.cut();
    std::optional<PeerId> peer;
    const TimePoint end = steady_now() + seconds{120};
    while (!peer && steady_now() < end) {
      (void)client->send(StatusQuery{i}, {}).ok();
      peer = hear(i, milliseconds{5});
    }
    ASSERT_TRUE(peer);
    peers.insert(*peer);
  }
  EXPECT_GT(peers.size(), 4U);
  EXPECT_EQ(server_->rejected(), 0U);
}

}  // namespace
}  // namespace pa
