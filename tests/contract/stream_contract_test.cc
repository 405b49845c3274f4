#include <gtest/gtest.h>

#include <cstring>

#include "shared/wire/streams.h"
#include "tests/contract/harness.h"

namespace pa {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;
constexpr BufferId kSource{1};
constexpr BufferId kTarget{2};

/// Streams at both ends of a transport, pumped as loops do.
class StreamContract : public ::testing::TestWithParam<Environment> {
 protected:
  StreamContract() : harness_(GetParam().make()), at_server_(options()), at_client_(options()) {}

  static StreamOptions options() {
    StreamOptions options;
    options.retry = std::chrono::milliseconds{20};
    return options;
  }

  static void take(Streams& streams, const Incoming& came, TimePoint now) {
    if (const auto* put = std::get_if<Put>(&came.message)) {
      streams.on(came.peer, *put, came.payload.bytes(), now);
    } else if (const auto* got = std::get_if<Got>(&came.message)) {
      streams.on(came.peer, *got, now);
    } else if (const auto* want = std::get_if<Want>(&came.message)) {
      streams.on(came.peer, *want, now);
    }
  }

  void turn(ClientTransport& client) {
    const TimePoint now = harness_->now();
    for (int i = 0; i < 16; ++i) {
      const std::optional<Incoming> came = harness_->server().receive();
      if (!came) break;
      take(at_server_, *came, now);
    }
    for (int i = 0; i < 16; ++i) {
      const std::optional<Incoming> came = client.receive();
      if (!came) break;
      take(at_client_, *came, now);
    }
    std::vector<Outgoing> out;
    at_server_.pump(now, out, events_);
    for (const Outgoing& o : out) {
      if (!harness_->server().send(o.peer, o.message, o.payload).ok()) at_server_.unsent(o, now);
    }
    out.clear();
    at_client_.pump(now, out, events_);
    for (const Outgoing& o : out) {
      if (!client.send(o.message, o.payload).ok()) at_client_.unsent(o, now);
    }
  }

  [[nodiscard]] bool told(const StreamId& id) const {
    bool whole = false;
    bool sent = false;
    for (const StreamEvent& event : events_) {
      if (const auto* arrived = std::get_if<StreamArrived>(&event)) {
        whole = whole || (arrived->stream == id && arrived->whole);
      } else {
        sent = sent || std::get<StreamSent>(event).stream == id;
      }
    }
    return whole && sent;
  }

  PeerId meet(ClientTransport& client) {
    std::optional<Incoming> came;
    EXPECT_TRUE(harness_->wait_until([&] {
      (void)client.send(StatusQuery{1}, {}).ok();
      return (came = harness_->server().receive()).has_value();
    }));
    return came.value_or(Incoming{}).peer;
  }

