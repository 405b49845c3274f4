#pragma once

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>

namespace pa::cli {

/// Numbers as text, as printf() writes them; 95 characters at most.
template <class... Numbers>
[[nodiscard]] std::string formatted(const char* format, Numbers... numbers) {
  std::array<char, 96> text{};
  const int length = std::snprintf(text.data(), text.size(), format, numbers...);
  return {text.data(), std::min(text.size() - 1, static_cast<std::size_t>(std::max(length, 0)))};
}

}  // namespace pa::cli
