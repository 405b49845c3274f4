#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "shared/core/model_info.h"
#include "shared/core/result.h"
#include "worker/models/network.h"

namespace pa {

/// What an exported network is called with: x, timestep, and the inputs in the contract's order.
///
/// Errors: kInvalid, an input is missing.
[[nodiscard]] Result<std::vector<at::Tensor>> plugin_arguments(const Rows& rows,
                                                               const std::vector<InputSpec>& inputs,
                                                               at::ScalarType dtype);

/// The answer as a network gives it: F32, contiguous.
///
/// Errors: kInvalid, it has not the shape of x.
[[nodiscard]] Result<at::Tensor> plugin_answer(const at::Tensor& answer, const Rows& rows);

}  // namespace pa
