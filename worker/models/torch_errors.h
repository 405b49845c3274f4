#pragma once

#include <functional>

#include "shared/core/result.h"

namespace pa {

/// The exception being handled, as an Error: kOverloaded for a device out of memory, kInternal
/// otherwise, with the first line of LibTorch's words. Call it in a catch block.
[[nodiscard]] Error current_torch_error();

/// What `function` returns, or the Error of the LibTorch exception it threw. By the time of the
/// return its locals are gone, and with them the memory they held on the device.
template <class T>
[[nodiscard]] Result<T> guarded(const std::function<Result<T>()>& function) {
  try {
    return function();
  } catch (...) {
    return current_torch_error();
  }
}

}  // namespace pa
