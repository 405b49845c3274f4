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

/// The rows of x, scaled for the network: [R, ...], contiguous.
at::Tensor scaled_x(const std::vector<QueryRow>& queries) {
  const auto plain = [](const QueryRow& query) { return query.input_scale == 1.0F; };
  if (std::all_of(queries.begin(), queries.end(), plain)) {
    std::vector<RowRef> rows;
    for (const QueryRow& query : queries) rows.push_back(query.x);
    return gather(rows).contiguous();
  }
  Shape shape = queries.front().x.base.sizes().vec();
  shape[0] = std::ssize(queries);
  at::Tensor x = at::empty(shape, queries.front().x.base.options());
  for (std::size_t i = 0; i < queries.size(); ++i) {
    const RowRef& row = queries[i].x;
    const std::array<WeightedRow, 1> term{
        {{queries[i].input_scale, row.base.select(0, row.first)}}};
    combine(x.select(0, static_cast<std::int64_t>(i)), term);
  }
  return x;
}

}  // namespace

Rows RowStacker::stack(const std::vector<QueryRow>& queries, c10::Device device) {
  ++passes_;
  Rows rows;
  rows.x = scaled_x(queries);
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
