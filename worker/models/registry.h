#pragma once

#include "shared/core/result.h"
#include "shared/models/model_folder.h"
#include "worker/models/device.h"
#include "worker/models/replica.h"

namespace pa {

/// Puts the model of a folder on a device, label conditions included. For the thread that computes.
///
/// Errors: kInvalid (weights or conditions are not as the family wants them; the message begins
/// with the folder), kCancelled, kOverloaded (no memory for it), kInternal.
[[nodiscard]] Result<Replica> load_replica(const ModelFolder& folder, const Device& device,
                                           const LoadProgress& progress = {});

/// What a replica of this folder will take on a device.
[[nodiscard]] ReplicaSize replica_size(const ModelFolder& folder, const Device& device);

}  // namespace pa
