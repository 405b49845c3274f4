#pragma once

#include <cstddef>

// Marks what a CUDA kernel may call too; the CPU path runs the same code.
#ifdef __CUDACC__
#define PA_HOST_DEVICE __host__ __device__
#else
#define PA_HOST_DEVICE
#endif

/// The arithmetic of sampling, element by element, in float32. A row's bits depend on its own terms,
/// in their order, and on nothing else.
namespace pa {

/// weight * value, added to what the terms before it gave; the first term starts from zero.
PA_HOST_DEVICE inline float add_term(float sum, float weight, float value) {
  return sum + weight * value;
}

/// Classifier-free guidance (Ho, Salimans 2022), as ComfyUI rounds it.
PA_HOST_DEVICE inline float guided(float positive, float negative, float cfg) {
  return negative + (positive - negative) * cfg;
}

/// One term of a linear combination on the CPU.
struct RowTerm {
  const float* values = nullptr;
  float weight = 0;
};

/// Values that a combination works on at a time: a few such blocks stay in the first-level cache.
inline constexpr std::size_t kCombineBlock = 1024;

/// out[k] = sum of terms[0] to terms[N - 1].
template <std::size_t N>
inline void combine_few(float* __restrict out, const RowTerm* terms, std::size_t count) {
  for (std::size_t k = 0; k < count; ++k) {
    float sum = 0.0F;
    for (std::size_t t = 0; t < N; ++t) sum = add_term(sum, terms[t].weight, terms[t].values[k]);
    out[k] = sum;
  }
}

/// out[k] = sum of terms, for `count` elements. `out` is a buffer of its own.
inline void combine_block(float* __restrict out, const RowTerm* terms, std::size_t term_count,
                          std::size_t count) {
  switch (term_count) {
    case 1:
      return combine_few<1>(out, terms, count);
    case 2:
      return combine_few<2>(out, terms, count);
    case 3:
      return combine_few<3>(out, terms, count);
    case 4:
      return combine_few<4>(out, terms, count);
    default:
      break;
  }
  for (std::size_t k = 0; k < count; ++k) out[k] = 0.0F;
  for (std::size_t t = 0; t < term_count; ++t) {
    for (std::size_t k = 0; k < count; ++k) {
      out[k] = add_term(out[k], terms[t].weight, terms[t].values[k]);
    }
  }
}

}  // namespace pa
