#include "shared/wire/buffer_pool.h"

#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <deque>
#include <limits>
#include <mutex>
#include <new>

namespace pa {
namespace {

constexpr std::uint64_t kAlignment = 64;
constexpr std::uint64_t kPooledBytes = 1u << 20;
constexpr std::uint64_t kHugePageBytes = 2u << 20;
constexpr std::uint64_t kLargest = std::uint64_t{1} << 46;

/// Rounds up to an eighth of a power of two, so that buffers of nearly equal size share blocks.
/// The excess is never touched, and so costs addresses but no memory.
std::uint64_t block_bytes(std::uint64_t bytes) {
  const std::uint64_t step = std::bit_ceil(bytes) / 16;
  return (bytes + step - 1) / step * step;
}

}  // namespace

struct BufferPool::Shelf {
  struct Block {
    void* data;
    std::uint64_t bytes;
  };

  explicit Shelf(std::uint64_t keep) : keep_bytes(keep) {}
  ~Shelf() {
    for (const Block& block : blocks) ::munmap(block.data, block.bytes);
  }
  Shelf(const Shelf&) = delete;
  Shelf& operator=(const Shelf&) = delete;

  void* take(std::uint64_t bytes) {
    const std::lock_guard lock(mutex);
    for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
      if (block->bytes == bytes) {
        void* const data = block->data;
        kept_bytes -= bytes;
        blocks.erase(std::next(block).base());
        return data;
      }
    }
    return nullptr;
  }

  void put(void* data, std::uint64_t bytes) noexcept {
    if (bytes > keep_bytes) {
      ::munmap(data, bytes);
      return;
    }
    const std::lock_guard lock(mutex);
    kept_bytes += bytes;
    blocks.push_back({data, bytes});
    while (kept_bytes > keep_bytes) {
      ::munmap(blocks.front().data, blocks.front().bytes);
      kept_bytes -= blocks.front().bytes;
      blocks.pop_front();
    }
  }

  const std::uint64_t keep_bytes;
  std::mutex mutex;
  std::deque<Block> blocks;      // Oldest first. Guarded by mutex.
  std::uint64_t kept_bytes = 0;  // Guarded by mutex.
};

BufferPool::BufferPool(std::uint64_t keep_bytes) : shelf_(std::make_shared<Shelf>(keep_bytes)) {}

Buffer BufferPool::allocate(std::uint64_t bytes) {
  if (bytes == 0 || bytes > kLargest) return {};
  if (bytes < kPooledBytes) {
    void* const data =
        std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    if (!data) return {};
    return {std::shared_ptr<std::byte>(static_cast<std::byte*>(data),
                                       [](std::byte* p) { std::free(p); }),
            bytes};
  }
  const std::uint64_t size = block_bytes(bytes);
  void* data = shelf_->take(size);
  if (!data) {
    data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return {};
    if (size >= kHugePageBytes)
      ::madvise(data, size, MADV_HUGEPAGE);  // Advice: failure is harmless.
  }
  return {std::shared_ptr<std::byte>(static_cast<std::byte*>(data),
                                     [shelf = shelf_, size](std::byte* p) { shelf->put(p, size); }),
          bytes};
}

std::uint64_t BufferPool::kept_bytes() const {
  const std::lock_guard lock(shelf_->mutex);
  return shelf_->kept_bytes;
}

}  // namespace pa
