#include "shared/io/daemon_options.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "shared/core/version.h"

namespace pa {

std::variant<DaemonOptions, int> parse_daemon_options(int argc, const char* const* argv,
                                                      const std::string& program,
                                                      const std::string& purpose) {
  constexpr int kUsage = 2;
  DaemonOptions options;
  std::vector<std::string> sets;
  try {
    CLI::App app(purpose, program);
    app.set_version_flag("--version", program + " " + std::string(version()));
    app.add_option("--config", options.config_file, "Configuration file; without it, the defaults")
        ->type_name("FILE");
    app.add_flag("--check-config", options.check_config,
                 "Only check the configuration: exit 0 if it is good, 2 if not");
    app.add_option("--set", sets, "Override a key of the configuration; may be repeated")
        ->type_name("KEY.PATH=VALUE")
        ->expected(1)
        ->take_all();
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      return app.exit(error) == 0 ? 0 : kUsage;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", program.c_str(), error.what());
    return kUsage;
  }
  for (const std::string& set : sets) {
    const std::size_t equals = set.find('=');
    if (equals == 0 || equals == std::string::npos) {
      std::fprintf(stderr, "--set %s: expected KEY.PATH=VALUE, as in log.level=debug\n",
                   set.c_str());
      return kUsage;
    }
    options.overrides.emplace_back(set.substr(0, equals), set.substr(equals + 1));
  }
  return options;
}

int report_config_check(const DaemonOptions& options, const std::string& error) {
  if (!error.empty()) {
    std::fprintf(stderr, "%s\n", error.c_str());
    return 2;
  }
  const bool has_file = !options.config_file.empty();
  std::printf("%s: ok\n", has_file ? options.config_file.c_str() : "built-in defaults");
  return 0;
}

}  // namespace pa
