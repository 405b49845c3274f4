#include "shared/io/blob_metrics.h"

#include <utility>

#include "shared/io/blob_store.h"

namespace pa {
namespace {

CounterFamily lookups(Metrics& metrics) {
  return metrics.counters(
      "pa_blob_lookups_total",
      "Tensors that came again (hit) and were not sent, and those that had to be (miss).",
      {"result"});
}

void raise(const CounterMetric& counter, std::uint64_t& before, std::uint64_t total) {
  counter.add(static_cast<double>(total - std::exchange(before, total)));
}

}  // namespace

BlobMetrics::BlobMetrics(Metrics& metrics) : BlobMetrics(lookups(metrics), metrics) {}

BlobMetrics::BlobMetrics(const CounterFamily& lookups, Metrics& metrics)
    : hits_(lookups.with({"hit"})),
      misses_(lookups.with({"miss"})),
      bytes_(metrics
                 .gauges("pa_blob_bytes",
                         "Memory that tensors take which are kept because they may come again.")
                 .with({})) {}

void BlobMetrics::update(const BlobStore& store) {
  raise(hits_, hits_before_, store.hits());
  raise(misses_, misses_before_, store.misses());
  bytes_.set(static_cast<double>(store.bytes()));
}

}  // namespace pa
