#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "shared/core/model_info.h"
#include "shared/core/request.h"
#include "shared/core/result.h"
#include "shared/core/tensor_spec.h"
#include "shared/wire/messages.h"

namespace pa {

/// What one request may ask for, at most.
struct AdmissionLimits {
  std::int64_t max_samples = 4096;
  std::uint64_t max_request_bytes = 16ull << 30;  ///< Inputs and result together.
};

/// How the rows of an input tensor belong to samples.
enum class RowsOf : std::uint8_t {
  kAll,     ///< One row, for every sample.
  kSample,  ///< Row i is sample i's.
  kOne,     ///< The tensor is sample `only`'s alone.
};

struct AdmittedInput {
  TensorSpec spec;
  std::uint64_t offset = 0;     ///< In the concatenation input_layout() describes.
  std::uint64_t row_bytes = 0;  ///< Of one row; for kOne, of the whole tensor.
  RowsOf rows = RowsOf::kAll;
  std::size_t axis = 0;           ///< kSample: that of the samples; 1 in step_noise [K, N, ...].
  std::uint64_t groups = 1;       ///< kSample: how often there is a row for every sample,
  std::uint64_t group_bytes = 0;  ///< and the bytes of such a set.
  std::int64_t only = -1;
};

/// A request that is known to be runnable, with everything that follows from it before any byte has come.
struct Admitted {
  std::vector<AdmittedInput> inputs;
  std::uint64_t input_bytes = 0;   ///< Sum over the tensors: length of the input stream.
  std::uint64_t layout_bytes = 0;  ///< Length of the concatenation, gaps included.
  TensorSpec result;               ///< "samples" or "output", [N, ...] F32.
  std::uint64_t result_row_bytes = 0;
  std::int64_t steps_per_sample = 1;  ///< Sampler steps, for progress; 1 for forward.
  double passes_per_step = 1;         ///< Network evaluations of a step, on average.
  std::int64_t rows_per_sample = 1;   ///< Network rows of an evaluation: guidance asks for two.
};

/// Checks a request against limits, its model's input contract and the tensors announced with it.
///
/// Pure. Errors: kInvalid with the JSON pointer of the field (or "/tensors/NAME"), saying what was expected.
[[nodiscard]] Result<Admitted> admit(const Request& request,
                                     const std::vector<TensorEntry>& tensors,
                                     const ModelInfo& model, const AdmissionLimits& limits);

}  // namespace pa
