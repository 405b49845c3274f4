#pragma once

#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

#include "shared/core/result.h"
#include "shared/sampling/program.h"

namespace pa {

/// A linear combination of the values of a Trace. It can be added and scaled and nothing else, so
/// what a sampler builds of it is linear, with weights that do not depend on any tensor.
class Expr {
 public:
  Expr() = default;  ///< Zero.

  Expr& operator+=(const Expr& other);
  Expr& operator*=(double scale);

  friend Expr operator+(Expr a, const Expr& b) { return a += b; }
  friend Expr operator-(Expr a, const Expr& b) { return a += -1.0 * b; }
  friend Expr operator*(double scale, Expr e) { return e *= scale; }
  friend Expr operator*(Expr e, double scale) { return e *= scale; }
  friend Expr operator/(Expr e, double scale) { return e *= 1.0 / scale; }

 private:
  friend class Trace;
  using Terms = std::vector<std::pair<int, double>>;  // (value, weight), each value once.
  explicit Expr(int value) : terms_{{value, 1.0}} {}
  Terms terms_;
};

/// Records what a sampler does while it runs once on symbols, and makes a Program of the record.
///
///   Trace trace;
///   Expr x = trace.start();
///   ...                          // x = a * x + b * trace.denoise(x, sigma, step)
///   return std::move(trace).finish(x, 0.0);
///
/// Each value is written once; finish() gives values slots, reused after a value's last use.
class Trace {
 public:
  struct Answers {
    Expr denoised;
    Expr uncond;  ///< The same as `denoised` if it was not wanted.
  };

  Trace();

  /// The x that enters.
  [[nodiscard]] Expr start() const { return Expr(0); }

  /// Ends the stage with `x` in a slot of its own, and begins the next by evaluating it at `sigma`.
  /// `step`: the step that begins here, or -1.
  Expr denoise(Expr& x, double sigma, int step = -1);
  Expr denoise(Expr&& x, double sigma, int step = -1) { return denoise(x, sigma, step); }

  /// As denoise(), and the unconditional answer too if `want_uncond`.
  Answers denoise_pair(Expr& x, double sigma, int step, bool want_uncond = true);

  /// Asks for unit noise. It is drawn even if a zero weight drops it.
  Expr noise(double from, double to);

  /// Gives `e` a slot of its own. For what later stages read more than once; otherwise expressions
  /// nest, and hold old slots.
  void keep(Expr& e);

  /// kInvalid if a weight or a noise level is not finite: these sigmas and options do not fit the sampler.
  [[nodiscard]] Result<Program> finish(Expr& x, double end_sigma) &&;

 private:
  struct Drawn {
    int value = 0;
    double from = 0;
    double to = 0;
  };
  struct Defined {
    int value = 0;
    Expr::Terms terms;  // In values that were there when the stage began.
  };
  /// What one stage does, in values instead of slots.
  struct Record {
    int step = -1;
    int input = -1;
    double sigma = 0;
    std::vector<int> answers;
    std::vector<Drawn> draws;
    std::vector<Defined> defined;
  };

  int new_value() { return count_++; }

  int count_ = 1;
  bool finite_ = true;
  std::vector<Record> records_;
};

}  // namespace pa
