#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "shared/io/mutex.h"

namespace pa {

/// Hands values from one thread to another, in order. Thread-safe.
template <class T>
class BoundedQueue {
 public:
  explicit BoundedQueue(std::size_t capacity) : capacity_(capacity) {}

  /// Moves from `value` and returns true; if full or closed returns false
  /// and leaves `value` untouched. Never blocks.
  [[nodiscard]] bool try_push(T& value) EXCLUDES(mutex_) {
    {
      const MutexLock lock(mutex_);
      if (closed_ || items_.size() >= capacity_) return false;
      items_.push_back(std::move(value));
    }
    filled_.notify_one();
    return true;
  }

  /// Blocks until a value or close(); after close() drains, then nullopt.
  [[nodiscard]] std::optional<T> pop() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    while (items_.empty() && !closed_) filled_.wait(mutex_);
    return take();
  }

  /// The next value, or nullopt if there is none now. Never blocks.
  [[nodiscard]] std::optional<T> try_pop() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return take();
  }

  /// Refuses further values, and lets pop() end.
  void close() EXCLUDES(mutex_) {
    {
      const MutexLock lock(mutex_);
      closed_ = true;
    }
    filled_.notify_all();
  }

 private:
  std::optional<T> take() REQUIRES(mutex_) {
    if (items_.empty()) return std::nullopt;
    std::optional<T> value(std::move(items_.front()));
    items_.pop_front();
    return value;
  }

  const std::size_t capacity_;
  Mutex mutex_;
  CondVar filled_;
  std::deque<T> items_ GUARDED_BY(mutex_);
  bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace pa
