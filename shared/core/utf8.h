#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pa {

/// Bytes of the character that `text` begins with; 0 if it begins with no valid UTF-8 (Unicode 15,
/// table 3-7: no surrogates, no overlong forms) or is empty.
[[nodiscard]] std::size_t utf8_length(std::string_view text);

/// Position of the first byte that is not valid UTF-8; npos if there is none.
[[nodiscard]] std::size_t find_invalid_utf8(std::string_view text);

/// `text` with every byte that is not valid UTF-8 replaced by U+FFFD.
[[nodiscard]] std::string to_valid_utf8(std::string_view text);

/// `text`, or as much of it as fits `limit` bytes followed by "...". Does not split a character.
[[nodiscard]] std::string shortened(std::string_view text, std::size_t limit);

}  // namespace pa
