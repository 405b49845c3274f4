#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "shared/core/model_info.h"
#include "shared/core/result.h"
#include "worker/models/network.h"
#include "worker/models/weights.h"

/// What the networks are made of.
namespace pa {

/// x W^T + b, over the last axis.
struct Linear {
  const at::Tensor* weight = nullptr;  ///< [out, in], or [out, in, 1, 1].
  const at::Tensor* bias = nullptr;    ///< [out]; nullptr: none.

  [[nodiscard]] at::Tensor operator()(const at::Tensor& x) const;
};

/// A two-dimensional convolution that pads with zeros, so that a stride of one keeps the size.
struct Convolution {
  const at::Tensor* weight = nullptr;  ///< [out, in, k, k].
  const at::Tensor* bias = nullptr;
  std::int64_t stride = 1;

  [[nodiscard]] at::Tensor operator()(const at::Tensor& x) const;
};

/// Two linear layers with an activation between them.
struct Mlp {
  Linear first;
  Linear second;
};

/// NAME.weight and, if the network has it, NAME.bias.
[[nodiscard]] Linear linear_of(const Weights& weights, const std::string& name);
[[nodiscard]] Convolution convolution_of(const Weights& weights, const std::string& name,
                                         std::int64_t stride = 1);

/// Checks x [R, channels, any, any], sigma [R] and every input of the contract, all F32.
///
/// Errors: kInvalid naming what is not as expected.
[[nodiscard]] Status check_rows(const Rows& rows, std::int64_t channels,
                                const std::vector<InputSpec>& inputs);

/// Sines and cosines of times, as DDPM and its followers have them: [R] -> [R, count] F32, cosines
/// first, at frequencies that fall geometrically from 1 to 1/10000. `count` is even.
class TimeFeatures {
 public:
  explicit TimeFeatures(std::int64_t count) : count_(count) {}
  [[nodiscard]] at::Tensor operator()(const at::Tensor& t);

 private:
  std::int64_t count_;
  at::Tensor frequencies_;
};

/// Pads height and width (axes 2 and 3) to multiples of `patch`, by wrapping around.
[[nodiscard]] at::Tensor padded_to(const at::Tensor& x, std::int64_t patch);

/// Tables of rotary positions (RoFormer; interleaved pairs) on a grid of image tokens beside a row of
/// text tokens: complex [tokens, 1, 1, D / 2] in F32, angles computed in F64.
class RotaryTables {
 public:
  /// Where the tokens are.
  struct Grid {
    std::int64_t high = 0;
    std::int64_t wide = 0;
    std::int64_t text = 0;
    friend bool operator==(const Grid&, const Grid&) = default;
  };

  /// `axes`: dimensions of each axis of a position, all even.
  RotaryTables(std::vector<std::int64_t> axes, double theta)
      : axes_(std::move(axes)), theta_(theta) {}

  /// The table of a grid, whose `positions` [tokens, axes] F64 are asked for if it is not kept.
  template <class Positions>
  const at::Tensor& of(const Grid& grid, c10::Device device, const Positions& positions) {
    if (const at::Tensor* const kept = find(grid)) return *kept;
    return keep(grid, device, positions());
  }

 private:
  struct Table {
    Grid grid;
    at::Tensor turns;
  };

  const at::Tensor* find(const Grid& grid);
  const at::Tensor& keep(const Grid& grid, c10::Device device, const at::Tensor& positions);

  std::vector<std::int64_t> axes_;
  double theta_;
  std::list<Table> tables_;  // Newest use first.
};

/// Positions (0, row, column) of a grid of tokens, row by row: [high * wide, 3] F64.
[[nodiscard]] at::Tensor grid_positions(std::int64_t high, std::int64_t wide);

/// Turns queries or keys [R, L, ..., H, D], F32 and contiguous, in place by a table of L positions.
void turn(const at::Tensor& x, const at::Tensor& turns);

}  // namespace pa
