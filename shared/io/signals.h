#pragma once

#include <optional>

#include "shared/io/descriptor.h"
#include "shared/io/pollable.h"

namespace pa {

/// SIGTERM, SIGINT and SIGHUP as something a loop takes one by one. SIGPIPE is ignored.
///
/// Make one before the first thread starts: threads inherit that these signals wait. So do child
/// processes; whoever starts some calls unblock_signals() in the child.
class Signals final : public Pollable {
 public:
  /// Aborts if the process is out of descriptors.
  Signals();

  /// The number of the next signal that came, if any.
  [[nodiscard]] std::optional<int> take();

  void descriptors(std::vector<int>& out) const override { out.push_back(fd_.get()); }
  bool ready() override { return false; }

 private:
  Descriptor fd_;
};

/// Undoes what Signals did to the calling thread. Safe between fork and exec.
void unblock_signals();

}  // namespace pa
