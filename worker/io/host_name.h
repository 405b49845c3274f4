#pragma once

#include <string>

namespace pa {

/// This box's name, as the kernel has it; "localhost" if it has none.
[[nodiscard]] std::string host_name();

}  // namespace pa
