#pragma once

#include <cstdint>
#include <vector>

#include "shared/core/buffer.h"
#include "shared/core/result.h"
#include "shared/wire/messages.h"

namespace pa {

/// The tensors of a shard in `memory`, a map of Assign.segment: one buffer each, which is part of the
/// map if the tensor lies there in one piece, and a copy else.
///
/// Errors: kInvalid, the sources leave the memory, or do not make up the tensors; kOverloaded, there
/// is no memory for a copy.
[[nodiscard]] Result<std::vector<Buffer>> gather_inputs(const Assign& assign, const Buffer& memory);

}  // namespace pa
