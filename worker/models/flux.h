#pragma once

#include <memory>
#include <vector>

#include "shared/models/flux_blueprint.h"
#include "worker/models/network.h"
#include "worker/models/weights.h"

namespace pa {

/// The FLUX.1 network (black-forest-labs/flux, as ComfyUI's comfy/ldm/flux runs it), of any size.
///
/// Rows: x [R, in_channels, h, w], any h and w: padded to whole patches by wrapping around, and the
/// answer cropped. sigma [R], 0 to 1. Inputs, F32: context [R, T, context_in_dim], y [R, vec_in_dim],
/// and guidance [R] if the network has an embedding for it. Answer: the velocity, noise - data,
/// [R, out_channels, h, w].
///
/// Computes in the weights' dtype (the answer is F32 in any case). Norms, softmax statistics and
/// rotary positions are F32 always.
///
/// `weights` are those of flux_blueprint(config), and must outlive the network.
[[nodiscard]] std::unique_ptr<Network> make_flux(const Weights& weights, const FluxConfig& config,
                                                 std::vector<InputSpec> inputs);

}  // namespace pa
