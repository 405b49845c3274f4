#pragma once

#include <map>
#include <string>

namespace pa {

/// Collects what ran where and when, for a person to look at: JSON that chrome://tracing and Perfetto open.
class ChromeTrace {
 public:
  /// `row` has `name` from `begin` to `end` seconds; `detail` is shown when it is selected.
  void add(const std::string& row, const std::string& name, double begin, double end,
           const std::string& detail);

  [[nodiscard]] std::string json() const;

 private:
  std::map<std::string, int> rows_;
  std::string events_;
};

}  // namespace pa
