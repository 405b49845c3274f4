#pragma once

#include <string_view>
#include <variant>
#include <vector>

#include "clients/cli/commands.h"
#include "shared/core/result.h"

namespace pa::cli {

/// Reads the command line. An exit code instead of a command if there is nothing to do: after --help or
/// --version, which were answered, and after a mistake, which was told on standard error.
[[nodiscard]] std::variant<Command, int> parse_command_line(int argc, const char* const* argv);

/// "name=a,device=cpu,weight=40,sim=5ms+10ms", each key at most once. The name may be left out.
///
/// Errors: kInvalid, naming the key and what was expected.
[[nodiscard]] Result<WorkerSpec> parse_worker(std::string_view text);

/// Gives every worker a name, and one for each device: "cuda:0", or "cpu-1", "cpu-2" where several
/// share one.
///
/// Errors: kInvalid if two have the same name.
[[nodiscard]] Status name_workers(std::vector<WorkerSpec>& workers);

}  // namespace pa::cli
