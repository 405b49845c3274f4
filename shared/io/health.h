#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>

#include "shared/core/time.h"
#include "shared/io/http_server.h"

namespace pa {

/// Whether a daemon is alive and of use, as its loop says and its HTTP threads tell.
///
/// Healthy: the loop turned within `max_silence`. Ready: the loop said so last, and is healthy.
class Health {
 public:
  using Clock = std::function<TimePoint()>;

  /// Not ready, because it is starting. Healthy until `max_silence` has passed.
  explicit Health(Clock clock, Duration max_silence = std::chrono::seconds{5});

  /// The loop turned. Lock-free; call it every turn, and at least once a second.
  void turned();
  void set_ready();
  /// `why` in words for the operator: "no live worker", "draining".
  void set_not_ready(std::string why);

  // Thread-safe. 200 "ok", or 503 and why not.
  [[nodiscard]] HttpResponse healthz() const;
  [[nodiscard]] HttpResponse readyz() const;

 private:
  [[nodiscard]] std::string silence() const;  ///< Why it is not healthy, or empty.

  Clock clock_;
  Duration max_silence_;
  std::atomic<TimePoint::rep> last_turn_;
  mutable std::mutex mutex_;
  std::string not_ready_ = "starting";  // Guarded by mutex_. Empty: ready.
};

}  // namespace pa
