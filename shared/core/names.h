#pragma once

#include <string_view>

#include "shared/core/result.h"

namespace pa {

/// kInvalid unless `name` is 1 to 64 letters, digits, '.', '_', ':' and '-', beginning with a letter
/// or digit. Such names are safe in files, logs, metrics and on command lines.
[[nodiscard]] Status check_worker_name(std::string_view name);

/// kInvalid unless `pattern` is a worker's name, or the beginning of one and a '*', or '*' alone.
[[nodiscard]] Status check_name_pattern(std::string_view pattern);

/// Whether `pattern` stands for `name`: they are equal, or it ends in '*' and `name` begins with the
/// rest of it.
[[nodiscard]] bool matches_name(std::string_view pattern, std::string_view name);

/// kInvalid unless `device` is "cpu", "mps", or "cuda:N" or "xpu:N" with N from 0 to 255.
[[nodiscard]] Status check_device(std::string_view device);

}  // namespace pa
