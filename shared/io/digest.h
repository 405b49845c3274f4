#pragma once

#include <cstddef>
#include <span>

#include "shared/wire/messages.h"

namespace pa {

/// XXH3-128 of `bytes`, seed 0: how a request names a tensor's contents.
[[nodiscard]] Digest digest_of(std::span<const std::byte> bytes);

}  // namespace pa
