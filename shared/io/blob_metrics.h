#pragma once

#include <cstdint>

#include "shared/io/metrics.h"

namespace pa {

class BlobStore;

/// What a daemon exports of its blobs.
///
/// Thread: the loop only.
class BlobMetrics {
 public:
  /// `metrics` must outlive this.
  explicit BlobMetrics(Metrics& metrics);

  /// As the store stands now.
  void update(const BlobStore& store);

 private:
  BlobMetrics(const CounterFamily& lookups, Metrics& metrics);

  CounterMetric hits_;
  CounterMetric misses_;
  GaugeMetric bytes_;
  std::uint64_t hits_before_ = 0;
  std::uint64_t misses_before_ = 0;
};

}  // namespace pa
