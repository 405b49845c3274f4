// Long runs of the scheduling policy, for figures and for finding what breaks it.
//
//   explore --seeds 1..10000 [--scenario table|slow|lost|late] [--case WORDS] [--error X] [--jitter X] [--below X]
//           [--trace FILE]
//
// Prints a row a case. --case: only those whose name holds WORDS. --error, --jitter: how wrong costs are at first, and by how
// much passes of one kind differ, as parts; 0.1 and 0.05. --below: names the seeds under that efficiency.
// --trace: Chrome trace JSON of the first seed.

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/policy_sim.h"

namespace pa {
namespace {

struct Options {
  std::uint64_t first = 1;
  std::uint64_t last = 200;
  Mishap mishap = Mishap::kNone;
  std::string words;
  double error = PolicyCase{}.error;
  double jitter = PolicyCase{}.jitter;
  double below = 0;
  std::string trace;
  int jobs = 2;
};

[[noreturn]] void usage(const std::string& problem) {
  std::cerr << problem << "\nusage: explore --seeds A..B [--scenario table|slow|lost|late]"
            << " [--case WORDS] [--error X] [--jitter X] [--below X] [--trace FILE] [--jobs J]\n";
  std::exit(2);
}

Options parse(int argc, char** argv) {
  Options options;
  const std::map<std::string, Mishap> scenarios{{"table", Mishap::kNone},
                                                {"slow", Mishap::kSlow},
                                                {"lost", Mishap::kLost},
                                                {"late", Mishap::kLate}};
  try {
    for (int i = 1; i < argc; i += 2) {
      const std::string name = argv[i];
      if (i + 1 == argc) usage(name + " needs a value");
      const std::string value = argv[i + 1];
      if (name == "--seeds") {
        const std::size_t dots = value.find("..");
        options.first = std::stoull(value);
        options.last =
            dots == std::string::npos ? options.first : std::stoull(value.substr(dots + 2));
      } else if (name == "--scenario") {
        if (!scenarios.contains(value)) usage("there is no scenario '" + value + "'");
        options.mishap = scenarios.at(value);
      } else if (name == "--case") {
        options.words = value;
      } else if (name == "--error") {
        options.error = std::stod(value);
      } else if (name == "--jitter") {
        options.jitter = std::stod(value);
      } else if (name == "--below") {
        options.below = std::stod(value);
      } else if (name == "--trace") {
        options.trace = value;
      } else if (name == "--jobs") {
        options.jobs = std::max(1, std::stoi(value));
      } else {
        usage("there is no option " + name);
      }
    }
  } catch (const std::exception&) {
    usage("a value is no number");
  }
  if (options.last < options.first) usage("--seeds A..B needs A <= B");
  return options;
}

std::vector<PolicyRun> run_all(const PolicyCase& one, const Options& options) {
  std::vector<PolicyRun> runs(options.last - options.first + 1);
  std::vector<std::jthread> threads;
  for (int job = 0; job < options.jobs; ++job) {
    threads.emplace_back([&, job] {
      for (std::size_t k = static_cast<std::size_t>(job); k < runs.size();
           k += static_cast<std::size_t>(options.jobs)) {
        runs[k] = run_policy(one, options.first + k);
      }
    });
  }
  threads.clear();
  return runs;
}

int main_of(const Options& options) {
  int broken = 0;
  std::cout << "| case | median | 1st percentile | moves a sample | most | worst against the best "
               "alone |\n|---|---|---|---|---|---|\n";
  for (PolicyCase one : policy_cases(options.mishap)) {
    one.error = options.error;
    one.jitter = options.jitter;
    if (name_of(one).find(options.words) == std::string::npos) continue;
    if (!options.trace.empty()) {
      std::string text;
      (void)run_policy(one, options.first, &text);
      std::ofstream(options.trace) << text;
      return 0;
    }
    const std::vector<PolicyRun> runs = run_all(one, options);
    std::vector<double> efficiency;
    double moves = 0;
    double against = 1e9;
    int most = 0;
    for (std::size_t k = 0; k < runs.size(); ++k) {
      const PolicyRun& run = runs[k];
      efficiency.push_back(run.efficiency);
      moves += run.moves / static_cast<double>(runs.size());
      against = std::min(against, run.against_one);
      most = std::max(most, run.most_moves);
      if (run.problem.empty() && run.efficiency >= options.below) continue;
      broken += run.problem.empty() ? 0 : 1;
      std::cerr << name_of(one) << ", seed " << options.first + k << " (" << run.devices
                << " devices, " << run.samples << " samples): " << run.efficiency << " "
                << run.problem << "\n";
    }
    std::printf("| %s | %.3f | %.3f | %.2f | %d | %.3f |\n", name_of(one).c_str(),
                percentile(efficiency, 0.5), percentile(efficiency, 0.01), moves, most, against);
    std::fflush(stdout);
  }
  return broken > 0 ? 1 : 0;
}

}  // namespace
}  // namespace pa

int main(int argc, char** argv) { return pa::main_of(pa::parse(argc, argv)); }
