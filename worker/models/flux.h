#pragma once

#include <c10/core/ScalarType.h>

#include <memory>

#include "shared/core/result.h"
#include "worker/models/flux_config.h"
#include "worker/models/network.h"

namespace pa {

/// The FLUX.1 network (black-forest-labs/flux, as ComfyUI's comfy/ldm/flux runs it), of any size.
///
/// Rows: x [R, in_channels, h, w], any h and w: padded to whole patches by wrapping around, and the
/// answer cropped. sigma [R], 0 to 1. Inputs, F32: context [R, T, context_in_dim], y [R, vec_in_dim],
/// and guidance [R] if the network has an embedding for it. Answer: the velocity, noise - data,
/// [R, out_channels, h, w].
///
/// Computes in `dtype` (the answer is F32 in any case). Norms and rotary positions are F32 always.
///
/// Errors: kInvalid if the weights are not those of `config`: every tensor missing, misshapen or
/// left over is named.
[[nodiscard]] Result<std::unique_ptr<Network>> make_flux(WeightReader& weights,
                                                         const FluxConfig& config,
                                                         c10::ScalarType dtype);

}  // namespace pa
