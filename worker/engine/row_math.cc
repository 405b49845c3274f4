#include "worker/engine/row_math.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "worker/engine/linear_combine.h"

namespace pa {
namespace {

using Block = std::array<float, kCombineBlock>;

// The same bits with wider registers where the CPU has them: no clone may fuse multiply and add.
#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
#define PA_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define PA_WIDE
#endif

constexpr std::size_t kGrain = 64 * kCombineBlock;  // Elements worth a thread of their own.

inline bool finite_block(const float* values, std::size_t count) {
  int bad = 0;
  for (std::size_t k = 0; k < count; ++k) bad |= std::fabs(values[k]) <= FLT_MAX ? 0 : 1;
  return bad == 0;
}

std::size_t elements(const at::Tensor& tensor) { return static_cast<std::size_t>(tensor.numel()); }

/// Calls work(begin, end) for parts of [0, size), on the threads that LibTorch uses within operators.
/// Whether all returned true.
template <class Work>
bool in_parts(std::size_t size, const Work& work) {
  std::atomic<bool> good = true;
  at::parallel_for(0, static_cast<std::int64_t>(size), static_cast<std::int64_t>(kGrain),
                   [&](std::int64_t begin, std::int64_t end) {
                     if (!work(static_cast<std::size_t>(begin), static_cast<std::size_t>(end))) {
                       good.store(false, std::memory_order_relaxed);
                     }
                   });
  return good.load();
}

/// Terms from element `begin` on, but for those whose values are at hand already.
struct UpdateTerms {
  float* out = nullptr;
  std::vector<RowTerm> terms;
  std::vector<const float*> whole;  // By term: its row, or null for a block that is at hand.
};

PA_WIDE bool combine_rows(float* out, const RowTerm* terms, std::size_t term_count,
                          std::size_t begin, std::size_t end) {
  Block block;
  std::array<RowTerm, 4> few;
  std::vector<RowTerm> many(term_count > few.size() ? term_count : 0);
  RowTerm* const here = many.empty() ? few.data() : many.data();
  bool finite = true;
  for (; begin < end; begin += kCombineBlock) {
    const std::size_t count = std::min(kCombineBlock, end - begin);
    for (std::size_t t = 0; t < term_count; ++t) {
      here[t] = {terms[t].values + begin, terms[t].weight};
    }
    combine_block(block.data(), here, term_count, count);
    finite = finite_block(block.data(), count) && finite;
    std::memcpy(out + begin, block.data(), count * sizeof(float));
  }
  return finite;
}

/// All updates for elements [begin, begin + count); every one is read before any is written.
inline void update_block(std::vector<UpdateTerms>& updates, std::vector<Block>& blocks,
                         std::size_t begin, std::size_t count) {
  for (std::size_t k = 0; k < updates.size(); ++k) {
    UpdateTerms& update = updates[k];
    for (std::size_t t = 0; t < update.terms.size(); ++t) {
      if (update.whole[t] != nullptr) update.terms[t].values = update.whole[t] + begin;
    }
    combine_block(blocks[k].data(), update.terms.data(), update.terms.size(), count);
  }
  for (std::size_t k = 0; k < updates.size(); ++k) {
    std::memcpy(updates[k].out + begin, blocks[k].data(), count * sizeof(float));
  }
}

PA_WIDE void update_rows(std::vector<UpdateTerms> updates, std::size_t begin, std::size_t end) {
  std::vector<Block> blocks(updates.size());
  for (; begin < end; begin += kCombineBlock) {
    update_block(updates, blocks, begin, std::min(kCombineBlock, end - begin));
  }
}

/// A StageRow as pointers.
struct StagePointers {
  std::array<RowTerm, 2> positive;  // x and the answer, weighed.
  std::array<RowTerm, 2> negative;
  bool guided = false;
  float cfg = 1;
  float* denoised = nullptr;  // Where to keep it, or null.
  float* uncond = nullptr;
  std::vector<UpdateTerms> updates;
  std::vector<std::pair<std::size_t, std::size_t>> of_denoised;  // Update and term that read it.
  std::vector<std::pair<std::size_t, std::size_t>> of_uncond;
};

PA_WIDE bool stage_rows(const StagePointers& row, std::size_t begin, std::size_t end) {
  std::vector<UpdateTerms> updates = row.updates;
  std::vector<Block> blocks(updates.size());
  Block positive;
  Block negative;
  for (const auto& [k, t] : row.of_denoised) updates[k].terms[t].values = positive.data();
  for (const auto& [k, t] : row.of_uncond) updates[k].terms[t].values = negative.data();
  const auto denoise = [&](Block& block, std::array<RowTerm, 2> terms, std::size_t count) {
    for (RowTerm& term : terms) term.values += begin;
    combine_few<2>(block.data(), terms.data(), count);
  };
  bool finite = true;
  for (; begin < end; begin += kCombineBlock) {
    const std::size_t count = std::min(kCombineBlock, end - begin);
    denoise(positive, row.positive, count);
    if (row.guided) {
      denoise(negative, row.negative, count);
      for (std::size_t k = 0; k < count; ++k) {
        positive[k] = guided(positive[k], negative[k], row.cfg);
      }
      if (row.uncond != nullptr) {
        std::memcpy(row.uncond + begin, negative.data(), count * sizeof(float));
      }
    }
    finite = finite_block(positive.data(), count) && finite;
    if (row.denoised != nullptr) {
      std::memcpy(row.denoised + begin, positive.data(), count * sizeof(float));
    }
    update_block(updates, blocks, begin, count);
  }
  return finite;
}

/// Where the slots of a row are, each contiguous.
class Slots {
 public:
  explicit Slots(const at::Tensor& slots)
      : first_(slots.mutable_data_ptr<float>()),
        stride_(slots.stride(0)),
        size_(elements(slots) / static_cast<std::size_t>(slots.size(0))) {}

