#include "worker/models/read_ahead.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "shared/io/safetensors.h"
#include "tests/support/temporary_folder.h"

namespace pa {
namespace {

constexpr std::int64_t kFloats = 4 << 20;

/// Pages of a file that are in memory.
std::int64_t resident_pages(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const auto bytes = static_cast<std::size_t>(lseek(file, 0, SEEK_END));
  void* const at = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, 0);
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages((bytes + page - 1) / page);
  EXPECT_EQ(mincore(at, bytes, pages.data()), 0);
  munmap(at, bytes);
  close(file);
  return std::count_if(pages.begin(), pages.end(), [](unsigned char in) { return (in & 1) != 0; });
}

class ReadAheadTest : public ::testing::Test {
 protected:
  ReadAheadTest() : path_(folder_.path() + "/weights.safetensors") {
    const std::vector<float> values(kFloats, 1.5F);
    const auto bytes = std::as_bytes(std::span(values));
    EXPECT_TRUE(
        write_safetensors(path_, {}, {{{"blocks.0.w", DType::kF32, {kFloats}}, bytes}}).ok());
    // Out of memory, as after a long time.
    const int file = open(path_.c_str(), O_RDWR | O_CLOEXEC);
    EXPECT_EQ(fsync(file), 0);
    EXPECT_EQ(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(file);
    Result<SafetensorsFile> mapped = SafetensorsFile::open(path_);
    EXPECT_TRUE(mapped.ok());
    weights_ = *WeightIndex::of({*mapped});
  }
  [[nodiscard]] std::vector<StoredTensor> weights() const {
    std::vector<StoredTensor> all;
    for (const auto& [name, tensor] : weights_.tensors()) all.push_back(tensor);
    return all;
  }

  test::TemporaryFolder folder_;
  std::string path_;
  WeightIndex weights_;
};

TEST_F(ReadAheadTest, WhatWasReadIsInMemory) {
  const std::int64_t all = kFloats * 4 / sysconf(_SC_PAGESIZE);
  if (resident_pages(path_) > all / 2) GTEST_SKIP() << "this file system keeps files in memory";
  ReadAhead ahead;
  EXPECT_TRUE(ahead.start(weights(), 1 << 30));
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds{30};
  while (resident_pages(path_) < all && std::chrono::steady_clock::now() < limit) {
    std::this_thread::yield();
  }
  EXPECT_GE(resident_pages(path_), all);
}

TEST_F(ReadAheadTest, NotMoreThanThereIsMemoryFor) {
  ReadAhead ahead;
  EXPECT_FALSE(ahead.start(weights(), kFloats * 4 - 1));
  EXPECT_FALSE(ahead.start(weights(), -1)) << "who does not know how much there is reads nothing";
  EXPECT_FALSE(ahead.is_reading());
}

}  // namespace
}  // namespace pa
