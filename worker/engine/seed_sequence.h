#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace pa {

/// numpy.random.SeedSequence(entropy, spawn_key=spawn_key, pool_size=24).generate_state(1)[0], which torchsde draws the
/// seeds of a Brownian tree's nodes from: O'Neill's hash of seeds (2015, "Developing a seed_seq alternative"), whose
/// pool is filled with the entropy's words and then mixed with those of the spawn key.
[[nodiscard]] std::uint32_t seed_of(std::uint64_t entropy,
                                    std::span<const std::uint64_t> spawn_key);

}  // namespace pa
