#include "worker/engine/seed_sequence.h"

#include <algorithm>
#include <vector>

namespace pa {
namespace {

constexpr std::size_t kPool = 24;

/// A hash whose constant changes with every word.
class Hash {
 public:
  std::uint32_t operator()(std::uint32_t word) {
    word ^= constant_;
    constant_ *= 0x931e8875U;
    word *= constant_;
    return word ^ (word >> 16);
  }

 private:
  std::uint32_t constant_ = 0x43b0d7e5U;
};

std::uint32_t mixed(std::uint32_t a, std::uint32_t b) {
  const std::uint32_t word = 0xca01f9ddU * a - 0x4973f715U * b;
  return word ^ (word >> 16);
}

/// Appends a number as words, lowest first, without leading zeros; at least one.
void append(std::vector<std::uint32_t>& words, std::uint64_t number) {
  words.push_back(static_cast<std::uint32_t>(number));
  if (number >> 32 != 0) words.push_back(static_cast<std::uint32_t>(number >> 32));
}

}  // namespace

std::uint32_t seed_of(std::uint64_t entropy, std::span<const std::uint64_t> spawn_key) {
  std::vector<std::uint32_t> words;
  append(words, entropy);
  words.resize(kPool, 0);
  for (const std::uint64_t number : spawn_key) append(words, number);

  Hash hash;
  std::array<std::uint32_t, kPool> pool{};
  for (std::size_t i = 0; i < kPool; ++i) pool[i] = hash(words[i]);
  for (std::size_t from = 0; from < kPool; ++from) {
    for (std::size_t to = 0; to < kPool; ++to) {
      if (from != to) pool[to] = mixed(pool[to], hash(pool[from]));
    }
  }
  for (std::size_t from = kPool; from < words.size(); ++from) {
    for (std::uint32_t& word : pool) word = mixed(word, hash(words[from]));
  }

  std::uint32_t seed = pool[0] ^ 0x8b51f9ddU;
  seed *= 0x8b51f9ddU * 0x58f38dedU;
  return seed ^ (seed >> 16);
}

}  // namespace pa
