#pragma once

#include <string>

#include "shared/core/result.h"

namespace pa::cli {

/// What `pa` exits with.
enum ExitCode : int {
  kDone = 0,
  kInternal = 1,     ///< A bug or a broken host.
  kUsage = 2,        ///< The command line is wrong.
  kInvalid = 3,      ///< The request or file is wrong.
  kUnavailable = 4,  ///< No cluster, no worker that could, or busy.
  kDeadline = 5,     ///< The request's own deadline passed.
  kCancelled = 6,
  kSomeFailed = 7,  ///< All is delivered but for samples that failed.
};

[[nodiscard]] ExitCode exit_code(Code code);

/// Prints "pa: FIELD: MESSAGE" on standard error and returns the exit code.
int fail(const Error& error);

}  // namespace pa::cli
