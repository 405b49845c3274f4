#include "shared/io/allocator.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace pa {

void tune_allocator() {
#if defined(__GLIBC__)
  constexpr int kLargestHeapBlock = 8 << 20;  // Eight chunks; what is larger has a pool of its own.
  constexpr int kKeptBytes = 64 << 20;        // At the end of each heap.
  ::mallopt(M_MMAP_THRESHOLD, kLargestHeapBlock);
  ::mallopt(M_TRIM_THRESHOLD, kKeptBytes);
#endif
}

}  // namespace pa
