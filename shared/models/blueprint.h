#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/core/tensor_spec.h"

namespace pa {

/// Whose names a file's tensors have: those of the network's makers, which ComfyUI keeps, or those
/// of the diffusers library, which splits some tensors and orders some rows otherwise.
enum class Naming : std::uint8_t { kOriginal, kDiffusers };

/// Rows of a parameter as diffusers stores them: rows [first_row, first_row + rows) of a tensor that
/// has `of_rows`.
struct Part {
  std::string name;
  std::int64_t first_row = 0;
  std::int64_t rows = 0;
  std::int64_t of_rows = 0;
};

/// A weight of a network. Names are the original ones.
struct Parameter {
  std::string name;
  Shape shape;
  std::vector<Part> diffusers;  ///< Its rows, in order; empty: the tensor has the original name.
};

/// A part of a layer by its diffusers name, without ".weight": so many of the layer's rows.
using LayerPart = std::pair<std::string, std::int64_t>;

/// Every parameter of a network, in the order in which it is used.
class Blueprint {
 public:
  /// A parameter of one name in each naming; `diffusers` may be empty for the original one.
  void add(const std::string& name, const Shape& shape, const std::string& diffusers = {});

  /// NAME.weight [out, in] and, if `bias`, NAME.bias [out].
  void linear(const std::string& name, std::int64_t out, std::int64_t in, bool bias,
              const std::vector<LayerPart>& diffusers = {});
  /// As linear() with parts whose rows may stand anywhere in their tensors.
  void linear_of_parts(const std::string& name, std::int64_t out, std::int64_t in, bool bias,
                       const std::vector<Part>& diffusers);
  /// NAME.weight [out, in, size, size] and NAME.bias [out].
  void convolution(const std::string& name, std::int64_t out, std::int64_t in, std::int64_t size,
                   const std::string& diffusers = {});
  /// NAME.weight [size] and NAME.bias [size].
  void norm(const std::string& name, std::int64_t size, const std::string& diffusers = {});

  [[nodiscard]] const std::vector<Parameter>& parameters() const { return parameters_; }
  /// nullptr if there is none.
  [[nodiscard]] const Parameter* find(std::string_view name) const;
  /// Elements of all parameters.
  [[nodiscard]] std::int64_t elements() const;

 private:
  std::vector<Parameter> parameters_;
  std::map<std::string, std::size_t, std::less<>> by_name_;
};

}  // namespace pa
