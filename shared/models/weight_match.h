#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shared/core/result.h"
#include "shared/models/blueprint.h"
#include "shared/models/weight_index.h"

namespace pa {

/// Rows of a stored tensor that are rows of a parameter.
struct WeightPiece {
  const StoredTensor* tensor = nullptr;
  std::int64_t first_row = 0;
  std::int64_t rows = 0;
  /// F32, one value: the rows are to be multiplied by it. nullptr: as they are.
  const StoredTensor* scale = nullptr;
};

/// Where a parameter is: its rows, in order.
struct ParameterSource {
  const Parameter* parameter = nullptr;
  std::vector<WeightPiece> pieces;
};

/// A network's parameters, found among a file's tensors.
struct WeightMatch {
  std::vector<ParameterSource> sources;  ///< In the blueprint's order; of those that were found.
  /// In words, a tensor each: missing ones, with the nearest name that has no place; misshapen ones,
  /// with what was expected; ones that are stored in a way that cannot be read; ones too many.
  std::vector<std::string> problems;

  /// kInvalid with the problems, a line each.
  [[nodiscard]] Status status() const;
};

/// Matches names, shapes and dtypes; reads nothing but the descriptions of quantised tensors.
///
/// Taken are F64, F32, F16, BF16, F8_E4M3 and F8_E5M2; the latter two also with a scale, as
/// LAYER.scale_weight beside a tensor `scaled_fp8`, or as LAYER.weight_scale with a LAYER.comfy_quant
/// that says float8_e4m3fn. Other quantisations are refused, with what to do instead.
///
/// `blueprint` and `weights` must outlive what is returned.
[[nodiscard]] WeightMatch match_weights(const Blueprint& blueprint, const WeightIndex& weights,
                                        Naming naming);

/// As match_weights(), of temporaries nothing.
WeightMatch match_weights(const Blueprint&& blueprint, const WeightIndex& weights,
                          Naming naming) = delete;

}  // namespace pa
