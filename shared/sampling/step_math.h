#pragma once

#include <functional>
#include <span>
#include <vector>

#include "shared/sampling/prediction.h"

/// Scalars that several samplers need. All in double.
namespace pa {

/// The exponential integrator functions: phi_0(x) = e^x, phi_k(x) = (phi_{k-1}(x) - 1/(k-1)!) / x.
[[nodiscard]] double phi(int k, double x);

/// Where an ancestral step goes without noise, and what then brings it to its noise level:
/// x <- scale * (x at `down`) + up * unit noise.
struct AncestralSplit {
  double down = 0;
  double scale = 1;
  double up = 0;
};

/// For a step from a to b, b < a, in a process that only adds noise: down^2 + up^2 = b^2. eta = 0 adds
/// none; eta = 1 makes it the posterior of the forward process (k-diffusion). `a` may be infinite.
[[nodiscard]] AncestralSplit ancestral_split(double a, double b, double eta);

/// The same in the process of a prediction type; for flows as ComfyUI has it.
[[nodiscard]] AncestralSplit ancestral_split(const Prediction& prediction, double a, double b,
                                             double eta);

/// The sigmas, with a first one of 1 or more on flows, where lambda is infinite, replaced by that at
/// 1e-4 of the schedule, rounded to float32 as all sigmas are (ComfyUI).
[[nodiscard]] std::vector<double> with_finite_lambda(const Prediction& prediction,
                                                     std::span<const double> sigmas);

/// The j-th Lagrange polynomial of `nodes` at u: 1 at node j, 0 at the others.
[[nodiscard]] double lagrange(std::span<const double> nodes, std::size_t j, double u);

/// The integral of f over [a, b] by 24 Gauss-Legendre points: exact to rounding for smooth f.
[[nodiscard]] double integrate(double a, double b, const std::function<double(double)>& f);

/// Integrals over [a, b] of weight(u) times each Lagrange polynomial of `nodes`, by 24 Gauss-Legendre
/// points. `weight` may be null, for 1.
[[nodiscard]] std::vector<double> adams_weights(std::span<const double> nodes, double a, double b,
                                                const std::function<double(double)>& weight);

/// values[i], values[i - 1], ...: `count` of them, newest first.
[[nodiscard]] std::vector<double> newest(std::span<const double> values, std::size_t i,
                                         std::size_t count);

/// The solution of a small dense system by elimination with pivots; `matrix` by rows. Not finite if
/// the matrix is singular.
[[nodiscard]] std::vector<double> solve(std::vector<std::vector<double>> matrix,
                                        std::vector<double> rhs);

}  // namespace pa