  std::unique_ptr<Harness> harness_;
  Streams at_server_;
  Streams at_client_;
  std::vector<StreamEvent> events_;
};

/// Words that do not repeat; what is left over at the end keeps what is there.
void fill(const Buffer& buffer) {
  std::uint32_t state = 1;
  for (std::uint64_t at = 0; at + sizeof(state) <= buffer.size(); at += sizeof(state)) {
    state = state * 1664525 + 1013904223;
    std::memcpy(buffer.data() + at, &state, sizeof(state));
  }
}

bool same(const Buffer& a, const Buffer& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

TEST_P(StreamContract, CarriesManyMiBBothWays) {
  // The proxy takes its time; under a sanitizer on a busy machine, minutes.
  const std::uint64_t bytes = (GetParam().name == "proxy" ? 8 : 64) * kMiB + 12345;
  const auto client = harness_->connect(Channel::kClient);
  const PeerId peer = meet(*client);
  const StreamId up{StreamKind::kRequestInput, RequestId{1, 1}, {}};
  const StreamId down{StreamKind::kRequestResult, RequestId{1, 1}, {}};
  for (Streams* streams : {&at_server_, &at_client_}) {
    ASSERT_TRUE(streams->allocate(kSource, bytes).ok());
    ASSERT_TRUE(streams->allocate(kTarget, bytes).ok());
    fill(streams->buffer(kSource));
  }
  const TimePoint now = harness_->now();
  at_server_.receive(up, peer, kTarget, bytes, true, now);
  at_client_.send(up, PeerId{0}, kEagerBytes, 0, now);
  at_client_.append(up, {kSource, 0, bytes, 0}, true);
  at_client_.receive(down, PeerId{0}, kTarget, bytes, false, now);
  at_server_.send(down, peer, options().window_bytes, 0, now);
  at_server_.append(down, {kSource, 0, bytes, 0}, true);
  ASSERT_TRUE(harness_->wait_until([&] {
    turn(*client);
    return told(up) && told(down);
  }));
  EXPECT_TRUE(same(at_client_.buffer(kSource), at_server_.buffer(kTarget)));
  EXPECT_TRUE(same(at_server_.buffer(kSource), at_client_.buffer(kTarget)));
}

TEST_P(StreamContract, ResumesAfterAReconnection) {
  const std::uint64_t bytes = 16 * kMiB;
  const auto client = harness_->connect(Channel::kWorkerData);
  PeerId peer = meet(*client);
  const StreamId id{StreamKind::kShardResult, RequestId{1, 1}, ShardId{5}};
  ASSERT_TRUE(at_client_.allocate(kSource, bytes).ok());
  ASSERT_TRUE(at_server_.allocate(kTarget, bytes).ok());
  fill(at_client_.buffer(kSource));
  at_server_.receive(id, peer, kTarget, bytes, true, harness_->now());
  at_client_.send(id, PeerId{0}, kEagerBytes, 0, harness_->now());
  at_client_.append(id, {kSource, 0, bytes, 0}, true);
  const auto arrived = [&] {
    std::uint64_t upto = 0;
    for (const StreamEvent& event : events_) {
      if (const auto* part = std::get_if<StreamArrived>(&event)) upto = part->upto;
    }
    return upto;
  };
  ASSERT_TRUE(harness_->wait_until([&] {
    turn(*client);
    return arrived() >= 3 * kMiB;
  }));
  at_server_.forget_peer(peer);
  at_client_.forget_peer(PeerId{0});
  ASSERT_TRUE(client->reconnect().ok());
  const PeerId before = peer;
  ASSERT_TRUE(harness_->wait_until([&] {
    (void)client->send(StatusQuery{1}, {}).ok();
    while (const std::optional<Incoming> came = harness_->server().receive()) {
      if (came->peer != before) peer = came->peer;
    }
    return peer != before;
  }));
  at_server_.receive(id, peer, kTarget, bytes, true, harness_->now());
  at_client_.send(id, PeerId{0}, 0, 0, harness_->now());
  ASSERT_TRUE(harness_->wait_until([&] {
    turn(*client);
    return told(id);
  }));
  EXPECT_TRUE(same(at_client_.buffer(kSource), at_server_.buffer(kTarget)));
}

TEST_P(StreamContract, ManyStreamsAtOnce) {
  constexpr std::uint64_t kStreams = 12;
  const std::uint64_t bytes = 3 * kMiB + 77;
  const auto client = harness_->connect(Channel::kWorkerData);
  const PeerId peer = meet(*client);
  ASSERT_TRUE(at_server_.allocate(kSource, bytes).ok());
  fill(at_server_.buffer(kSource));
  const auto id = [](std::uint64_t i) {
    return StreamId{StreamKind::kShardInput, RequestId{1, 1}, ShardId{i}};
  };
  for (std::uint64_t i = 1; i <= kStreams; ++i) {
    ASSERT_TRUE(at_client_.allocate(BufferId{100 + i}, bytes).ok());
    at_client_.receive(id(i), PeerId{0}, BufferId{100 + i}, bytes, false, harness_->now());
    at_server_.send(id(i), peer, options().window_bytes, 0, harness_->now());
    for (std::uint64_t done = 0; done < bytes; done += 700000) {
      const std::uint64_t part = std::min<std::uint64_t>(700000, bytes - done);
      at_server_.append(id(i), {kSource, done, part, done}, done + part == bytes);
    }
  }
  ASSERT_TRUE(harness_->wait_until([&] {
    turn(*client);
    for (std::uint64_t i = 1; i <= kStreams; ++i) {
      if (!told(id(i))) return false;
    }
    return true;
  }));
  for (std::uint64_t i = 1; i <= kStreams; ++i) {
    EXPECT_TRUE(same(at_client_.buffer(BufferId{100 + i}), at_server_.buffer(kSource)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Over, StreamContract,
    ::testing::Values(Environment{"sim", make_sim_harness}, Environment{"ipc", make_ipc_harness},
                      Environment{"curve", make_curve_harness},
                      Environment{"proxy", make_proxy_harness},
                      Environment{"bad_network_1", [] { return make_bad_sim_harness(1); }},
                      Environment{"bad_network_2", [] { return make_bad_sim_harness(2); }},
                      Environment{"bad_network_3", [] { return make_bad_sim_harness(3); }}),
    ::testing::PrintToStringParamName());

}  // namespace
}  // namespace pa
