#include "shared/io/json_reader.h"

#include <algorithm>
#include <exception>
#include <set>

#include "shared/core/nearest.h"

namespace pa::json {
namespace {

/// What stands there, in words, for "found ...".
std::string describe(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return value.empty() ? "an empty list" : "a list of " + std::to_string(value.size());
    case Json::value_t::string:
      return value.get_ref<const std::string&>().empty()
                 ? "empty text"
                 : "the text " + in_quotes(value.get_ref<const std::string&>());
    default:
      return value.dump();
  }
}

/// Whether `c` is inside a UTF-8 character, not at its beginning.
bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0u) == 0x80u; }

std::size_t characters(std::string_view text) {
  const auto continuations = std::count_if(text.begin(), text.end(), is_continuation);
  return text.size() - static_cast<std::size_t>(continuations);
}

/// The library's message without its bracketed class name.
std::string words_of(const std::exception& exception) {
  const std::string_view text = exception.what();
  const std::size_t bracket = text.find("] ");
  return std::string(bracket == std::string_view::npos ? text : text.substr(bracket + 2));
}

}  // namespace

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kShown = 60;
  std::size_t cut = std::min(text.size(), kShown);
  while (cut > 0 && cut < text.size() && is_continuation(text[cut])) --cut;
  std::string shown("'");
  shown += text.substr(0, cut);
  shown += cut < text.size() ? "...'" : "'";
  return shown;
}

std::string escaped(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (c == '~') {
      text += "~0";
    } else if (c == '/') {
      text += "~1";
    } else {
      text += c;
    }
  }
  return text;
}

std::string number_text(double value) {
  if (std::trunc(value) == value && std::abs(value) < 1e15) {
    return std::to_string(static_cast<std::int64_t>(value));
  }
  return Json(value).dump();
}

Result<Json> parse(std::string_view text) {
  std::vector<std::set<std::string>> fields;  // Of the objects that are open.
  std::string twice;
  const auto watch = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) {
      fields.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      fields.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto& name = value.get_ref<const std::string&>();
      if (!fields.back().insert(name).second && twice.empty()) twice = name;
    }
    return true;
  };
  try {
    Json document = Json::parse(text, watch);
    if (!twice.empty()) return invalid("the field " + in_quotes(twice) + " is given twice");
    return document;
  } catch (const std::exception& exception) {
    return invalid("not JSON: " + words_of(exception));
  }
}

void Verdict::fail(std::string field, std::string message) {
  if (!error_) error_ = invalid(std::move(message), std::move(field));
}

void Place::expected(const std::string& what) const {
  verdict.fail(pointer, "expected " + what + ", found " + describe(value));
}

void Place::read(bool& out) const {
  if (!value.is_boolean()) return expected("true or false");
  out = value.get<bool>();
}

void Place::read(double& out, double low, double high, bool above) const {
  const double number = value.is_number() ? value.get<double>() : low - 1;
  if (!(number >= low && number <= high) || (above && number <= low)) {
    return expected(above ? "a number above " + number_text(low) + ", up to " + number_text(high)
                          : "a number from " + number_text(low) + " to " + number_text(high));
  }
  out = number;
}

void Place::read(std::string& out, std::size_t min_characters, std::size_t max_characters) const {
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (const std::size_t n = characters(text); n >= min_characters && n <= max_characters) {
      out = text;
      return;
    }
  }
  expected("text of " + std::to_string(min_characters) + " to " + std::to_string(max_characters) +
           " characters");
}

void Place::read_integers(std::vector<std::int64_t>& out, std::size_t min, std::size_t max,
                          std::int64_t low, std::int64_t high) const {
  std::vector<std::int64_t> numbers;
  read_list(min, max, "integers",
            [&](const Place& place) { place.read_integer(numbers.emplace_back(), low, high); });
  out = std::move(numbers);
}

bool Place::is_list(std::size_t min, std::size_t max, const std::string& what) const {
  if (value.is_array() && value.size() >= min && value.size() <= max) return true;
  expected("a list of " + std::to_string(min) + (min == max ? "" : " to " + std::to_string(max)) +
           " " + what);
  return false;
}

Object::Object(const Place& place, std::span<const std::string> known) : place_(place) {
  if (!place.value.is_object()) {
    place.expected("an object");
    return;
  }
  for (const auto& [name, unused] : place.value.items()) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::string message = "unknown field " + in_quotes(name);
    if (const std::string_view near = nearest(name, known); !near.empty()) {
      message += "; did you mean " + in_quotes(near) + "?";
    }
    place.verdict.fail(pointer(name), std::move(message));
  }
}

std::string Object::pointer(std::string_view name) const {
  return place_.pointer + "/" + escaped(name);
}

bool Object::has(std::string_view name) const {
  return place_.value.is_object() && place_.value.contains(name);
}

void Object::require(std::string_view name, const std::string& what) const {
  if (place_.verdict.ok() && !has(name)) place_.verdict.fail(pointer(name), "missing: " + what);
}

}  // namespace pa::json
