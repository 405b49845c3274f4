#pragma once

#include <memory>
#include <string>
#include <vector>

#include "shared/core/model_info.h"
#include "shared/core/result.h"
#include "shared/models/plugin.h"
#include "shared/models/weight_index.h"
#include "worker/models/network.h"

/// Networks exported from PyTorch: called as forward(x, timestep, inputs...), with
///   x         [R, ...] in `dtype`
///   timestep  [R] F32: Rows::sigma
///   inputs    [R, ...] in `dtype`, in the order of the contract
/// and answering with x's shape, or a tuple that begins with it. Rows must not depend on each other.
namespace pa {

/// A TorchScript module, on the device. Its weights stay in the dtype that the file has them in,
/// which `dtype` must be.
///
/// Errors: kInvalid, no such module; kOverloaded; kInternal.
[[nodiscard]] Result<std::unique_ptr<Network>> load_torchscript(const std::string& path,
                                                                c10::Device device,
                                                                at::ScalarType dtype,
                                                                std::vector<InputSpec> inputs);

/// A package of AOTInductor, whose constants are `weights`, by name: in place where the device can
/// read them, that is on a CPU, and copied to it elsewhere.
///
/// Unpacks it to a folder for temporary files, and runs the machine code in it as this process.
///
/// Errors: kInvalid, no such package, or a constant is missing, left over or misshapen; kOverloaded;
/// kInternal.
[[nodiscard]] Result<std::unique_ptr<Network>> load_aotinductor(const std::string& path,
                                                                c10::Device device,
                                                                at::ScalarType dtype,
                                                                std::vector<InputSpec> inputs,
                                                                const WeightIndex& weights);

}  // namespace pa
