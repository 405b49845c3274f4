#pragma once

#include "worker/models/network.h"

namespace pa {

/// Returns its input, for tests, benchmarks and capacity planning. No weights, any shape, any device.
class Noop : public Network {
 public:
  [[nodiscard]] Result<at::Tensor> forward(const Rows& rows) override;
  [[nodiscard]] const std::vector<InputSpec>& input_contract() const override { return inputs_; }

 private:
  std::vector<InputSpec> inputs_;
};

}  // namespace pa
