#pragma once

#include <vector>

#include "shared/core/buffer.h"
#include "shared/core/result.h"
#include "shared/wire/messages.h"

namespace pa {

/// The tensors of a shard in `memory`, a map of Assign.segment: each in the pieces of the map that make
/// it up, in their order. Nothing is copied or read.
///
/// Errors: kInvalid, the sources leave the memory, or do not make up the tensors.
[[nodiscard]] Result<std::vector<std::vector<Buffer>>> find_inputs(const Assign& assign,
                                                                   const Buffer& memory);

}  // namespace pa
