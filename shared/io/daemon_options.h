#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace pa {

/// The command line that both daemons share.
struct DaemonOptions {
  std::string config_file;  ///< Empty: defaults and overrides only.
  bool check_config = false;
  std::vector<std::pair<std::string, std::string>>
      overrides;  ///< (key path, YAML value), in order.
};

/// Parses `--config FILE`, `--check-config`, `--set KEY=VALUE` (repeatable), `--version` and
/// `--help`. Returns an exit status instead if the program should end now: 0 after --help and
/// --version, 2 after a mistake, which was told on standard error.
[[nodiscard]] std::variant<DaemonOptions, int> parse_daemon_options(int argc,
                                                                    const char* const* argv,
                                                                    const std::string& program,
                                                                    const std::string& purpose);

/// What `--check-config` prints and exits with: "FILE: ok" and 0, or the errors (standard error)
/// and 2. `error` is empty if the configuration is good.
[[nodiscard]] int report_config_check(const DaemonOptions& options, const std::string& error);

}  // namespace pa
