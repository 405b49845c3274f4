#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace pa {

/// Edits that turn `a` into `b`: insertions, deletions, substitutions and swaps of neighbours, one each
/// (optimal string alignment). Letter case counts as half an edit less: "Euler" is nearer to "euler" than "eule" is.
/// O(a.size() * b.size()).
[[nodiscard]] double edit_distance(std::string_view a, std::string_view b);

/// The candidate with the smallest edit distance to `name`, ties to the earlier one; empty if there is none or if even
/// the nearest differs in more than half of the letters. Views into `candidates`.
[[nodiscard]] std::string_view nearest(std::string_view name,
                                       std::span<const std::string> candidates);

/// What to append to "there is no X called NAME": "; did you mean 'Y'? There are: A, B, Y." Leaves out the question if
/// nothing is near; "; there are none." without candidates. Lists at most `limit`, then how many more there are.
[[nodiscard]] std::string suggestion(std::string_view name, std::span<const std::string> candidates,
                                     std::size_t limit = 60);

}  // namespace pa
