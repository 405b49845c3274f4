#include "worker/engine/stacked_rows.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <utility>

#include "worker/engine/row_math.h"

namespace pa {
namespace {

bool same_rows(const std::vector<RowRef>& a, const std::vector<RowRef>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const RowRef& x, const RowRef& y) {
    return x.first == y.first && x.base.is_same(y.base);
  });
}

}  // namespace

/// The rows of x, scaled for the network: [R, ...], contiguous.
at::Tensor RowStacker::stack_x(const std::vector<QueryRow>& queries) {
  const at::Tensor& first = queries.front().x.base;
  std::vector<RowRef> rows;
  bool plain = true;
  for (const QueryRow& query : queries) {
    rows.push_back(query.x);
    plain = plain && query.input_scale == 1.0F;
  }
  if (plain && are_consecutive(rows)) return gather(rows).contiguous();
  Shape shape = first.sizes().vec();
  shape[0] = std::ssize(queries);
  const bool unused = x_.defined() && x_.use_count() == 1 && x_.storage().use_count() == 1;
  if (!unused || x_.sizes() != shape || x_.device() != first.device()) {
    x_ = at::empty(shape, first.options());
  }
  for (std::size_t i = 0; i < queries.size(); ++i) {
    copy_scaled(x_.select(0, static_cast<std::int64_t>(i)), rows[i].base.select(0, rows[i].first),
                queries[i].input_scale);
  }
  return x_;
}

Rows RowStacker::stack(const std::vector<QueryRow>& queries, c10::Device device) {
  ++passes_;
  Rows rows;
  rows.x = stack_x(queries);
  std::vector<float> times;
  std::vector<float> levels;
  for (const QueryRow& query : queries) {
    times.push_back(query.time);
    levels.push_back(query.level);
  }
  rows.sigma = at::tensor(times).to(device);
  rows.level = at::tensor(levels).to(device);
  for (const auto& entry : *queries.front().inputs) {
    std::vector<RowRef> refs;
    for (const QueryRow& query : queries) refs.push_back(query.inputs->at(entry.first));
    rows.inputs[entry.first] = stack_input(std::move(refs));
  }
  std::erase_if(stacks_, [&](const Stack& stack) { return stack.used + kKeptPasses < passes_; });
  return rows;
}

at::Tensor RowStacker::stack_input(std::vector<RowRef> rows) {
  for (Stack& stack : stacks_) {
    if (!same_rows(stack.rows, rows)) continue;
    stack.used = passes_;
    return stack.whole;
  }
  at::Tensor whole = gather(rows);
  if (whole.is_alias_of(rows.front().base)) return whole;
  ++copies_;
  stacks_.push_front({std::move(rows), whole, passes_});
  return whole;
}

}  // namespace pa
