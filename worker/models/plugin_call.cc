#include "worker/models/plugin_call.h"

#include <ATen/ATen.h>

namespace pa {

Result<std::vector<at::Tensor>> plugin_arguments(const Rows& rows,
                                                 const std::vector<InputSpec>& inputs,
                                                 at::ScalarType dtype) {
  std::vector<at::Tensor> arguments{rows.x.to(dtype), rows.sigma};
  for (const InputSpec& input : inputs) {
    const auto found = rows.inputs.find(input.name);
    if (found == rows.inputs.end()) return invalid("the input '" + input.name + "' is missing");
    arguments.push_back(found->second.to(dtype).contiguous());
  }
  return arguments;
}

Result<at::Tensor> plugin_answer(const at::Tensor& answer, const Rows& rows) {
  if (answer.sizes() != rows.x.sizes()) {
    return invalid("the exported network answers with " + to_string(answer.sizes().vec()) +
                   " where x is " + to_string(rows.x.sizes().vec()));
  }
  return answer.to(at::kFloat).contiguous();
}

}  // namespace pa
