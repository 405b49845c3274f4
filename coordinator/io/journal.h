#pragma once

#include <optional>
#include <set>
#include <string>

#include "shared/core/id.h"

namespace pa {

/// Remembers accepted requests over the coordinator's life, so that Accepted is a promise.
///
/// Thread: the loop's; an implementation that must wait for a disk does so on a thread of its own.
class Journal {
 public:
  virtual ~Journal() = default;

  /// Begins to make the request durable. durable() tells when it is.
  virtual void write(const RequestId& request) = 0;
  /// The request is over; forgets it. Unknown ids are ignored.
  virtual void erase(const RequestId& request) = 0;
  /// The next request that has become durable since the last call, or nullopt.
  [[nodiscard]] virtual std::optional<RequestId> durable() = 0;
  /// What it promises, in words, for `pa status`.
  [[nodiscard]] virtual std::string describe() const = 0;
};

/// Keeps nothing: requests are lost when the coordinator stops.
class MemoryJournal : public Journal {
 public:
  void write(const RequestId& request) override { written_.insert(request); }
  void erase(const RequestId& request) override { written_.erase(request); }
  [[nodiscard]] std::optional<RequestId> durable() override {
    if (written_.empty()) return std::nullopt;
    return written_.extract(written_.begin()).value();
  }
  [[nodiscard]] std::string describe() const override {
    return "memory: requests are lost if the coordinator stops";
  }

 private:
  std::set<RequestId> written_;  ///< Not yet reported by durable().
};

}  // namespace pa
