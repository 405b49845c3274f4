#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "clients/cpp/request_builder.h"
#include "shared/core/request.h"

/// The subcommands of `pa`: what each is told, and the function that does it and returns the exit code.
namespace pa::cli {

/// Which cluster. --connect before PA_CONNECT before what `pa up` left in the state directory
/// (--state, PA_STATE, or the default one).
struct Where {
  std::string connect;  ///< Endpoint, or empty.
  std::string keys;     ///< For tcp://, as ClientOptions.
  std::string state;    ///< Directory, or empty for the default.
};

/// `pa sample`, `pa forward` and `pa plan`.
struct RunCommand {
  Operation op = Operation::kSample;
  bool plan_only = false;
  Where where;
  std::string request_file;
  std::string out_file;
  std::string png_file;
  std::string previews_dir;  ///< Where previews go, sample-0003.png and so on; empty: nowhere.
  bool json = false;
  std::optional<double> patience_seconds;  ///< nullopt: for ever.
  std::string id;                          ///< 32 hexadecimal digits; empty: a new one.
  RequestOverrides overrides;
};

/// `pa status`, `pa devices` and `pa models`.
struct StatusCommand {
  enum class View : std::uint8_t { kAll, kDevices, kModels };
  View view = View::kAll;
  Where where;
  std::optional<double> wait_seconds;  ///< Until the cluster is ready; infinite: for ever.
  bool json = false;
};

struct CancelCommand {
  Where where;
  std::string request;
};

struct InspectCommand {
  std::string file;  ///< Or a model's folder.
  std::string
      model;  ///< Weights that a LoRA is compared with, a file or a model's folder; or empty.
  bool hash = false;
  bool all = false;
};

struct DoctorCommand {
  Where where;
  bool json = false;
};

struct KeygenCommand {
  std::string out_dir;
  std::string name;
  std::string allow_worker;  ///< Name or pattern that the key may be a worker under, or empty.
  std::string allow_client;  ///< Name of the client that the key is, or empty.
};

/// One worker of a one-box cluster.
struct WorkerSpec {
  std::string name;
  std::string device = "cpu";
  double weight = 1;
  std::string sim;  ///< "5ms+10ms", or empty.
};

struct UpCommand {
  Where where;
  std::vector<WorkerSpec> workers;
  std::string models_dir;    ///< Empty: those that came with the program.
  std::int64_t threads = 0;  ///< Of each CPU worker; 0: the cores shared out.
};

/// `pa bench --local`: the contract of an external program in the peers' benchmark.
struct BenchCommand {
  /// How bytes go: shared memory, ipc sockets, or TCP with CURVE on loopback.
  enum class Path : std::uint8_t { kShared, kSockets, kTcp };
  Path path = Path::kShared;
  std::string model = "noop";  ///< "noop" or "sleep".
  std::int64_t batch = 1;
  std::int64_t sample_bytes = 64;
  std::int64_t warmup = 2;
  std::int64_t batches = 10;
  double fixed_ms = 5;
  std::vector<double> per_sample_ms{10, 25};
  std::vector<double> weights;  ///< Empty: the program decides.
  double rate = 0;              ///< Poisson arrivals a second; 0: closed loop.
  std::uint64_t seed = 0;
};

/// `pa bench devices`: every worker on its own.
struct BenchDevicesCommand {
  Where where;
  std::string request_file;
  RequestOverrides overrides;
  bool json = false;
};

using Command =
    std::variant<RunCommand, StatusCommand, CancelCommand, InspectCommand, KeygenCommand,
                 DoctorCommand, UpCommand, BenchCommand, BenchDevicesCommand>;

[[nodiscard]] int run(const RunCommand& command);
[[nodiscard]] int run(const StatusCommand& command);
[[nodiscard]] int run(const CancelCommand& command);
[[nodiscard]] int run(const InspectCommand& command);
[[nodiscard]] int run(const KeygenCommand& command);
[[nodiscard]] int run(const DoctorCommand& command);
[[nodiscard]] int run(const UpCommand& command);
[[nodiscard]] int run(const BenchCommand& command);
[[nodiscard]] int run(const BenchDevicesCommand& command);

}  // namespace pa::cli
