#pragma once

#include <cstdint>
#include <string>

namespace pa::test {

struct HttpAnswer {
  int status = 0;  ///< 0: no answer.
  std::string head;
  std::string body;
};

/// Sends `request` to 127.0.0.1:`port` and reads until the server closes.
[[nodiscard]] std::string http_exchange(std::int64_t port, const std::string& request);

/// GET of `path` from 127.0.0.1:`port`.
[[nodiscard]] HttpAnswer http_get(std::int64_t port, const std::string& path);

}  // namespace pa::test
