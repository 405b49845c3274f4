#include "shared/core/names.h"

#include <charconv>
#include <string>

namespace pa {
namespace {

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_index(std::string_view text) {
  unsigned index = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, index);
  const bool leading_zero = text.size() > 1 && text.front() == '0';
  return parsed.ec == std::errc{} && parsed.ptr == end && !leading_zero && index <= 255;
}

}  // namespace

Status check_worker_name(std::string_view name) {
  bool good = !name.empty() && name.size() <= 64 && is_letter_or_digit(name.front());
  for (const char c : name) {
    good = good && (is_letter_or_digit(c) || c == '.' || c == '_' || c == ':' || c == '-');
  }
  if (good) return {};
  return invalid(
      "expected a worker's name: 1 to 64 letters, digits, '.', '_', ':' or '-', beginning with a "
      "letter or digit");
}

Status check_name_pattern(std::string_view pattern) {
  if (pattern == "*") return {};
  if (pattern.ends_with('*')) pattern.remove_suffix(1);
  if (check_worker_name(pattern).ok()) return {};
  return invalid("expected a name, or the beginning of one and a '*', as in box2:*");
}

bool matches_name(std::string_view pattern, std::string_view name) {
  if (!pattern.ends_with('*')) return pattern == name;
  return name.starts_with(pattern.substr(0, pattern.size() - 1));
}

Status check_device(std::string_view device) {
  if (device == "cpu" || device == "mps") return {};
  for (const std::string_view kind : {"cuda:", "xpu:"}) {
    if (device.starts_with(kind) && is_index(device.substr(kind.size()))) return {};
  }
  return invalid("expected cpu, mps, cuda:N or xpu:N, as in cuda:0");
}

}  // namespace pa
