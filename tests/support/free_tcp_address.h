#pragma once

#include <string>

namespace pa {

/// "tcp://127.0.0.1:PORT" with three ports in a row that were free a moment ago.
[[nodiscard]] std::string free_tcp_address();

}  // namespace pa
