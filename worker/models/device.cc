#include "worker/models/device.h"

#include <ATen/ATen.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <array>
#include <charconv>
#include <cstring>
#include <fstream>
#include <optional>

#include "shared/io/failpoint.h"
#include "worker/models/tensors.h"
#include "worker/models/torch_errors.h"

namespace pa {
namespace {

/// The value after "NAME:" in a file of such lines.
std::string field_of(const char* path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name)) continue;
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::size_t first = line.find_first_not_of(" \t", colon + 1);
    return first == std::string::npos ? std::string() : line.substr(first);
  }
  return {};
}

std::string cpu_name() {
  const std::string name = field_of("/proc/cpuinfo", "model name");
  return name.empty() ? "cpu" : name;
}

/// As the driver calls it, which is loaded by now.
std::string cuda_name(int index) {
  void* const driver = ::dlopen("libcuda.so.1", RTLD_LAZY);
  if (driver == nullptr) return "cuda";
  using Get = int (*)(int* device, int ordinal);
  using GetName = int (*)(char* name, int length, int device);
  const auto get = reinterpret_cast<Get>(::dlsym(driver, "cuDeviceGet"));
  const auto get_name = reinterpret_cast<GetName>(::dlsym(driver, "cuDeviceGetName"));
  int handle = 0;
  std::array<char, 256> name{};
  const bool named = get != nullptr && get_name != nullptr && get(&handle, index) == 0 &&
                     get_name(name.data(), static_cast<int>(name.size()) - 1, handle) == 0;
  ::dlclose(driver);
  return named ? std::string(name.data()) : "cuda";
}

Status load_cuda() {
  if (::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    return unavailable(std::string("LibTorch's CUDA library cannot be loaded (") + ::dlerror() +
                       "); fetch it with deploy/fetch_libtorch.sh --cuda, or use device cpu");
  }
  return {};
}

}  // namespace

Result<Device> parse_device(const std::string& text) {
  const std::size_t colon = text.find(':');
  Device device{text.substr(0, colon), 0};
  const bool indexed = device.kind == "cuda" || device.kind == "xpu";
  const bool single = device.kind == "cpu" || device.kind == "mps";
  bool valid = indexed || (single && colon == std::string::npos);
  if (valid && colon != std::string::npos) {
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data() + colon + 1, end, device.index);
    valid =
        parsed.ec == std::errc() && parsed.ptr == end && device.index >= 0 && device.index < 128;
  }
  if (!valid) {
    return invalid("'" + text + "' is no device; expected cpu, cuda:0, cuda:1, xpu:0, ... or mps");
  }
  return device;
}

std::string to_string(const Device& device) {
  const bool indexed = device.kind == "cuda" || device.kind == "xpu";
  return indexed ? device.kind + ":" + std::to_string(device.index) : device.kind;
}

Status start_device(const Device& device, std::int64_t threads) {
  // LibTorch takes this setting once.
  [[maybe_unused]] static const bool kInteropSet = [] {
    at::set_num_interop_threads(1);
    return true;
  }();
  at::set_num_threads(static_cast<int>(threads));
  at::init_num_threads();
  if (device.kind == "cpu") return {};
  if (device.kind == "cuda") PA_TRY(load_cuda());
  const Status tried = guarded<void>([&]() -> Status {
    at::empty({1}, at::TensorOptions(torch_device(device)));
    return {};
  });
  if (tried.ok()) return {};
  return unavailable("device " + to_string(device) + " cannot be used: " + tried.error().message);
}

Status try_device(const Device& device) {
  if (const int error = failpoint("device.error")) return internal(std::strerror(error));
  return guarded<void>([&]() -> Status {
    const at::Tensor ones = at::ones({2}, at::TensorOptions(torch_device(device)));
    if (ones.sum().item<float>() == 2) return {};
    return internal("device " + to_string(device) + " computes wrong sums");
  });
}

std::string device_name(const Device& device) {
  if (device.kind == "cpu") return cpu_name();
  if (device.kind == "cuda") return cuda_name(device.index);
  return device.kind;
}

std::string numerics_id(const Device& device) {
  return device_name(device) + "; LibTorch " + TORCH_VERSION + "; " + at::get_cpu_capability() +
         "; " + std::to_string(at::get_num_threads()) + " threads";
}

std::int64_t free_memory_bytes(const Device& device) {
  if (device.kind == "cpu") {
    const std::string kilobytes = field_of("/proc/meminfo", "MemAvailable");
    std::int64_t value = -1;
    std::from_chars(kilobytes.data(), kilobytes.data() + kilobytes.size(), value);
    return value < 0 ? -1 : value * 1024;
  }
  const Result<std::int64_t> bytes = guarded<std::int64_t>([&]() -> Result<std::int64_t> {
    const auto index = static_cast<c10::DeviceIndex>(device.index);
    const std::size_t free = at::accelerator::getMemoryInfo(index).first;
    const auto stats = at::accelerator::getDeviceStats(index);
    const std::int64_t cached = stats.reserved_bytes[0].current - stats.allocated_bytes[0].current;
    return static_cast<std::int64_t>(free) + cached;
  });
  return bytes.ok() ? *bytes : -1;
}

void release_cached_memory(const Device& device) {
  if (device.kind != "cpu") at::accelerator::emptyCache();
}

void upload(const at::Tensor& from, const at::Tensor& to) {
  if (to.device().type() != c10::kCUDA) {
    to.copy_(from);
    return;
  }
  // Straight from a mapped file, copies to the device are several times slower. Converted there.
  static thread_local at::Tensor staging;
  const auto bytes = static_cast<std::int64_t>(from.nbytes());
  if (!staging.defined() || staging.numel() < bytes) {
    staging = at::empty({bytes}, at::TensorOptions(at::kByte).pinned_memory(true));
  }
  std::memcpy(staging.mutable_data_ptr(), from.const_data_ptr(), from.nbytes());
  const at::Tensor pinned = staging.narrow(0, 0, bytes).view(from.scalar_type()).view(from.sizes());
  to.copy_(pinned.to(to.device(), /*non_blocking=*/true));
  at::accelerator::synchronizeDevice(to.device().index());
}

}  // namespace pa
