#include <gtest/gtest.h>

#include <string>

#include "shared/io/zmq_peers.h"

namespace pa {
namespace {

std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST(ZmqPeersTest, NumbersRoutesOfAChannel) {
  ZmqPeers peers(10);
  const PeerId a = peers.meet(0, bytes("a"), {}).id;
  const PeerId b = peers.meet(0, bytes("b"), {}).id;
  const PeerId other = peers.meet(2, bytes("a"), {}).id;
  EXPECT_NE(a, b);
  EXPECT_NE(a, other);
  EXPECT_EQ(peers.meet(0, bytes("a"), {}).id, a);
  ASSERT_NE(peers.find(other), nullptr);
  EXPECT_EQ(peers.find(other)->socket, 2U);
  EXPECT_EQ(peers.find(other)->route, "a");
  EXPECT_EQ(peers.find(PeerId{99}), nullptr);
}

TEST(ZmqPeersTest, NeverUsesANumberAgain) {
  ZmqPeers peers(10);
  const PeerId before = peers.meet(0, bytes("a"), {}).id;
  peers.forget(before);
  EXPECT_EQ(peers.find(before), nullptr);
  EXPECT_NE(peers.meet(0, bytes("a"), {}).id, before);
}

TEST(ZmqPeersTest, TheMostSilentMakesRoom) {
  ZmqPeers peers(2);
  const PeerId a = peers.meet(0, bytes("a"), {}).id;
  const PeerId b = peers.meet(0, bytes("b"), {}).id;
  EXPECT_NE(peers.find(a), nullptr);  // Written to, and so not silent.
  const PeerId c = peers.meet(0, bytes("c"), {}).id;
  EXPECT_EQ(peers.find(b), nullptr);
  EXPECT_NE(peers.find(a), nullptr);
  EXPECT_NE(peers.find(c), nullptr);
}

}  // namespace
}  // namespace pa