  [[nodiscard]] float* at(int index) const { return first_ + index * stride_; }
  [[nodiscard]] std::size_t size() const { return size_; }  ///< Elements of one.

 private:
  float* first_;
  std::ptrdiff_t stride_;
  std::size_t size_;
};

UpdateTerms terms_of(const Update& update, const Slots& slots) {
  UpdateTerms terms;
  terms.out = slots.at(update.slot);
  for (const Term& term : update.terms) {
    const float* const whole = slots.at(term.slot);
    terms.terms.push_back({whole, static_cast<float>(term.weight)});
    terms.whole.push_back(whole);
  }
  return terms;
}

/// The steps of run_stage() one by one, by LibTorch's operators.
void run_stage_apart(const StageRow& row) {
  const Stage& stage = *row.stage;
  const at::Tensor x = row.slots.select(0, stage.input);
  const auto denoise = [&](const at::Tensor& to, const at::Tensor& answer) {
    const std::array<WeightedRow, 2> sum{
        {{row.scales.x_weight, x}, {row.scales.answer_weight, answer}}};
    combine(to, sum);
  };
  const at::Tensor denoised = row.slots.select(0, stage.denoised);
  denoise(denoised, row.positive);
  if (row.negative.defined()) {
    const at::Tensor uncond =
        stage.uncond >= 0 ? row.slots.select(0, stage.uncond) : at::empty_like(x);
    denoise(uncond, row.negative);
    guide(denoised, uncond, row.cfg);
  }
  for (const auto& [slot, noise] : row.noises) row.slots.select(0, slot).copy_(noise);
  update_slots(row.slots, stage.updates);
}

}  // namespace

bool combine(const at::Tensor& out, std::span<const WeightedRow> terms) {
  if (!out.is_cpu()) {
    at::Tensor sum = at::zeros_like(out);
    for (const WeightedRow& term : terms) sum.add_(term.row, term.weight);
    out.copy_(sum);
    return true;
  }
  std::vector<RowTerm> rows;
  for (const WeightedRow& term : terms) {
    rows.push_back({term.row.const_data_ptr<float>(), term.weight});
  }
  float* const data = out.mutable_data_ptr<float>();
  return in_parts(elements(out), [&](std::size_t begin, std::size_t end) {
    return combine_rows(data, rows.data(), rows.size(), begin, end);
  });
}

void update_slots(const at::Tensor& slots, std::span<const Update> updates) {
  if (!slots.is_cpu()) {
    std::vector<at::Tensor> results;
    for (const Update& update : updates) {
      at::Tensor& sum = results.emplace_back(at::zeros_like(slots[0]));
      for (const Term& term : update.terms) {
        sum.add_(slots.select(0, term.slot), static_cast<float>(term.weight));
      }
    }
    for (std::size_t k = 0; k < updates.size(); ++k) {
      slots.select(0, updates[k].slot).copy_(results[k]);
    }
    return;
  }
  const Slots here(slots);
  std::vector<UpdateTerms> terms;
  for (const Update& update : updates) terms.push_back(terms_of(update, here));
  in_parts(here.size(), [&](std::size_t begin, std::size_t end) {
    update_rows(terms, begin, end);
    return true;
  });
}

bool run_stage(const StageRow& row) {
  if (!row.slots.is_cpu()) {
    run_stage_apart(row);
    return true;
  }
  const Stage& stage = *row.stage;
  const Slots slots(row.slots);
  const auto kept = [&](int index) {
    return index >= 0 && (*row.kept)[static_cast<std::size_t>(index)] ? slots.at(index) : nullptr;
  };
  StagePointers here;
  const RowTerm x{slots.at(stage.input), row.scales.x_weight};
  const at::Tensor positive = row.positive.contiguous();
  here.positive = {{x, {positive.const_data_ptr<float>(), row.scales.answer_weight}}};
  at::Tensor negative;
  if (row.negative.defined()) {
    negative = row.negative.contiguous();
    here.negative = {{x, {negative.const_data_ptr<float>(), row.scales.answer_weight}}};
    here.guided = true;
    here.cfg = row.cfg;
    here.uncond = kept(stage.uncond);
  }
  here.denoised = kept(stage.denoised);
  std::map<int, const float*> noise_of;
  std::vector<at::Tensor> noises;  // Keeps them alive.
  for (const auto& [index, noise] : row.noises) {
    noises.push_back(noise.contiguous());
    noise_of[index] = noises.back().const_data_ptr<float>();
    if (float* const to = kept(index))
      std::memcpy(to, noise_of[index], slots.size() * sizeof(float));
  }
  for (const Update& update : stage.updates) {
    if (kept(update.slot) == nullptr) continue;
    const std::size_t k = here.updates.size();
    UpdateTerms& terms = here.updates.emplace_back(terms_of(update, slots));
    for (std::size_t t = 0; t < update.terms.size(); ++t) {
      const int read = update.terms[t].slot;
      if (const auto noise = noise_of.find(read); noise != noise_of.end()) {
        terms.whole[t] = noise->second;
      } else if (read == stage.denoised) {
        terms.whole[t] = nullptr;
        here.of_denoised.emplace_back(k, t);
      } else if (here.guided && read == stage.uncond) {
        terms.whole[t] = nullptr;
        here.of_uncond.emplace_back(k, t);
      }
    }
  }
  return in_parts(slots.size(),
                  [&](std::size_t begin, std::size_t end) { return stage_rows(here, begin, end); });
}

void copy_scaled(const at::Tensor& to, const at::Tensor& from, float scale) {
  if (scale == 1.0F) {
    to.copy_(from);
    return;
  }
  const std::array<WeightedRow, 1> term{{{scale, from}}};
  combine(to, term);
}

void guide(const at::Tensor& positive, const at::Tensor& negative, float cfg) {
  if (!positive.is_cpu()) {
    positive.sub_(negative).mul_(cfg).add_(negative);
    return;
  }
  float* const to = positive.mutable_data_ptr<float>();
  const float* const from = negative.const_data_ptr<float>();
  for (std::size_t k = 0; k < elements(positive); ++k) to[k] = guided(to[k], from[k], cfg);
}

bool all_finite(const at::Tensor& row) {
  return finite_block(row.const_data_ptr<float>(), elements(row));
}

}  // namespace pa
