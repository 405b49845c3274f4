#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace pa::cli {

/// SHA-256 in 64 hexadecimal digits.
[[nodiscard]] std::string sha256(std::span<const std::byte> bytes);

}  // namespace pa::cli
