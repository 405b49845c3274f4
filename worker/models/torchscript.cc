#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

#include "worker/models/plugin_call.h"
#include "worker/models/plugins.h"
#include "worker/models/torch_errors.h"

namespace pa {
namespace {

class TorchScript : public Network {
 public:
  TorchScript(torch::jit::Module module, at::ScalarType dtype, std::vector<InputSpec> inputs)
      : module_(std::move(module)), dtype_(dtype), inputs_(std::move(inputs)) {}

  [[nodiscard]] Result<at::Tensor> forward(const Rows& rows) override {
    return guarded<at::Tensor>([&]() -> Result<at::Tensor> {
      // The profiling executor would compile anew for shapes that it has not seen, and fuse
      // differently from run to run.
      const torch::jit::GraphOptimizerEnabledGuard no_optimizer(false);
      PA_ASSIGN(const std::vector<at::Tensor> arguments, plugin_arguments(rows, inputs_, dtype_));
      c10::IValue answer = module_.forward({arguments.begin(), arguments.end()});
      if (answer.isTuple() && !answer.toTupleRef().elements().empty())
        answer = c10::IValue(answer.toTupleRef().elements()[0]);
      if (!answer.isTensor()) return invalid("the TorchScript module answers with no tensor");
      return plugin_answer(answer.toTensor(), rows);
    });
  }

  [[nodiscard]] const std::vector<InputSpec>& input_contract() const override { return inputs_; }

 private:
  torch::jit::Module module_;
  at::ScalarType dtype_;
  std::vector<InputSpec> inputs_;
};

}  // namespace

Result<std::unique_ptr<Network>> load_torchscript(const std::string& path, c10::Device device,
                                                  at::ScalarType dtype,
                                                  std::vector<InputSpec> inputs) {
  Result<std::unique_ptr<Network>> loaded =
      guarded<std::unique_ptr<Network>>([&]() -> Result<std::unique_ptr<Network>> {
        torch::jit::Module module = torch::jit::load(path, device);
        module.eval();
        return std::unique_ptr<Network>(
            std::make_unique<TorchScript>(std::move(module), dtype, std::move(inputs)));
      });
  if (loaded.ok() || loaded.error().code != Code::kInternal) return loaded;
  return invalid(path +
                 ": no TorchScript module that this version reads: " + loaded.error().message);
}

}  // namespace pa
