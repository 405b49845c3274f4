#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "shared/core/buffer.h"
#include "shared/core/id.h"
#include "shared/core/model_info.h"
#include "shared/core/result.h"
#include "shared/core/time.h"
#include "shared/wire/messages.h"

namespace pa {

/// An admitted request, with everything that running it again needs.
struct JournalRequest {
  Submit submit;    ///< Its id, its body, what its tensors are.
  ModelInfo model;  ///< As it was admitted against.
  Buffer input;     ///< The tensors, as input_layout() places them.
};

/// Samples of a request that are finished. Row i of `result` is read for a report of sample i that did not fail.
struct JournalSamples {
  RequestId request;
  std::uint64_t row_bytes = 0;
  std::vector<SampleReport> reports;
  Buffer result;  ///< All rows of the request's result.
};

/// How a request ended.
struct JournalOutcome {
  Done done;
};

/// The request is over and its client knows; only its id is remembered.
struct JournalErase {
  RequestId request;
};

using JournalEntry = std::variant<JournalRequest, JournalSamples, JournalOutcome, JournalErase>;

/// What became of an entry; none is made of a JournalErase.
struct JournalReport {
  enum class What : std::uint8_t { kRequest, kSamples, kOutcome };
  RequestId request;
  What what = What::kRequest;
  Status status;  ///< kOverloaded: it could not be kept.
};

/// A request that an earlier life of the coordinator left.
struct RecoveredRequest {
  JournalRequest request;
  std::vector<SampleReport> samples;  ///< Finished, each at most once.
  Buffer result;                      ///< Holds their rows; empty if there are none.
  std::optional<Done> outcome;        ///< Only if every sample it speaks of is there.
  Duration age{};                     ///< Since it was written.
};

/// All that an earlier life left, and what of it is damaged.
struct Recovery {
  std::vector<RecoveredRequest> requests;  ///< In the order they were written.
  std::vector<RequestId> ended;            ///< Erased ones, the latest last.
  std::vector<std::string>
      damage;  ///< What could not be read, each a sentence that names the request.
};

/// Remembers admitted requests and finished samples over the coordinator's life, so that Accepted and
/// Done are promises. Entries take effect in the order of write(); what has been reported durable
/// survives the process and the machine's power.
///
/// Thread: the loop's. An implementation that waits for a disk does so on a thread of its own.
class Journal {
 public:
  virtual ~Journal() = default;

  /// What an earlier life left. Call once, before anything else.
  [[nodiscard]] virtual Recovery recover() = 0;

  /// Begins to make the entry durable; next() tells. Never blocks. Buffers must not change until then.
  virtual void write(JournalEntry entry) = 0;

  /// The next report since the last call, or nullopt.
  [[nodiscard]] virtual std::optional<JournalReport> next() = 0;

  /// Whether it outlives the process.
  [[nodiscard]] virtual bool durable() const = 0;

  /// What it promises, in words, for `pa status`.
  [[nodiscard]] virtual std::string describe() const = 0;
};

/// The report due for `entry`, if one is; its status is success.
[[nodiscard]] std::optional<JournalReport> report_of(const JournalEntry& entry);

}  // namespace pa
