#pragma once

#include <memory>

#include "shared/core/model_info.h"
#include "shared/models/analytic_denoiser.h"
#include "worker/models/network.h"

namespace pa {

/// The exact denoiser of such data, as a network of any of the prediction types: for tests,
/// benchmarks and capacity planning. No weights, any shape. Its input `mu`, a number a row, moves all
/// centres.
///
/// With x = alpha * data + sigma * noise, S = alpha^2 v + sigma^2 and r = x - alpha (mu + c):
///   D = sum of q (mu + c + alpha v / S r) / sum of q,  q = w S^-1/2 exp(-r^2 / 2S)
/// which is Bayes' rule for a normal likelihood. Computed in float64; the answer that means D is
/// rounded to float32.
///
/// sampling: of any prediction type; its sigma_data counts, its table does not.
[[nodiscard]] std::unique_ptr<Network> make_analytic(AnalyticDenoiser denoiser,
                                                     SamplingInfo sampling);

}  // namespace pa
