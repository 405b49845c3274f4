#pragma once

#include <memory>
#include <string>
#include <vector>

#include "shared/core/result.h"
#include "worker/models/device.h"
#include "worker/models/weights.h"

/// The families of networks that this version has.
namespace pa {

struct ModelFolder;
struct Replica;

[[nodiscard]] const std::vector<std::string>& family_names();

/// The family whose weights these are, by their names; empty if it is none of ours.
[[nodiscard]] std::string recognise_family(const WeightFiles& weights);

/// Puts the model of a folder on a device, label conditions included. For the thread that computes.
///
/// Errors: kInvalid (weights or conditions are not as the family wants them; the message begins
/// with the folder), kOverloaded (no memory for it), kInternal.
[[nodiscard]] Result<Replica> load_replica(const ModelFolder& folder, const Device& device);

}  // namespace pa
