#include "shared/io/blob_store.h"

#include <gtest/gtest.h>

#include <cstring>

#include "shared/io/digest.h"

namespace pa {
namespace {

constexpr std::uint64_t kBytes = kBlobFromBytes;

/// Room for `count` blobs of kBytes each, whose contents are alike within one.
Buffer memory_of(const std::vector<int>& contents) {
  const std::uint64_t bytes = contents.size() * kBytes;
  std::shared_ptr<std::byte[]> data(new std::byte[bytes]);
  for (std::size_t i = 0; i < contents.size(); ++i)
    std::memset(data.get() + i * kBytes, contents[i], kBytes);
  return {std::shared_ptr<std::byte>(data, data.get()), bytes};
}

Digest digest_of_all(int contents) { return digest_of(memory_of({contents}).bytes()); }

Blobs blobs_of(const std::vector<int>& contents, const std::string& scope = "client ann") {
  Blobs blobs{scope, {}};
  for (std::size_t i = 0; i < contents.size(); ++i)
    blobs.blobs.push_back({digest_of_all(contents[i]), i * kBytes, kBytes});
  return blobs;
}

TEST(BlobStoreTest, GivesWhatItWasGiven) {
  BlobStore store(4 * kBytes);
  store.keep(blobs_of({1, 2}), memory_of({1, 2}));
  const Buffer found = store.find("client ann", digest_of_all(2), kBytes);
  ASSERT_EQ(found.size(), kBytes);
  EXPECT_EQ(found.data()[kBytes - 1], std::byte{2});
  EXPECT_TRUE(store.find("client ann", digest_of_all(3), kBytes).empty());
  EXPECT_EQ(store.hits(), 1U);
  EXPECT_EQ(store.misses(), 1U);
  EXPECT_EQ(store.bytes(), 2 * kBytes);
}

TEST(BlobStoreTest, KeepsScopesApart) {
  BlobStore store(4 * kBytes);
  store.keep(blobs_of({1}), memory_of({1}));
  EXPECT_TRUE(store.find("client bob", digest_of_all(1), kBytes).empty());
}

TEST(BlobStoreTest, BelievesNoDigest) {
  BlobStore store(4 * kBytes);
  store.keep(blobs_of({1}), memory_of({9}));
  EXPECT_TRUE(store.find("client ann", digest_of_all(1), kBytes).empty());
  EXPECT_EQ(store.bytes(), 0U);
}

TEST(BlobStoreTest, ForgetsWhatWasUsedLongestAgo) {
  BlobStore store(2 * kBytes);
  store.keep(blobs_of({1, 2}), memory_of({1, 2}));
  EXPECT_FALSE(store.find("client ann", digest_of_all(1), kBytes).empty());
  const Buffer held = store.find("client ann", digest_of_all(2), kBytes);
  EXPECT_FALSE(store.find("client ann", digest_of_all(1), kBytes).empty());
  store.keep(blobs_of({3}), memory_of({3}));
  EXPECT_TRUE(store.find("client ann", digest_of_all(2), kBytes).empty());
  EXPECT_FALSE(store.find("client ann", digest_of_all(1), kBytes).empty());
  EXPECT_EQ(store.bytes(), 2 * kBytes);
  EXPECT_EQ(held.data()[0], std::byte{2}) << "whoever uses it still has it";
}

TEST(BlobStoreTest, LeavesOutWhatDoesNotFit) {
  BlobStore none(0);
  none.keep(blobs_of({1}), memory_of({1}));
  EXPECT_TRUE(none.find("client ann", digest_of_all(1), kBytes).empty());
  EXPECT_EQ(none.misses(), 0U);

  BlobStore store(2 * kBytes);
  Blobs beyond = blobs_of({1});
  beyond.blobs[0].offset = 1;
  store.keep(beyond, memory_of({1}));
  Blobs large = blobs_of({1});
  large.blobs[0].bytes = 3 * kBytes;
  store.keep(large, memory_of({1, 1, 1}));
  EXPECT_EQ(store.bytes(), 0U);
}

}  // namespace
}  // namespace pa
