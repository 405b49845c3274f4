#include "worker/models/read_ahead.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>

namespace pa {
namespace {

/// What is asked of the kernel at a time, between looks at whether to stop.
constexpr std::size_t kChunk = 8u << 20;

/// Advice only: what cannot be read now is read when it is loaded, and said to be broken then.
void read(std::span<const std::byte> bytes, const std::stop_token& stop) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const std::size_t before = reinterpret_cast<std::uintptr_t>(bytes.data()) % page;
  auto* const begin = const_cast<std::byte*>(bytes.data()) - before;
  const std::size_t end = before + bytes.size();
  for (std::size_t at = 0; at < end && !stop.stop_requested(); at += kChunk) {
    (void)madvise(begin + at, std::min(kChunk, end - at), MADV_WILLNEED);
  }
}

}  // namespace

ReadAhead::~ReadAhead() = default;  // The thread is asked to stop, and joined.

bool ReadAhead::start(std::vector<StoredTensor> weights, std::int64_t most_bytes) {
  if (is_reading_) return false;
  std::uint64_t bytes = 0;
  for (const StoredTensor& tensor : weights) bytes += tensor.view.bytes.size();
  if (most_bytes < 0 || bytes > static_cast<std::uint64_t>(most_bytes)) return false;
  is_reading_ = true;
  thread_ = std::jthread([this, weights = std::move(weights)](const std::stop_token& stop) {
    for (const StoredTensor& tensor : weights) read(tensor.view.bytes, stop);
    is_reading_ = false;
  });
  return true;
}

}  // namespace pa
