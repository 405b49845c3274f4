#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "coordinator/journal/journal.h"

/// Journal entries of small requests whose bytes follow from their number.
namespace pa::test {

inline constexpr std::uint64_t kRowBytes = 64;

inline RequestId request_id(std::uint64_t n) { return {0x1234, n}; }

inline Buffer filled_buffer(std::uint64_t bytes, std::uint8_t value) {
  std::shared_ptr<std::byte> memory(new std::byte[bytes], std::default_delete<std::byte[]>());
  std::memset(memory.get(), value, bytes);
  return {std::move(memory), bytes};
}

inline JournalRequest a_request(std::uint64_t n, std::uint64_t input_bytes = 100) {
  JournalRequest entry;
  entry.submit.request = request_id(n);
  entry.submit.body = "body " + std::to_string(n);
  entry.submit.tensors = {{{"x", DType::kF32, {1, 25}}, {1, 2}}};
  entry.model.name = "m";
  entry.model.family = "noop";
  entry.model.identity = "sha256:1";
  if (input_bytes > 0) entry.input = filled_buffer(input_bytes, static_cast<std::uint8_t>(n));
  return entry;
}

inline SampleReport a_report(std::int64_t sample, bool failed = false) {
  SampleReport report;
  report.sample = sample;
  report.worker = "w";
  report.device = "cpu";
  report.steps = 4;
  report.attempts = 1;
  report.failed = failed;
  if (failed) report.error = internal("broken");
  return report;
}

/// Row i is filled with 10 n + i.
inline JournalSamples some_samples(std::uint64_t n, const std::vector<std::int64_t>& samples,
                                   std::int64_t of = 4) {
  JournalSamples entry{
      request_id(n), kRowBytes, {}, filled_buffer(kRowBytes * static_cast<std::uint64_t>(of), 0)};
  for (std::int64_t i = 0; i < of; ++i) {
    std::memset(entry.result.data() + static_cast<std::uint64_t>(i) * kRowBytes,
                static_cast<int>(10 * n) + static_cast<int>(i), kRowBytes);
  }
  for (const std::int64_t sample : samples) entry.reports.push_back(a_report(sample));
  return entry;
}

inline JournalOutcome an_outcome(std::uint64_t n, const std::vector<std::int64_t>& samples) {
  JournalOutcome entry;
  entry.done.request = request_id(n);
  entry.done.seconds = 1.5;
  for (const std::int64_t sample : samples) entry.done.samples.push_back(a_report(sample));
  return entry;
}

}  // namespace pa::test
