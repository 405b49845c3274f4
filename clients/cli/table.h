#pragma once

#include <string>
#include <vector>

namespace pa::cli {

/// Text in columns, as wide as what is in them.
class Table {
 public:
  explicit Table(std::vector<std::string> header);

  /// As many cells as the header has.
  void add(std::vector<std::string> row);

  [[nodiscard]] std::string text() const;
  /// On standard output.
  void print() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace pa::cli
