#pragma once

#include <cstddef>
#include <deque>
#include <set>

namespace pa {

/// Remembers the last `capacity` values put into it.
template <class T>
class RecentSet {
 public:
  explicit RecentSet(std::size_t capacity) : capacity_(capacity) {}

  void insert(const T& value) {
    if (!values_.insert(value).second) return;
    order_.push_back(value);
    if (order_.size() <= capacity_) return;
    values_.erase(order_.front());
    order_.pop_front();
  }

  [[nodiscard]] bool contains(const T& value) const { return values_.contains(value); }

 private:
  std::size_t capacity_;
  std::set<T> values_;
  std::deque<T> order_;
};

}  // namespace pa
