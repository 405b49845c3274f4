// One block of the released networks at their full width: made up, loaded and run for real. Takes
// minutes and gigabytes, so it waits to be asked: PA_FULL_SIZE=1, which `tests/run.sh --full` sets.

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "tests/support/loaded_model.h"

namespace pa {
namespace {

using test::TempFolder;

/// Kilobytes that a line of /proc/self/status tells, as bytes.
std::int64_t memory_line(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return 1024 * std::atoll(line.c_str() + name.size() + 1);
  }
  return -1;
}

/// From now on VmHWM is the peak of what follows.
void forget_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

/// Writes a model of a released checkpoint's width, with one block of each kind.
std::int64_t write_one_block(const std::string& keys, const std::string& path) {
  const nlohmann::json file = test::json_fixture("keys/" + keys);
  std::vector<at::Tensor> tensors;
  std::vector<TensorView> views;
  std::int64_t elements = 0;
  for (const auto& [name, shape] : file["tensors"].items()) {
    const std::size_t number = name.find_first_of("0123456789");
    const bool block = name.starts_with("double_blocks.") || name.starts_with("single_blocks.") ||
                       name.starts_with("layers.") || name.find("refiner.") != std::string::npos;
    if (block && name.compare(number, 2, "0.") != 0) continue;
    const Shape sizes = shape.get<Shape>();
    const std::int64_t fan_in = sizes.size() > 1 ? sizes.back() : 1;
    const at::Tensor values = sizes.size() > 1
                                  ? at::randn(sizes, at::kBFloat16).mul_(1.0 / std::sqrt(fan_in))
                                  : at::ones(sizes, at::kBFloat16);
    tensors.push_back(values);
    elements += values.numel();
    views.push_back({{name, DType::kBF16, sizes}, buffer_of(values).bytes()});
  }
  PA_CHECK(write_safetensors(path, {}, views).ok());
  return elements;
}

class FullSize : public ::testing::TestWithParam<std::string> {};

TEST_P(FullSize, OneBlockLoadsAndRunsWithinMemory) {
  if (std::getenv("PA_FULL_SIZE") == nullptr) {  // NOLINT(concurrency-mt-unsafe)
    GTEST_SKIP() << "set PA_FULL_SIZE=1 to run it";
  }
  const c10::InferenceMode guard;
  const TempFolder models;
  std::filesystem::create_directories(models.path("m"));
  const std::int64_t elements =
      write_one_block(GetParam() + ".json", models.path("m/w.safetensors"));
  FileHashes hashes;
  const ModelFolder folder = read_model_folder(models.path("m"), hashes).value();
  EXPECT_EQ(folder.info.parameters, elements);
  EXPECT_EQ(replica_size(folder, Device{}).owned_bytes, 4 * elements);

  forget_peak();
  const std::int64_t before = memory_line("VmRSS");
  Replica replica = load_replica(folder, Device{}).value();
  const std::int64_t peak = memory_line("VmHWM");
  const auto most = static_cast<std::int64_t>(1.05 * 4 * static_cast<double>(elements)) +
                    (std::int64_t{256} << 20);
  std::printf("%s: %.2f G parameters, replica %.2f GB, peak %.2f GB (before loading %.2f GB)\n",
              GetParam().c_str(), 1e-9 * static_cast<double>(elements),
              4e-9 * static_cast<double>(elements), 1e-9 * static_cast<double>(peak),
              1e-9 * static_cast<double>(before));
  EXPECT_LE(peak, most);

  Rows rows{at::randn({1, 16, 16, 16}), at::full({1}, 0.5), {}};
  for (const InputSpec& input : replica.info.inputs) {
    Shape shape{1};
    for (const std::int64_t size : input.shape) shape.push_back(size < 0 ? 32 : size);
    rows.inputs[input.name] = at::randn(shape);
  }
  const at::Tensor answer = replica.network->forward(rows).value();
  EXPECT_EQ(answer.sizes(), rows.x.sizes());
  EXPECT_TRUE(at::isfinite(answer).all().item<bool>());

  // Unloading gives the memory back.
  replica = Replica{};
  EXPECT_LE(memory_line("VmRSS"), before + (std::int64_t{256} << 20));
}

INSTANTIATE_TEST_SUITE_P(Keys, FullSize, ::testing::Values("flux-dev", "z-image"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace pa
