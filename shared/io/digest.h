#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "shared/wire/messages.h"

namespace pa {

/// XXH3-128 of `bytes`, seed 0: how a request names a tensor's contents.
[[nodiscard]] Digest digest_of(std::span<const std::byte> bytes);

/// digest_of() bytes that are given part by part.
class Digester {
 public:
  Digester();
  ~Digester();
  Digester(const Digester&) = delete;
  Digester& operator=(const Digester&) = delete;

  void add(std::span<const std::byte> bytes);
  /// Of all that was added.
  [[nodiscard]] Digest digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pa
