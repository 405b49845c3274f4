#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/core/result.h"

/// Strict reading of JSON values into plain ones, with errors that say where, what was expected and
/// what was found.
namespace pa::json {

using Json = nlohmann::ordered_json;

template <class T>
struct Named {
  std::string_view name;
  T value;
};

/// "'text'", shortened if long.
[[nodiscard]] std::string in_quotes(std::string_view text);

/// A step of a JSON pointer (RFC 6901).
[[nodiscard]] std::string escaped(std::string_view name);

/// Shortest text that reads back as the same number.
[[nodiscard]] std::string number_text(double value);

/// The document in `text`.
///
/// Errors: kInvalid if it is no JSON (with line and column) or gives a field twice.
[[nodiscard]] Result<Json> parse(std::string_view text);

/// The first thing wrong with a document; what comes after it is not looked at.
class Verdict {
 public:
  [[nodiscard]] bool ok() const { return !error_.has_value(); }
  /// Only if not ok().
  [[nodiscard]] const Error& error() const { return *error_; }
  void fail(std::string field, std::string message);

 private:
  std::optional<Error> error_;
};

/// One value and where it stands. A reader leaves `out` alone and fails the verdict if the value is
/// not what it wants.
struct Place {
  const Json& value;
  std::string pointer;
  Verdict& verdict;

  /// Fails: "expected WHAT, found ...".
  void expected(const std::string& what) const;

  void read(bool& out) const;
  /// A number in [low, high], or in (low, high] if `above`.
  void read(double& out, double low, double high, bool above = false) const;
  void read(std::string& out, std::size_t min_characters, std::size_t max_characters) const;
  /// An integer in [low, high]. As in JSON Schema, 3.0 is one.
  template <class T>
  void read_integer(T& out, T low, T high) const;
  /// One of the names.
  template <class T, std::size_t N>
  void read_name(T& out, const std::array<Named<T>, N>& names) const;
  /// `min` to `max` integers, each in [low, high].
  void read_integers(std::vector<std::int64_t>& out, std::size_t min, std::size_t max,
                     std::int64_t low, std::int64_t high) const;
  /// Calls `each(place)` for the elements of a list of `min` to `max` of them; `what` names them.
  template <class F>
  void read_list(std::size_t min, std::size_t max, const std::string& what, F each) const;

 private:
  template <class T>
  [[nodiscard]] std::optional<T> integer() const;
  [[nodiscard]] bool is_list(std::size_t min, std::size_t max, const std::string& what) const;
};

/// An object; fields other than the known ones fail the verdict, which then names the nearest known
/// one.
class Object {
 public:
  /// `place` must outlive it.
  Object(const Place& place, std::span<const std::string> known);

  [[nodiscard]] std::string pointer(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const;
  /// Fails if the field is absent; `what` says what it would be.
  void require(std::string_view name, const std::string& what) const;

  /// Calls `f(place)` if the field is there and nothing is wrong so far.
  template <class F>
  void with(std::string_view name, F f) const {
    if (place_.verdict.ok() && has(name)) {
      f(Place{place_.value[name], pointer(name), place_.verdict});
    }
  }
  /// The same, where null stands for absent.
  template <class F>
  void with_nullable(std::string_view name, F f) const {
    if (!has(name) || place_.value[name].is_null()) return;
    with(name, f);
  }

 private:
  const Place& place_;
};

// ----------------------------------------------------------------------------------- templates

template <class T>
std::optional<T> Place::integer() const {
  const auto narrowed = [](auto number) -> std::optional<T> {
    if (!std::in_range<T>(number)) return std::nullopt;
    return static_cast<T>(number);
  };
  if (value.is_number_unsigned()) return narrowed(value.get<std::uint64_t>());
  if (value.is_number_integer()) return narrowed(value.get<std::int64_t>());
  if (!value.is_number_float()) return std::nullopt;
  constexpr double kExact = 9007199254740992.0;  // 2^53: doubles beyond it skip integers.
  const auto number = value.get<double>();
  if (std::trunc(number) != number || std::abs(number) > kExact) return std::nullopt;
  return narrowed(static_cast<std::int64_t>(number));
}

template <class T>
void Place::read_integer(T& out, T low, T high) const {
  const std::optional<T> number = integer<T>();
  if (!number || *number < low || *number > high) {
    return expected("an integer from " + std::to_string(low) + " to " + std::to_string(high));
  }
  out = *number;
}

template <class T, std::size_t N>
void Place::read_name(T& out, const std::array<Named<T>, N>& names) const {
  std::string all;
  for (const auto& entry : names) {
    if (value.is_string() && value.get_ref<const std::string&>() == entry.name) {
      out = entry.value;
      return;
    }
    all += (all.empty() ? "" : ", ") + in_quotes(entry.name);
  }
  expected("one of " + all);
}

template <class F>
void Place::read_list(std::size_t min, std::size_t max, const std::string& what, F each) const {
  if (!is_list(min, max, what)) return;
  for (std::size_t i = 0; i < value.size() && verdict.ok(); ++i) {
    each(Place{value[i], pointer + "/" + std::to_string(i), verdict});
  }
}

}  // namespace pa::json
