#include "clients/cli/exit_code.h"

#include <cstdio>

namespace pa::cli {

ExitCode exit_code(Code code) {
  switch (code) {
    case Code::kInvalid:
      return kInvalid;
    case Code::kUnavailable:
    case Code::kOverloaded:
    case Code::kWorkerLost:
      return kUnavailable;
    case Code::kDeadline:
      return kDeadline;
    case Code::kCancelled:
      return kCancelled;
    case Code::kInternal:
      break;
  }
  return kInternal;
}

int fail(const Error& error) {
  const std::string where = error.field.empty() ? "" : error.field + ": ";
  std::fprintf(stderr, "pa: %s%s\n", where.c_str(), error.message.c_str());
  return exit_code(error.code);
}

}  // namespace pa::cli
