// Evaluates a model once for every line of standard input, and tells how long it took; so that a
// script can take turns between this and another program. tests/bench/compare_eager.py does.
//
// Usage: forward_bench MODEL_FOLDER INPUTS.safetensors THREADS OUTPUT.safetensors

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

#include "shared/models/model_folder.h"
#include "worker/models/registry.h"
#include "worker/models/tensors.h"

namespace pa {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Status run(const std::string& model, const std::string& inputs, const std::string& output) {
  const c10::InferenceMode guard;
  const auto start = std::chrono::steady_clock::now();
  FileHashes hashes(default_hash_cache());
  PA_ASSIGN(const ModelFolder folder, read_model_folder(model, hashes));
  const auto hashed = std::chrono::steady_clock::now();
  PA_ASSIGN(const Replica replica, load_replica(folder, Device{}));
  std::printf("%.6f %.6f\n", seconds_since(hashed), seconds_since(start));
  std::fflush(stdout);

  PA_ASSIGN(const SafetensorsFile file, SafetensorsFile::open(inputs));
  Rows rows;
  for (const TensorView& view : file.tensors()) {
    const at::Tensor tensor = alias(view.spec, view.bytes, file.keep_alive());
    const std::string& name = view.spec.name;
    (name == "x" ? rows.x : name == "timestep" ? rows.sigma : rows.inputs[name]) = tensor;
  }
  at::Tensor answer;
  for (std::string line; std::getline(std::cin, line);) {
    const auto began = std::chrono::steady_clock::now();
    PA_ASSIGN(answer, replica.network->forward(rows));
    std::printf("%.6f\n", seconds_since(began));
    std::fflush(stdout);
  }
  if (!answer.defined()) return {};
  const TensorSpec spec{"y", DType::kF32, answer.sizes().vec()};
  return write_safetensors(output, {}, {{spec, buffer_of(answer).bytes()}});
}

}  // namespace
}  // namespace pa

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: forward_bench MODEL_FOLDER INPUTS THREADS OUTPUT\n");
    return 2;
  }
  pa::Status done = pa::start_device(pa::Device{}, std::atoi(argv[3]));
  if (done.ok()) done = pa::run(argv[1], argv[2], argv[4]);
  if (!done.ok()) std::fprintf(stderr, "%s\n", done.error().message.c_str());
  return done.ok() ? 0 : 1;
}
