#include "shared/core/id.h"

#include <charconv>

namespace pa {
namespace {

void append_hex(std::string& out, std::uint64_t value) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (int shift = 60; shift >= 0; shift -= 4) out += kDigits[(value >> shift) & 15];
}

bool parse_hex(std::string_view text, std::uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

std::string to_string(const RequestId& id) {
  std::string text;
  text.reserve(32);
  append_hex(text, id.high);
  append_hex(text, id.low);
  return text;
}

std::optional<RequestId> parse_request_id(std::string_view text) {
  RequestId id;
  if (text.size() != 32 || !parse_hex(text.substr(0, 16), id.high) ||
      !parse_hex(text.substr(16), id.low)) {
    return std::nullopt;
  }
  return id;
}

}  // namespace pa
