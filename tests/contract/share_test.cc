// Memory shared between processes of one box: what every transport that shares must do.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "shared/io/clock.h"
#include "shared/io/loop.h"
#include "shared/io/segment_socket.h"
#include "shared/io/zmq_transport.h"
#include "tests/contract/harness.h"
#include "tests/support/temporary_folder.h"

namespace pa {
namespace {

constexpr std::uint64_t kBytes = 3u << 20;

Segment segment_of(unsigned char value, std::uint64_t bytes = kBytes) {
  const Result<Segment> made = Segment::create(bytes);
  EXPECT_TRUE(made.ok());
  const std::vector<std::byte> source(bytes, static_cast<std::byte>(value));
  EXPECT_TRUE(made->write(0, source).ok());
  return *made;
}

bool holds(const Segment& segment, unsigned char value) {
  const Result<Buffer> memory = segment.map();
  if (!memory.ok()) return false;
  for (const std::byte byte : memory->bytes()) {
    if (byte != static_cast<std::byte>(value)) return false;
  }
  return true;
}

class ShareContract : public ::testing::TestWithParam<Environment> {
 protected:
  ShareContract() : harness_(GetParam().make()), client_(harness_->connect(Channel::kClient)) {}

  /// Sends a Submit and returns it as it came.
  Incoming meet() {
    Submit submit;
    submit.sharing = client_->sharing();
    EXPECT_NE(submit.sharing, 0U);
    std::optional<Incoming> came;
    EXPECT_TRUE(harness_->wait_until([&] { return client_->send(submit, {}).ok(); }));
    EXPECT_TRUE(
        harness_->wait_until([&] { return (came = harness_->server().receive()).has_value(); }));
    return came.value_or(Incoming{});
  }

  ServerTransport& server() { return harness_->server(); }

