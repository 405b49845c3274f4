#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <span>

namespace pa {

/// What a seeded CPU generator of torch gives in calls of torch.randn, float32, one after the other; but parts of a
/// draw can be made without the rest of it, and draws left out, at the cost of stepping the generator alone (a third
/// of a nanosecond a value). Equal to torch.randn bit for bit.
///
/// torch fills a tensor in blocks of 16 values, and if its size is no multiple of 16 draws the last 16 anew; below 16
/// values it draws them one by one.
class TorchRandn {
 public:
  /// Of the seed, the low 32 bits count.
  explicit TorchRandn(std::uint64_t seed);

  /// Passes over `times` draws of `size` values each.
  void skip(std::int64_t size, std::int64_t times = 1);

  /// Values [begin, begin + out.size()) of a draw of `size` values, which is passed over with that.
  void draw(std::int64_t size, std::int64_t begin, std::span<float> out);

 private:
  void step_over(std::int64_t values);
  void fill(std::span<float> out);  // A multiple of 16 values, or a whole small draw.

  at::Generator generator_;
};

}  // namespace pa
