#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "clients/cli/commands.h"
#include "clients/cpp/client.h"
#include "shared/core/result.h"

namespace pa::cli {

/// What `pa up` leaves in its state directory as cluster.json, for the other commands and for people.
struct ClusterFile {
  struct Process {
    std::string name;    ///< Of a worker.
    std::string device;  ///< Of a worker.
    std::int64_t pid = 0;
    std::string metrics;  ///< "http://127.0.0.1:9463/metrics".
    std::string log;      ///< Path.
  };
  std::string client;  ///< Endpoints.
  std::string control;
  std::string data;
  std::int64_t pid = 0;  ///< Of `pa up`.
  Process coordinator;
  std::vector<Process> workers;
};

/// `where.state`, or the default: parallelanything in $XDG_RUNTIME_DIR, or /tmp/parallelanything-UID.
/// Absolute.
[[nodiscard]] std::string state_directory(const Where& where);

/// Replaces the file in `state`; readable by its owner only. kInternal with the system's words.
[[nodiscard]] Status write_cluster_file(const std::string& state, const ClusterFile& cluster);

/// Errors: kUnavailable if there is none; kInternal if it cannot be read.
[[nodiscard]] Result<ClusterFile> read_cluster_file(const std::string& state);

void remove_cluster_file(const std::string& state);

/// The client endpoint that `where` means.
///
/// Errors: kUnavailable, and how to start or name a cluster.
[[nodiscard]] Result<std::string> find_endpoint(const Where& where);

/// A client of the cluster that `where` means, with its keys. Errors: as find_endpoint() and
/// Client::connect().
[[nodiscard]] Result<std::unique_ptr<Client>> connect_to(const Where& where, ClientOptions options);

}  // namespace pa::cli
