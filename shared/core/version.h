#pragma once

#include <string_view>

namespace pa {

/// This program's version, as in CMakeLists.txt: "0.1.0".
[[nodiscard]] std::string_view version();

}  // namespace pa
