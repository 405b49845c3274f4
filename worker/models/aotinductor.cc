#include <ATen/ATen.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <string>
#include <unordered_map>

#include "worker/models/plugin_call.h"
#include "worker/models/plugins.h"
#include "worker/models/tensors.h"
#include "worker/models/torch_errors.h"

namespace pa {
namespace {

using torch::inductor::AOTIModelPackageLoader;
using Constants = std::unordered_map<std::string, at::Tensor>;

class AotInductor : public Network {
 public:
  AotInductor(std::unique_ptr<AOTIModelPackageLoader> package, Constants constants,
              at::ScalarType dtype, std::vector<InputSpec> inputs)
      : constants_(std::move(constants)),
        package_(std::move(package)),
        dtype_(dtype),
        inputs_(std::move(inputs)) {}

  [[nodiscard]] Result<at::Tensor> forward(const Rows& rows) override {
    return guarded<at::Tensor>([&]() -> Result<at::Tensor> {
      PA_ASSIGN(const std::vector<at::Tensor> arguments, plugin_arguments(rows, inputs_, dtype_));
      const std::vector<at::Tensor> answers = package_->run(arguments);
      if (answers.empty()) return invalid("the package answers with no tensor");
      return plugin_answer(answers.front(), rows);
    });
  }

  [[nodiscard]] const std::vector<InputSpec>& input_contract() const override { return inputs_; }

 private:
  Constants constants_;  // Before the package, which uses them until it goes.
  std::unique_ptr<AOTIModelPackageLoader> package_;
  at::ScalarType dtype_;
  std::vector<InputSpec> inputs_;
};

/// The tensor of every constant, by the name that the module had it under.
Result<Constants> constants_of(AOTIModelPackageLoader& package, const WeightIndex& weights,
                               c10::Device device) {
  Constants constants;
  for (const std::string& name : package.get_constant_fqns()) {
    const StoredTensor* const stored = weights.find(name);
    if (stored == nullptr) return invalid("the weights have no tensor '" + name + "'");
    constants[name] = alias(stored->view.spec, stored->view.bytes, stored->owner).to(device);
  }
  for (const auto& [name, stored] : weights.tensors()) {
    if (!constants.contains(name))
      return invalid("the package has no constant '" + name + "', which the weights have");
  }
  return constants;
}

}  // namespace

Result<std::unique_ptr<Network>> load_aotinductor(const std::string& path, c10::Device device,
                                                  at::ScalarType dtype,
                                                  std::vector<InputSpec> inputs,
                                                  const WeightIndex& weights) {
  Result<std::unique_ptr<Network>> loaded =
      guarded<std::unique_ptr<Network>>([&]() -> Result<std::unique_ptr<Network>> {
        auto package =
            std::make_unique<AOTIModelPackageLoader>(path, "model", false, 1, device.index());
        PA_ASSIGN(Constants constants, constants_of(*package, weights, device));
        if (!constants.empty()) package->load_constants(constants, false, true, true);
        return std::unique_ptr<Network>(std::make_unique<AotInductor>(
            std::move(package), std::move(constants), dtype, std::move(inputs)));
      });
  if (loaded.ok() || loaded.error().code == Code::kOverloaded) return loaded;
  return invalid(path + ": " + loaded.error().message);
}

}  // namespace pa
