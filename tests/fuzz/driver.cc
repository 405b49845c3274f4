// Runs a fuzz target where there is no libFuzzer: the corpus as it is, then inputs mutated from it,
// from a seed. Takes the options of libFuzzer that are needed: -runs=N, -seed=N, folders and files.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;
using Input = std::vector<std::uint8_t>;

constexpr std::size_t kLongest = 1 << 16;

Input read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  /// An input of the corpus, changed in one to eight places.
  Input next(const std::vector<Input>& corpus) {
    Input input = corpus[below(corpus.size())];
    for (std::size_t changes = 1 + below(8); changes > 0; --changes) change(input, corpus);
    if (input.size() > kLongest) input.resize(kLongest);
    return input;
  }

 private:
  std::size_t below(std::size_t n) { return n == 0 ? 0 : random_() % n; }

  void change(Input& input, const std::vector<Input>& corpus) {
    const std::size_t at = below(input.size() + 1);
    const auto place = input.begin() + static_cast<std::ptrdiff_t>(at);
    const bool inside = at < input.size();
    switch (below(9)) {
      case 0:
        if (inside) *place = static_cast<std::uint8_t>(random_());
        break;
      case 1:
        if (inside) *place ^= static_cast<std::uint8_t>(1U << below(8));
        break;
      case 2:
        input.insert(place, static_cast<std::uint8_t>(random_()));
        break;
      case 3:
        if (inside) input.erase(place);
        break;
      case 4:
        input.resize(at);
        break;
      case 5: {  // A part of another input, put in.
        const Input& other = corpus[below(corpus.size())];
        const std::size_t from = below(other.size());
        const std::size_t count = below(std::min<std::size_t>(other.size() - from, 64) + 1);
        input.insert(place, other.begin() + static_cast<std::ptrdiff_t>(from),
                     other.begin() + static_cast<std::ptrdiff_t>(from + count));
        break;
      }
      case 6: {  // Numbers at the edges, as digits.
        static const std::vector<std::string> kTexts{"0",
                                                     "-1",
                                                     "18446744073709551615",
                                                     "9223372036854775807",
                                                     "4294967296",
                                                     "1e9",
                                                     "[",
                                                     "{",
                                                     "\"",
                                                     "}",
                                                     "]",
                                                     ",",
                                                     "null",
                                                     "\"F8_E4M3\"",
                                                     "\\u0000",
                                                     "__metadata__"};
        const std::string& text = kTexts[below(kTexts.size())];
        input.insert(place, text.begin(), text.end());
        break;
      }
      case 7:  // The length of the header.
        for (std::size_t i = 0; i < 8 && i < input.size(); ++i) {
          input[i] = static_cast<std::uint8_t>(i < 2 || below(8) == 0 ? random_() : 0);
        }
        break;
      default:  // The length that fits what is there.
        if (input.size() >= 8) {
          const std::uint64_t rest =
              input.size() - 8 - below(std::min<std::size_t>(input.size() - 8, 64) + 1);
          for (std::size_t i = 0; i < 8; ++i) input[i] = static_cast<std::uint8_t>(rest >> (8 * i));
        }
    }
  }

  std::mt19937_64 random_;
};

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t runs = 100000;
  std::uint64_t seed = 1;
  std::vector<Input> corpus;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with("-runs=")) {
      runs = std::strtoull(argv[i] + 6, nullptr, 10);
    } else if (argument.starts_with("-seed=")) {
      seed = std::strtoull(argv[i] + 6, nullptr, 10);
    } else if (fs::is_directory(argument)) {
      for (const auto& entry : fs::directory_iterator(argument))
        corpus.push_back(read(entry.path()));
    } else {
      corpus.push_back(read(argument));
    }
  }
  if (corpus.empty()) corpus.emplace_back();
  for (const Input& input : corpus) LLVMFuzzerTestOneInput(input.data(), input.size());
  Mutator mutator(seed);
  for (std::uint64_t run = 0; run < runs; ++run) {
    const Input input = mutator.next(corpus);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%llu inputs of seed %llu, no finding\n", static_cast<unsigned long long>(runs),
              static_cast<unsigned long long>(seed));
  return 0;
}
