#include "shared/io/log_format.h"

#include <array>
#include <charconv>
#include <cmath>
#include <ctime>
#include <optional>

#include "shared/core/utf8.h"

namespace pa {
namespace {

std::string pad(int value, std::size_t digits) {
  std::string text = std::to_string(value);
  return text.size() < digits ? std::string(digits - text.size(), '0') + text : text;
}

struct UtcTime {
  std::string date;  // 2026-01-02
  std::string time;  // 12:00:01.123
};

UtcTime utc(std::chrono::system_clock::time_point time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  const auto millis = std::chrono::floor<std::chrono::milliseconds>(time - seconds);
  const std::time_t whole = std::chrono::system_clock::to_time_t(seconds);
  std::tm parts{};
  ::gmtime_r(&whole, &parts);
  return {
      pad(parts.tm_year + 1900, 4) + "-" + pad(parts.tm_mon + 1, 2) + "-" + pad(parts.tm_mday, 2),
      pad(parts.tm_hour, 2) + ":" + pad(parts.tm_min, 2) + ":" + pad(parts.tm_sec, 2) + "." +
          pad(static_cast<int>(millis.count()), 3)};
}

void append_quoted(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

/// `text` as valid UTF-8 of at most about kLogValueBytes bytes.
std::string bounded(std::string_view text) {
  if (text.size() <= kLogValueBytes) return to_valid_utf8(text);
  std::size_t length = kLogValueBytes;
  while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;
  return to_valid_utf8(text.substr(0, length)) + "...";
}

bool needs_quotes(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7F || c == '"' || c == '=') return true;
  }
  return text.empty();
}

/// A number, true or false; nullopt for text, and for numbers that JSON does not have.
std::optional<std::string> bare(const LogValue& value) {
  if (const bool* flag = std::get_if<bool>(&value.get())) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<std::int64_t>(&value.get())) return std::to_string(*number);
  if (const auto* number = std::get_if<std::uint64_t>(&value.get())) return std::to_string(*number);
  const double* number = std::get_if<double>(&value.get());
  if (number == nullptr || !std::isfinite(*number)) return std::nullopt;
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), *number).ptr;
  return std::string(buffer.data(), end);
}

/// Text as it came, made valid; or the name of a number that is not finite.
std::string words(const LogValue& value) {
  if (const auto* text = std::get_if<std::string_view>(&value.get())) return bounded(*text);
  const double number = std::get<double>(value.get());
  if (std::isnan(number)) return "nan";
  return number > 0 ? "inf" : "-inf";
}

void append_text_field(std::string& out, std::string_view key, const LogValue& value) {
  out.append(" ").append(key).append("=");
  if (const auto number = bare(value)) {
    out += *number;
  } else if (const std::string text = words(value); needs_quotes(text)) {
    append_quoted(out, text);
  } else {
    out += text;
  }
}

void append_json_field(std::string& out, std::string_view key, const LogValue& value) {
  out += ',';
  append_quoted(out, to_valid_utf8(key));
  out += ':';
  if (const auto number = bare(value)) {
    out += *number;
  } else {
    append_quoted(out, words(value));
  }
}

void append_fields(std::string& out, const LogLine& line,
                   void (*append)(std::string&, std::string_view, const LogValue&)) {
  for (const LogField& field : line.fields) append(out, field.key, field.value);
  if (line.suppressed > 0) append(out, "suppressed", line.suppressed);
  if (line.last_of_burst) append(out, "limited", true);
}

}  // namespace

std::string format_log_text(const LogLine& line) {
  std::string out = utc(line.time).time;
  out.append(" ").append(kLogLevelNames[static_cast<std::size_t>(line.level)]);
  out.append(" ").append(to_valid_utf8(line.event));
  append_fields(out, line, append_text_field);
  return out;
}

std::string format_log_json(const LogLine& line) {
  const UtcTime time = utc(line.time);
  std::string out = R"({"ts":")" + time.date + "T" + time.time + R"(Z","level":")";
  out.append(kLogLevelNames[static_cast<std::size_t>(line.level)]).append(R"(","event":)");
  append_quoted(out, to_valid_utf8(line.event));
  append_fields(out, line, append_json_field);
  return out + "}";
}

}  // namespace pa
