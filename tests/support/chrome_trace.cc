#include "tests/support/chrome_trace.h"

namespace pa {
namespace {

/// Names here hold neither quotes nor backslashes.
std::string member(const std::string& key, const std::string& value) {
  return "\"" + key + "\": \"" + value + "\"";
}

}  // namespace

void ChromeTrace::add(const std::string& row, const std::string& name, double begin, double end,
                      const std::string& detail) {
  const int thread = rows_.emplace(row, static_cast<int>(rows_.size())).first->second;
  events_ += (events_.empty() ? "" : ",\n") + std::string("{\"ph\": \"X\", \"pid\": 1, \"tid\": ") +
             std::to_string(thread) + ", " + member("name", name) +
             ", \"ts\": " + std::to_string(begin * 1e6) +
             ", \"dur\": " + std::to_string((end - begin) * 1e6) + ", \"args\": {" +
             member("detail", detail) + "}}";
}

std::string ChromeTrace::json() const {
  std::string names;
  for (const auto& [row, thread] : rows_) {
    names += ",\n{\"ph\": \"M\", \"pid\": 1, \"tid\": " + std::to_string(thread) +
             ", \"name\": \"thread_name\", \"args\": {" + member("name", row) + "}}";
  }
  return "{\"traceEvents\": [\n" + events_ + names + "\n]}\n";
}

}  // namespace pa