  std::unique_ptr<Harness> harness_;
  std::unique_ptr<ClientTransport> client_;
};

TEST_P(ShareContract, MemoryGoesBothWays) {
  const Incoming hello = meet();
  EXPECT_TRUE(hello.shares);
  ASSERT_TRUE(client_->share(7, segment_of(1)));
  const auto up = server().shared(hello.peer, 7);
  ASSERT_TRUE(up);
  EXPECT_EQ(up->bytes(), kBytes);
  EXPECT_TRUE(holds(*up, 1));
  EXPECT_FALSE(server().shared(hello.peer, 7)) << "only once";
  EXPECT_FALSE(server().shared(hello.peer, 8)) << "never came";

  const Segment back = segment_of(0);
  ASSERT_TRUE(server().share(hello.peer, 9, back));
  const auto down = client_->shared(9);
  ASSERT_TRUE(down);
  EXPECT_TRUE(holds(*down, 0));
  const std::vector<std::byte> row(100, std::byte{5});
  ASSERT_TRUE(down->write(kBytes - 100, row).ok());
  EXPECT_EQ(back.map()->data()[kBytes - 1], std::byte{5}) << "it is the same memory";
}

TEST_P(ShareContract, WhatNobodyTakesMakesRoom) {
  const Incoming hello = meet();
  const Segment small = segment_of(1, 4096);
  for (std::uint64_t id = 1; id <= 2 * SegmentInbox::kMost; ++id) {
    ASSERT_TRUE(client_->share(id, small));
    if (id % 32 == 0) (void)server().shared(hello.peer, 0);  // Sockets hold so many at most.
  }
  EXPECT_FALSE(server().shared(hello.peer, 1));
  EXPECT_TRUE(server().shared(hello.peer, 2 * SegmentInbox::kMost));
}

TEST_P(ShareContract, StrangersAreGivenNothing) {
  meet();
  EXPECT_FALSE(server().share(PeerId{999}, 1, segment_of(1, 4096)));
  EXPECT_FALSE(server().shared(PeerId{999}, 1));
}

INSTANTIATE_TEST_SUITE_P(Over, ShareContract,
                         ::testing::Values(Environment{"sim", make_sharing_sim_harness},
                                           Environment{"ipc", make_ipc_harness}),
                         ::testing::PrintToStringParamName());

TEST(Segment, NeverShrinks) {
  const Segment segment = segment_of(1);
  EXPECT_NE(::ftruncate(segment.descriptor(), 10), 0);
  EXPECT_NE(::ftruncate(segment.descriptor(), kBytes * 2), 0);
}

TEST(Segment, OfAPeerIsBelievedOnlyIfItCannotShrink) {
  Descriptor soft(::memfd_create("soft", MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(soft.get(), 4096), 0);
  const auto shrinkable = Segment::adopt(Descriptor(::dup(soft.get())));
  ASSERT_FALSE(shrinkable.ok());
  EXPECT_NE(shrinkable.error().message.find("F_SEAL_SHRINK"), std::string::npos);
  ASSERT_EQ(::fcntl(soft.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  EXPECT_TRUE(Segment::adopt(std::move(soft)).ok());
  EXPECT_FALSE(Segment::adopt(Descriptor(::open("/dev/zero", O_RDWR))).ok());
  EXPECT_FALSE(Segment::adopt(Descriptor(-1)).ok());
}

TEST(Segment, ReadersCannotWriteAndFrozenNobodyCan) {
  const Segment segment = segment_of(1);
  const std::vector<std::byte> row(10);
  const Result<Segment> reader = segment.read_only();
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(reader->write(0, row).error().code, Code::kInvalid);
  EXPECT_TRUE(segment.write(0, row).ok());
  EXPECT_EQ(segment.write(kBytes - 5, row).error().code, Code::kInvalid) << "beyond the end";
  ASSERT_TRUE(segment.freeze().ok());
  EXPECT_EQ(segment.write(0, row).error().code, Code::kInvalid);
  const Result<Buffer> mine = reader->map();
  ASSERT_TRUE(mine.ok());
  mine->data()[0] = std::byte{9};  // Private: neither an error nor seen by others.
  EXPECT_EQ(reader->map()->data()[0], std::byte{0});
}

TEST(Segment, WritersThroughAMapAreSeenAndKeepItFromBeingFrozen) {
  const Segment segment = segment_of(1);
  const Result<Segment> reader = segment.read_only();
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(reader->map_shared(Segment::Access::kWrite).error().code, Code::kInvalid);
  const Result<Buffer> view = reader->map_shared(Segment::Access::kRead);
  ASSERT_TRUE(view.ok());
  Result<Buffer> map = segment.map_shared(Segment::Access::kWrite);
  ASSERT_TRUE(map.ok());
  map->data()[kBytes - 1] = std::byte{9};
  EXPECT_EQ(view->data()[kBytes - 1], std::byte{9});
  EXPECT_EQ(segment.freeze().error().code, Code::kUnavailable);
  EXPECT_TRUE(segment.is_writable());
  *map = {};
  EXPECT_TRUE(segment.freeze().ok()) << "a map to read does not keep it";
  EXPECT_FALSE(segment.is_writable());
  EXPECT_EQ(segment.map_shared(Segment::Access::kWrite).error().code, Code::kInvalid);
}

TEST(Segment, IsKnownByEveryDescriptorOfIt) {
  const Segment segment = segment_of(1, 4096);
  const std::string identity = segment.identity();
  ASSERT_FALSE(identity.empty());
  EXPECT_EQ(segment.read_only()->identity(), identity);
  EXPECT_EQ(Segment::adopt(Descriptor(::dup(segment.descriptor())))->identity(), identity);
  EXPECT_NE(segment_of(1, 4096).identity(), identity);
  EXPECT_FALSE(segment.read_only()->is_writable());
}

TEST(Segment, PagesComeAheadOfTheirReading) {
  const Segment segment = segment_of(3);
  const Buffer map = *segment.map();
  Segment::prefault(map.slice(5000, kBytes - 9000).bytes());  // From anywhere in a page.
  Segment::prefault({});
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's own pages come with faults, too";
#endif
  constexpr int kPopulateRead = 22;  // MADV_POPULATE_READ.
  if (::madvise(map.data(), 4096, kPopulateRead) != 0) GTEST_SKIP() << "not with this kernel";
  const auto faults = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
  };
  const auto before = faults();
  int sum = 0;
  for (std::uint64_t i = 5000; i < kBytes - 4000; i += 4096)
    sum += std::to_integer<int>(map.data()[i]);
  EXPECT_LT(faults() - before, 16) << "of 700 pages, 16 of which come with a fault";
  EXPECT_EQ(sum, 3 * static_cast<int>((kBytes - 9000 + 4095) / 4096));
}

/// A client in a process of its own, which hands memory over and is killed.
TEST(SharedMemoryOfAProcess, OutlivesIt) {
  const test::TemporaryFolder temporary;
  const std::string& folder = temporary.path();
  const pid_t child = ::fork();
  if (child == 0) {  // No gtest here, and no way back.
    const std::string endpoint = ipc_endpoints(folder).client;
    for (int i = 0; i < 5000; ++i) {
      auto client = ZmqClient::connect(ZmqContext(), endpoint, Channel::kClient);
      Submit submit;
      submit.sharing = client.ok() ? (*client)->sharing() : 0;
      submit.segment = 3;
      if (submit.sharing != 0 && (*client)->share(3, segment_of(8))) {
        for (int k = 0; k < 500; ++k) {
          (void)(*client)->send(submit, {}).ok();
          ::usleep(10'000);
        }
      }
      ::usleep(2'000);
    }
    std::_Exit(1);
  }
  auto server = ZmqServer::bind(ipc_endpoints(folder));
  ASSERT_TRUE(server.ok()) << server.error().message;
  const TimePoint end = steady_now() + std::chrono::seconds{30};
  std::optional<Incoming> came;
  Loop loop;
  loop.watch(**server);
  while (!(came = (*server)->receive()) && steady_now() < end)
    loop.wait(steady_now() + std::chrono::milliseconds{5});
  ASSERT_TRUE(came);
  EXPECT_TRUE(came->shares);
  const auto segment = (*server)->shared(came->peer, 3);
  ASSERT_TRUE(segment);
  EXPECT_FALSE((*server)->gone());
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(holds(*segment, 8));
  std::optional<PeerId> gone;
  while (!(gone = (*server)->gone()) && steady_now() < end) {
    (*server)->woken();
    loop.wait(steady_now() + std::chrono::milliseconds{5});
  }
  EXPECT_EQ(gone, came->peer) << "its end is seen at once";
}

}  // namespace
}  // namespace pa
