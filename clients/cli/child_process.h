#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "shared/core/result.h"

namespace pa::cli {

/// How a process ended.
struct Exit {
  bool signalled = false;
  int code = 0;  ///< Exit status, or the signal's number.
};

/// "exited with 3", "killed by signal 9".
[[nodiscard]] std::string to_string(const Exit& exit);

/// A program that this process started, in a process group of its own (so that a terminal's Ctrl-C
/// does not reach it) and killed by the kernel if this process dies. Killed by the destructor, too.
///
/// Thread: the one that started it; the kernel counts that thread's end as the parent's.
class ChildProcess {
 public:
  struct Options {
    std::vector<std::string> arguments;                            ///< The program's path first.
    std::vector<std::pair<std::string, std::string>> environment;  ///< Beside this process's own.
    std::string log_file;  ///< Standard output and error are appended to it.
  };

  /// Errors: kInternal, naming the program and the system's reason.
  [[nodiscard]] static Result<ChildProcess> start(const Options& options);

  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();

  [[nodiscard]] pid_t pid() const { return pid_; }

  /// How it ended, once it has. Never blocks.
  [[nodiscard]] std::optional<Exit> poll();

  /// Does nothing once it has ended.
  void signal(int number) const;

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}

  pid_t pid_ = -1;
  std::optional<Exit> exit_;
};

}  // namespace pa::cli
