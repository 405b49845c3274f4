// pa: the command line of ParallelAnything.

#include "clients/cli/command_line.h"
#include "clients/cli/commands.h"
#include "shared/io/allocator.h"

int main(int argc, char** argv) {
  pa::tune_allocator();
  const auto parsed = pa::cli::parse_command_line(argc, argv);
  if (const int* code = std::get_if<int>(&parsed)) return *code;
  return std::visit([](const auto& command) { return pa::cli::run(command); },
                    std::get<pa::cli::Command>(parsed));
}
