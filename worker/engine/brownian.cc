#include "worker/engine/brownian.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "worker/engine/seed_sequence.h"
#include "worker/engine/torch_randn.h"

namespace pa {
namespace {

/// Python's round(x, 6): the float64 nearest to the decimal nearest to x.
double rounded(double x) {
  std::array<char, 400> text{};
  std::snprintf(text.data(), text.size(), "%.6f", x);
  return std::strtod(text.data(), nullptr);
}

/// A part of the path: an interval of sigma that came about by halving `depth` times.
struct Node {
  double start = 0;
  double end = 0;
  std::uint64_t path = 0;  // Halves taken from the root on: 0 left, 1 right.
  std::uint64_t depth = 0;

  [[nodiscard]] double middle() const { return rounded(0.5 * (end + start)); }
  [[nodiscard]] Node left() const { return {start, middle(), 2 * path, depth + 1}; }
  [[nodiscard]] Node right() const { return {middle(), end, 2 * path + 1, depth + 1}; }
};

/// Sums up the increments of the largest whole nodes within [low, high].
class Walk {
 public:
  Walk(std::uint64_t seed, const NoisePlace& place, double low, double high)
      : seed_(seed), place_(place), low_(low), high_(high) {}

  /// `increment`: of the node, which overlaps [low, high]; given up to this. Nodes are visited from
  /// left to right.
  void visit(const Node& node, const at::Tensor& increment) {
    if (low_ <= node.start && node.end <= high_) {
      sum_ = sum_.defined() ? sum_.add_(increment) : increment;
      return;
    }
    const at::Tensor left = split(node, increment);  // The increment is now the right half's.
    if (low_ >= node.middle()) {
      visit(node.right(), increment);
    } else if (high_ <= node.middle()) {
      visit(node.left(), left);
    } else {
      visit(node.left(), left);
      visit(node.right(), increment);
    }
  }

  /// Returns the increment of a node's left half, and makes its own that of the right half. Float32,
  /// operation by operation as torchsde.
  [[nodiscard]] at::Tensor split(const Node& node, const at::Tensor& increment) const {
    const double inverse = 1.0 / (node.end - node.start);
    const double to_middle = node.middle() - node.start;
    const double from_middle = node.end - node.middle();
    const std::array<std::uint64_t, 2> key{node.path, node.depth};
    at::Tensor left = randn(seed_of(seed_, key));
    const auto spread = static_cast<float>(std::sqrt(to_middle * from_middle * inverse));
    const auto length = static_cast<float>(to_middle);
    const auto scale = static_cast<float>(inverse);
    float* const lefts = left.mutable_data_ptr<float>();
    float* const rights = increment.mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < left.numel(); ++i) {
      lefts[i] = rights[i] * length * scale + lefts[i] * spread;
      rights[i] -= lefts[i];
    }
    return left;
  }

  [[nodiscard]] at::Tensor randn(std::uint32_t seed) const {
    const at::Tensor out = at::empty(place_.row, at::kFloat);
    const std::int64_t size = out.numel();
    TorchRandn(seed).draw(size * place_.batch, size * place_.sample,
                          {out.mutable_data_ptr<float>(), static_cast<std::size_t>(size)});
    return out;
  }

  [[nodiscard]] const at::Tensor& sum() const { return sum_; }

 private:
  std::uint64_t seed_;
  const NoisePlace& place_;
  double low_;
  double high_;
  at::Tensor sum_;
};

}  // namespace

at::Tensor BrownianTree::noise(float from, float to, const NoisePlace& place) const {
  const Node root{rounded(double{sigma_min_}), rounded(double{sigma_max_}), 0, 0};
  const auto [low, high] = std::minmax({double{from}, double{to}});
  const double first = rounded(std::clamp(low, root.start, root.end));
  const double last = rounded(std::clamp(high, root.start, root.end));
  if (!(first < last)) return at::zeros(place.row, at::kFloat);

  Walk walk(seed_, place, first, last);
  const double length = double{sigma_max_} - double{sigma_min_};
  walk.visit(root, walk.randn(seed_of(seed_, {})).mul_(std::sqrt(length)));
  const float distance = std::sqrt(std::fabs(to - from));
  const float sign = from > to ? -1.0F : 1.0F;
  return walk.sum().mul(sign).div_(distance);
}

}  // namespace pa
