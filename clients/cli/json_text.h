#pragma once

#include <string>

#include "shared/wire/messages.h"

/// Answers of the coordinator as one line of JSON, for scripts.
namespace pa::cli {

/// {"result": {"name", "dtype", "shape"}, "plan": [{"worker", "device", "weight", "samples", "reason"}]}.
[[nodiscard]] std::string plan_json(const Accepted& accepted);

/// {"ready", "version", "epoch", "journal", "uptime_seconds", "workers": [...], "requests": [...]}: the
/// fields of ClusterStatus; a worker's models as [{"name", "identity", "family", "parameters"}].
[[nodiscard]] std::string status_json(const ClusterStatus& status, bool ready);

/// The workers alone, as in status_json().
[[nodiscard]] std::string devices_json(const ClusterStatus& status);

/// [{"name", "identity", "family", "latent", "labels", "parameters", "workers": [...]}].
[[nodiscard]] std::string models_json(const ClusterStatus& status);

/// {"error": MESSAGE}.
[[nodiscard]] std::string error_json(const std::string& message);

}  // namespace pa::cli
