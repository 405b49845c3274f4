#pragma once

#include <memory>
#include <vector>

#include "shared/models/sdxl_blueprint.h"
#include "worker/models/network.h"
#include "worker/models/weights.h"

namespace pa {

/// The UNet of SDXL (Stability-AI/generative-models; as ComfyUI's openaimodel runs it), of any size.
///
/// Rows: x [R, in_channels, h, w] divided by sqrt(sigma^2 + 1), any h and w: what was halved is
/// brought back to the size it had. sigma [R]: the index of the noise level, 0 to 999. Inputs, F32:
/// context [R, T, context_dim], y [R, adm_in_channels]. Answer: what the model predicts, the noise
/// or v, [R, out_channels, h, w].
///
/// Computes in the weights' dtype (the answer is F32 in any case). Statistics of norms and softmax,
/// and time features, are F32 always.
///
/// `weights` are those of sdxl_blueprint(config), and must outlive the network.
[[nodiscard]] std::unique_ptr<Network> make_sdxl(const Weights& weights, const SdxlConfig& config,
                                                 std::vector<InputSpec> inputs);

}  // namespace pa
