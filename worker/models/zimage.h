#pragma once

#include <memory>
#include <vector>

#include "shared/models/zimage_blueprint.h"
#include "worker/models/network.h"
#include "worker/models/weights.h"

namespace pa {

/// The Z-Image network (Tongyi-MAI/Z-Image; as ComfyUI runs it in comfy/ldm/lumina), of any size.
///
/// Rows: x [R, in_channels, h, w], any h and w: padded to whole patches by wrapping around, and the
/// answer cropped. sigma [R], 0 to 1. Input: context [R, T, cap_feat_dim] F32; captions of other
/// lengths go into another pass. Answer: the velocity, noise - data (the negated prediction).
///
/// Computes in the weights' dtype (the answer is F32 in any case). Statistics of norms, softmax
/// statistics, times and rotary positions are F32 always.
///
/// `weights` are those of zimage_blueprint(config), and must outlive the network.
[[nodiscard]] std::unique_ptr<Network> make_zimage(const Weights& weights,
                                                   const ZImageConfig& config,
                                                   std::vector<InputSpec> inputs);

}  // namespace pa
