#pragma once

#include <deque>
#include <string>

#include "shared/core/buffer.h"
#include "shared/core/time.h"
#include "shared/io/segment.h"

namespace pa {

/// Maps, to write through, of memory that comes again and again: writing through one costs half of what
/// Segment::write() does, and goes beside others' writing to the same memory.
///
/// Only memory that was here before is mapped: its pages are there, while fresh ones cost more to come
/// by through a map, and if there is no memory for one, a signal rather than an error.
///
/// Thread: one.
class SegmentMaps {
 public:
  static constexpr std::size_t kMost = 8;                      ///< Segments remembered.
  static constexpr std::uint64_t kMostBytes = 256u << 20;      ///< Of one that is.
  static constexpr Duration kIdle = std::chrono::seconds{10};  ///< Before one is forgotten.

  /// A map of all of `segment`; empty if it was not here before, or cannot be mapped.
  [[nodiscard]] Buffer find(const Segment& segment, TimePoint now);

  /// Forgets what was not asked for since `now` - kIdle: whoever made it may want its pages back.
  void expire(TimePoint now);

 private:
  struct Known {
    std::string identity;
    Buffer map;  ///< Empty until it comes again.
    TimePoint used;
  };
  std::deque<Known> known_;  // Used last: at the end.
};

}  // namespace pa
