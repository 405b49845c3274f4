#pragma once

#include <vector>

namespace pa {

/// Something that a Loop sleeps on.
class Pollable {
 public:
  virtual ~Pollable() = default;

  /// Appends the descriptors that become readable when there may be something to do.
  virtual void descriptors(std::vector<int>& out) const = 0;

  /// True if there is something to do already. The loop asks right before it sleeps, since a
  /// descriptor may tell of changes only.
  [[nodiscard]] virtual bool ready() = 0;

  /// Called after the sleep, before its end is told.
  virtual void woken() {}
};

}  // namespace pa
