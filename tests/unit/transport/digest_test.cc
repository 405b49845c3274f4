#include "shared/io/digest.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace pa {
namespace {

std::vector<std::byte> some_bytes(std::size_t count) {
  std::vector<std::byte> bytes(count);
  std::uint32_t state = 1;
  for (std::byte& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::byte>(state >> 24);
  }
  return bytes;
}

TEST(Digest, IsXxh3OfSeedZero) {
  // XXH128 of nothing, as the algorithm's specification gives it.
  EXPECT_EQ(digest_of({}), (Digest{0x99aa06d3014798d8, 0x6001c324468d497f}));
}

TEST(Digest, OfPartsIsThatOfTheWhole) {
  const std::vector<std::byte> bytes = some_bytes(300'001);
  for (const std::size_t part : {1UL, 64UL, 1023UL, 65536UL, 300'001UL}) {
    Digester digester;
    for (std::size_t done = 0; done < bytes.size(); done += part) {
      digester.add(std::span(bytes).subspan(done, std::min(part, bytes.size() - done)));
    }
    EXPECT_EQ(digester.digest(), digest_of(bytes)) << part;
  }
  EXPECT_EQ(Digester().digest(), digest_of({}));
}

TEST(Digest, ChangesWithAnyByte) {
  std::vector<std::byte> bytes = some_bytes(5000);
  const Digest before = digest_of(bytes);
  for (const std::size_t at : {0UL, 2500UL, 4999UL}) {
    bytes[at] ^= std::byte{1};
    EXPECT_NE(digest_of(bytes), before) << at;
    bytes[at] ^= std::byte{1};
  }
  EXPECT_EQ(digest_of(bytes), before);
}

}  // namespace
}  // namespace pa
