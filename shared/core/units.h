#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "shared/core/time.h"

/// Quantities as people write them in configuration files and on command lines: a number and a unit.
namespace pa {

/// "500ms", "1.5s", "10m", "2h": a number of ns, us, ms, s, m, h or d. nullopt if `text` is not one,
/// has no unit, is negative or exceeds 100 years.
[[nodiscard]] std::optional<Duration> parse_duration(std::string_view text);

/// The shortest text that parse_duration() reads as `duration`: "1500ms", "10m", "0s".
[[nodiscard]] std::string format_duration(Duration duration);

/// "8MiB", "1.5GiB", "512B", "4GB": a number of B, KiB, MiB, GiB, TiB, kB, MB, GB or TB. nullopt if
/// `text` is not one, has no unit, is negative, is no whole number of bytes or exceeds 2^63-1.
[[nodiscard]] std::optional<std::uint64_t> parse_bytes(std::string_view text);

/// The shortest text in binary units that parse_bytes() reads as `bytes`: "8MiB", "1500B".
[[nodiscard]] std::string format_bytes(std::uint64_t bytes);

/// The shortest decimal text that reads back as `value`; whole numbers below 10^15 plainly.
[[nodiscard]] std::string format_number(double value);

}  // namespace pa
