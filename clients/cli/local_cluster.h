#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clients/cli/child_process.h"
#include "clients/cli/cluster_file.h"
#include "clients/cli/commands.h"
#include "shared/core/result.h"
#include "shared/core/time.h"
#include "shared/io/run_directory.h"

namespace pa::cli {

struct LocalClusterOptions {
  std::string state;  ///< Absolute; made with mode 0700.
  std::vector<WorkerSpec> workers;
  std::string models_dir;           ///< Absolute.
  std::string programs;             ///< Folder of the daemons; empty: this program's own.
  std::int64_t threads = 0;         ///< Of each CPU worker; 0: the cores shared out.
  std::int64_t max_rows = 0;        ///< Of each worker; 0: its own default.
  std::int64_t credit_samples = 0;  ///< Likewise.
  bool share_memory = true;         ///< As the coordinator's setting.
  bool journal = true;              ///< On the disk, in `state`; else in memory.
  std::string tcp;  ///< "tcp://IP:PORT" to listen at, too, with keys made on the spot.
  bool workers_over_tcp = false;  ///< The workers connect there.
};

/// The models that came with this program: installed, or in the source tree it was built in. Empty if
/// there are none.
[[nodiscard]] std::string bundled_models();

/// A coordinator and workers as child processes of this one, on this box, over ipc.
///
/// In the state directory: configurations, logs, cluster.json. A process that ends by itself is
/// started again, after half a second at first and up to 30 s if it goes on; one that ended five times
/// in a row within 10 s of its start, or with a wrong configuration, is given up.
///
/// Thread: one only, and for as long as the children live.
class LocalCluster {
 public:
  /// Is told what happens, a line each.
  using Report = std::function<void(std::string_view line)>;

  /// Starts everything and returns at once; nothing may be ready yet.
  ///
  /// Errors: kUnavailable, another cluster has the directory; kInternal, in words.
  [[nodiscard]] static Result<std::unique_ptr<LocalCluster>> start(LocalClusterOptions options,
                                                                   Report report);

  /// Kills what is left.
  ~LocalCluster();
  LocalCluster(const LocalCluster&) = delete;
  LocalCluster& operator=(const LocalCluster&) = delete;

  [[nodiscard]] const ClusterFile& file() const { return file_; }
  /// Where the keys for options.tcp are: coordinator's, "worker" and "client".
  [[nodiscard]] std::string keys_dir() const;

  /// Sees to the children. Call about ten times a second.
  ///
  /// Errors: kInternal, the coordinator or all workers are given up.
  [[nodiscard]] Status tend(TimePoint now);

  /// Stops the workers, which finish what they hold, and then the coordinator. After `limit`, or as
  /// soon as `hurry` returns true, kills what is left.
  void stop(Duration limit, const std::function<bool()>& hurry);

 private:
  struct Member;

  LocalCluster(LocalClusterOptions options, Report report);
  [[nodiscard]] Status prepare();
  [[nodiscard]] Status write_configurations();
  [[nodiscard]] Status make_keys() const;
  [[nodiscard]] Status launch(Member& member, TimePoint now);
  void ended(Member& member, const Exit& exit, TimePoint now);
  [[nodiscard]] Status save();

  LocalClusterOptions options_;
  Report report_;
  std::optional<RunDirectory> lock_;
  std::string run_dir_;       ///< Of the sockets.
  bool own_run_dir_ = false;  ///< Not inside of the state directory.
  ClusterFile file_;
  std::vector<std::unique_ptr<Member>> members_;  ///< The coordinator first.
};

}  // namespace pa::cli
