#pragma once

#include <cstddef>
#include <vector>

#include "shared/core/result.h"

namespace pa::cli {

/// TCP ports of the loopback address that nobody listens on now, all different. Another process may
/// take one before its user does.
[[nodiscard]] Result<std::vector<int>> free_ports(std::size_t count);

}  // namespace pa::cli
