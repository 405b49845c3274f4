#include "worker/engine/row_math.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "worker/engine/linear_combine.h"

namespace pa {
namespace {

using Block = std::array<float, kCombineBlock>;

bool finite_block(const float* values, std::size_t count) {
  int bad = 0;
  for (std::size_t k = 0; k < count; ++k) bad |= std::fabs(values[k]) <= FLT_MAX ? 0 : 1;
  return bad == 0;
}

std::size_t elements(const at::Tensor& tensor) { return static_cast<std::size_t>(tensor.numel()); }

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
  Block block;
  bool finite = true;
  for (std::size_t begin = 0; begin < elements(out); begin += kCombineBlock) {
    const std::size_t count = std::min(kCombineBlock, elements(out) - begin);
    combine_block(block.data(), rows.data(), rows.size(), begin, count);
    finite = finite && finite_block(block.data(), count);
    std::memcpy(data + begin, block.data(), count * sizeof(float));
  }
  return finite;
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
  float* const data = slots.mutable_data_ptr<float>();
  const std::size_t size = elements(slots) / static_cast<std::size_t>(slots.size(0));
  std::vector<std::vector<RowTerm>> terms;
  for (const Update& update : updates) {
    std::vector<RowTerm>& rows = terms.emplace_back();
    for (const Term& term : update.terms) {
      rows.push_back(
          {data + static_cast<std::size_t>(term.slot) * size, static_cast<float>(term.weight)});
    }
  }
  std::vector<Block> blocks(updates.size());
  for (std::size_t begin = 0; begin < size; begin += kCombineBlock) {
    const std::size_t count = std::min(kCombineBlock, size - begin);
    for (std::size_t k = 0; k < updates.size(); ++k) {
      combine_block(blocks[k].data(), terms[k].data(), terms[k].size(), begin, count);
    }
    for (std::size_t k = 0; k < updates.size(); ++k) {
      float* const slot = data + static_cast<std::size_t>(updates[k].slot) * size;
      std::memcpy(slot + begin, blocks[k].data(), count * sizeof(float));
    }
  }
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
