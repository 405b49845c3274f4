#include "shared/core/units.h"

#include <array>
#include <charconv>
#include <cmath>

namespace pa {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t size;
};

constexpr std::array<Unit, 7> kTimes{{{"ns", 1},
                                      {"us", 1'000},
                                      {"ms", 1'000'000},
                                      {"s", 1'000'000'000},
                                      {"m", 60'000'000'000},
                                      {"h", 3'600'000'000'000},
                                      {"d", 86'400'000'000'000}}};
constexpr std::int64_t kLongest = std::int64_t{100} * 365 * kTimes[6].size;

constexpr std::array<Unit, 9> kSizes{{{"B", 1},
                                      {"KiB", std::int64_t{1} << 10},
                                      {"MiB", std::int64_t{1} << 20},
                                      {"GiB", std::int64_t{1} << 30},
                                      {"TiB", std::int64_t{1} << 40},
                                      {"kB", 1'000},
                                      {"MB", 1'000'000},
                                      {"GB", 1'000'000'000},
                                      {"TB", 1'000'000'000'000}}};

/// `text` in the smallest unit, if it is a decimal number and one of `units`; fractions of the
/// smallest unit are given in `fraction`.
template <std::size_t N>
std::optional<std::int64_t> parse(std::string_view text, const std::array<Unit, N>& units,
                                  double& fraction) {
  const std::size_t digits = text.find_first_not_of("0123456789.");
  if (digits == 0 || digits == std::string_view::npos) return std::nullopt;
  const std::string_view number = text.substr(0, digits);
  const std::string_view name = text.substr(digits);
  for (const Unit& unit : units) {
    if (unit.name != name) continue;
    const char* const end = number.data() + number.size();
    fraction = 0;
    std::int64_t whole = 0;
    if (const auto parsed = std::from_chars(number.data(), end, whole);
        parsed.ec == std::errc{} && parsed.ptr == end) {
      if (__builtin_mul_overflow(whole, unit.size, &whole)) return std::nullopt;
      return whole;
    }
    double value = 0;
    const auto parsed = std::from_chars(number.data(), end, value, std::chars_format::fixed);
    value *= static_cast<double>(unit.size);
    if (parsed.ec != std::errc{} || parsed.ptr != end || value >= 0x1p63) return std::nullopt;
    fraction = value - std::floor(value);
    return static_cast<std::int64_t>(std::floor(value));
  }
  return std::nullopt;
}

}  // namespace

std::optional<Duration> parse_duration(std::string_view text) {
  double fraction = 0;
  const std::optional<std::int64_t> count = parse(text, kTimes, fraction);
  if (!count || *count > kLongest) return std::nullopt;
  return Duration{*count + (fraction >= 0.5 ? 1 : 0)};
}

std::string format_duration(Duration duration) {
  const std::int64_t count = duration.count();
  if (count == 0) return "0s";
  for (std::size_t i = kTimes.size() - 1;; --i) {
    if (count % kTimes[i].size == 0) {
      return std::to_string(count / kTimes[i].size).append(kTimes[i].name);
    }
  }
}

std::optional<std::uint64_t> parse_bytes(std::string_view text) {
  double fraction = 0;
  const std::optional<std::int64_t> bytes = parse(text, kSizes, fraction);
  if (!bytes || fraction != 0) return std::nullopt;
  return static_cast<std::uint64_t>(*bytes);
}

std::string format_bytes(std::uint64_t bytes) {
  constexpr std::size_t kLargestBinary = 4;
  for (std::size_t i = kLargestBinary;; --i) {
    const auto size = static_cast<std::uint64_t>(kSizes[i].size);
    if (i == 0 || (bytes != 0 && bytes % size == 0)) {
      return std::to_string(bytes / size).append(kSizes[i].name);
    }
  }
}

std::string format_number(double value) {
  constexpr double kPlain = 1e15;
  std::array<char, 32> text{};
  char* const end = text.data() + text.size();
  const bool plain = value == std::floor(value) && std::fabs(value) < kPlain;
  const auto written = plain ? std::to_chars(text.data(), end, static_cast<std::int64_t>(value))
                             : std::to_chars(text.data(), end, value);
  return {text.data(), written.ptr};
}

}  // namespace pa
