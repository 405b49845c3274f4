#include "clients/cpp/client_memory.h"

#include <gtest/gtest.h>

#include <cstring>

#include "shared/io/digest.h"
#include "tests/support/sharing_transport.h"

namespace pa {
namespace {

constexpr std::uint64_t kBytes = 1'000'000;

Buffer filled(std::uint64_t bytes, int value) {
  auto memory = std::make_shared<std::vector<std::byte>>(bytes, static_cast<std::byte>(value));
  return {std::shared_ptr<std::byte>(memory, memory->data()), bytes};
}

std::byte first_byte(const Segment& segment, std::uint64_t offset = 0) {
  std::vector<std::byte> read(1);
  EXPECT_TRUE(segment.read(offset, read).ok());
  return read[0];
}

class ClientMemoryTest : public ::testing::Test {
 protected:
  /// A result of `request` in offered memory, as its user has it; and which memory that is.
  Buffer result_of(std::uint64_t request, std::string& identity) {
    Mapped offered = memory_.offer_result(request);
    EXPECT_TRUE(offered.segment);
    identity = offered.segment.identity();
    if (offered.map.empty()) offered.map = *offered.segment.map_shared(Segment::Access::kRead);
    return memory_.lend(RequestId{0, request}, std::move(offered));
  }

  test::SharingTransport transport_;
  ClientMemory memory_{transport_};
};

TEST_F(ClientMemoryTest, InputsAreCopiedAndDigested) {
  const Buffer a = filled(600'000, 1);
  const Buffer b = filled(300'000, 2);
  std::string first;
  for (int round = 0; round < 3; ++round) {
    auto placed = memory_.place(kBytes, {{a, 0}, {b, 600'064}});
    ASSERT_TRUE(placed);
    EXPECT_EQ(placed->digests, (std::vector<Digest>{digest_of(a.bytes()), digest_of(b.bytes())}));
    EXPECT_EQ(first_byte(placed->memory.segment, 599'999), std::byte{1});
    EXPECT_EQ(first_byte(placed->memory.segment, 600'064), std::byte{2});
    EXPECT_EQ(first_byte(placed->memory.segment, 900'063), std::byte{2});
    if (round == 0) first = placed->memory.segment.identity();
    EXPECT_EQ(placed->memory.segment.identity(), first) << "the pages are used again";
    memory_.reuse(std::move(placed->memory));
  }
  EXPECT_EQ(memory_.copied_bytes(), 3 * 900'000U);
}

TEST_F(ClientMemoryTest, WhatIsMuchTooLargeOrTooSmallIsNotUsedAgain) {
  const auto identity_of = [&](std::uint64_t bytes) {
    auto placed = memory_.place(bytes, {{filled(bytes, 1), 0}});
    std::string identity = placed->memory.segment.identity();
    memory_.reuse(std::move(placed->memory));
    return identity;
  };
  const std::string first = identity_of(kBytes);
  EXPECT_NE(identity_of(kBytes / 2 - 1), first);
  EXPECT_EQ(identity_of(kBytes / 2), first);
  EXPECT_NE(identity_of(kBytes + 1), first);
}

TEST_F(ClientMemoryTest, NothingIsOfferedBeforeAResultWasSeen) {
  EXPECT_FALSE(memory_.offer_result(1).segment);
  EXPECT_EQ(transport_.shares, 0);
  memory_.expect_result(kBytes);
  EXPECT_TRUE(memory_.offer_result(1).segment.is_writable());
  EXPECT_EQ(transport_.shares, 1);
}

TEST_F(ClientMemoryTest, AResultsMemoryServesAnotherOnceItIsDroppedAndAcknowledged) {
  memory_.expect_result(kBytes);
  std::string a;
  std::string b;
  std::string c;
  Buffer first = result_of(1, a);
  Buffer second = result_of(2, b);
  EXPECT_NE(a, b) << "the first is looked at still";
  memory_.acknowledged(RequestId{0, 1});
  second = {};
  Buffer third = result_of(3, c);
  EXPECT_NE(c, a) << "looked at";
  EXPECT_NE(c, b) << "not acknowledged";
  first = {};
  std::string d;
  const Buffer fourth = result_of(4, d);
  EXPECT_EQ(d, a);
  EXPECT_EQ(fourth.size(), kBytes);
}

TEST_F(ClientMemoryTest, ACopyOfAResultKeepsItsMemory) {
  memory_.expect_result(kBytes);
  std::string a;
  std::string b;
  Buffer row = result_of(1, a).slice(100, 100);
  memory_.acknowledged(RequestId{0, 1});
  EXPECT_EQ(row.data()[0], std::byte{0});
  const Buffer second = result_of(2, b);
  EXPECT_NE(a, b);
}

TEST_F(ClientMemoryTest, ResultsThatAreKeptForGoodAreForgotten) {
  memory_.expect_result(kBytes);
  std::vector<Buffer> results;
  std::string identity;
  for (std::uint64_t i = 0; i < 3 * ClientMemory::kMostLent; ++i) {
    results.push_back(result_of(i, identity));
    memory_.acknowledged(RequestId{0, i});
  }
  for (const Buffer& result : results) EXPECT_EQ(result.data()[kBytes - 1], std::byte{0});
}

TEST_F(ClientMemoryTest, NoMoreThanSoMuchIsKept) {
  const std::uint64_t half = ClientMemory::kMostBytes / 2;  // No page of it is ever written to.
  memory_.expect_result(half);
  std::string a;
  std::string other;
  {
    const Buffer first = result_of(1, a);
    const Buffer second = result_of(2, other);
    const Buffer third = result_of(3, other);
  }
  for (const std::uint64_t request : {1, 2, 3}) memory_.acknowledged(RequestId{0, request});
  for (const std::uint64_t request : {4, 5}) {
    std::string identity;
    const Buffer result = result_of(request, identity);
    EXPECT_NE(identity, a) << "it made room for the third";
  }

  memory_.expect_result(ClientMemory::kMostBytes + 1);
  { const Buffer large = result_of(6, a); }
  memory_.acknowledged(RequestId{0, 6});
  const Buffer again = result_of(7, other);
  EXPECT_NE(other, a);
}

TEST_F(ClientMemoryTest, AResultOutlivesTheMemoryItCameFrom) {
  Buffer result;
  {
    test::SharingTransport transport;
    ClientMemory memory(transport);
    memory.expect_result(kBytes);
    Mapped offered = memory.offer_result(1);
    ASSERT_TRUE(offered.segment.write(0, std::vector<std::byte>(1, std::byte{5})).ok());
    offered.map = *offered.segment.map_shared(Segment::Access::kRead);
    result = memory.lend(RequestId{0, 1}, std::move(offered));
  }
  EXPECT_EQ(result.data()[0], std::byte{5});
}

}  // namespace
}  // namespace pa
