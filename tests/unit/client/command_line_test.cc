#include "clients/cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

namespace pa::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::variant<Command, int> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "pa");
  return parse_command_line(static_cast<int>(arguments.size()), arguments.data());
}

template <class T>
T command(std::vector<const char*> arguments) {
  const auto parsed = parse(std::move(arguments));
  const auto* found = std::get_if<Command>(&parsed);
  if (found == nullptr || !std::holds_alternative<T>(*found)) {
    ADD_FAILURE() << "not that command";
    return {};
  }
  return std::get<T>(*found);
}

int code(std::vector<const char*> arguments) {
  const auto parsed = parse(std::move(arguments));
  const int* found = std::get_if<int>(&parsed);
  return found != nullptr ? *found : -1;
}

TEST(CommandLine, ReadsARequest) {
  const auto run =
      command<RunCommand>({"sample", "--model", "digits", "--labels", "0-9", "--count", "21",
                           "--set", "tag=a=b", "--set", "seed=3", "--png", "x.png"});
  EXPECT_EQ(run.op, Operation::kSample);
  EXPECT_EQ(run.overrides.model, "digits");
  EXPECT_EQ(run.overrides.count, 21);
  EXPECT_EQ(run.png_file, "x.png");
  EXPECT_THAT(run.overrides.set, ElementsAre(std::pair<std::string, std::string>("tag", "a=b"),
                                             std::pair<std::string, std::string>("seed", "3")));
  EXPECT_EQ(command<RunCommand>({"forward", "--request", "r"}).op, Operation::kForward);
  EXPECT_TRUE(command<RunCommand>({"plan", "--request", "r"}).plan_only);
}

TEST(CommandLine, WaitTakesSecondsOrNone) {
  EXPECT_FALSE(command<StatusCommand>({"status"}).wait_seconds.has_value());
  EXPECT_TRUE(std::isinf(*command<StatusCommand>({"status", "--wait"}).wait_seconds));
  EXPECT_EQ(*command<StatusCommand>({"status", "--wait", "2.5", "--json"}).wait_seconds, 2.5);
  EXPECT_EQ(code({"status", "--wait", "soon"}), 2);
}

TEST(CommandLine, MistakesAreUsageErrors) {
  EXPECT_EQ(code({}), 2);
  EXPECT_EQ(code({"smple"}), 2);
  EXPECT_EQ(code({"sample", "--nonsense"}), 2);
  EXPECT_EQ(code({"sample", "--count", "many"}), 2);
  EXPECT_EQ(code({"sample", "--set", "novalue"}), 2);
  EXPECT_EQ(code({"cancel"}), 2);
  EXPECT_EQ(code({"bench"}), 2);
  EXPECT_EQ(code({"up", "--workers", "0"}), 2);
  EXPECT_EQ(code({"up", "--worker", "colour=red"}), 2);
  EXPECT_EQ(code({"up", "--workers", "2", "--devices", "cpu"}), 2);
  EXPECT_EQ(code({"--help"}), 0);
  EXPECT_EQ(code({"--version"}), 0);
}

TEST(CommandLine, ReadsTheBenchmarksContract) {
  const auto bench =
      command<BenchCommand>({"bench",    "--local", "--fixed-ms", "5",  "--per-sample-ms", "10,25",
                             "--model",  "sleep",   "--batch",    "21", "--sample-bytes",  "64",
                             "--warmup", "2",       "--batches",  "30", "--weights",       "71,29",
                             "--rate",   "25",      "--seed",     "1"});
  EXPECT_EQ(bench.model, "sleep");
  EXPECT_EQ(bench.batch, 21);
  EXPECT_THAT(bench.per_sample_ms, ElementsAre(10, 25));
  EXPECT_THAT(bench.weights, ElementsAre(71, 29));
  EXPECT_EQ(bench.rate, 25);
}

TEST(Workers, AreDescribedByKeysAndValues) {
  const auto up = command<UpCommand>(
      {"up", "--worker", "name=a,device=cpu,weight=40,sim=5ms+10ms", "--worker", "device=cuda:1"});
  ASSERT_EQ(up.workers.size(), 2U);
  EXPECT_EQ(up.workers[0].name, "a");
  EXPECT_EQ(up.workers[0].weight, 40);
  EXPECT_EQ(up.workers[0].sim, "5ms+10ms");
  EXPECT_EQ(up.workers[1].name, "cuda:1");
}

TEST(Workers, EqualOnesAreNumbered) {
  const auto up = command<UpCommand>({"up", "--workers", "2"});
  ASSERT_EQ(up.workers.size(), 2U);
  EXPECT_EQ(up.workers[0].name, "cpu-1");
  EXPECT_EQ(up.workers[1].name, "cpu-2");
  const auto devices = command<UpCommand>({"up", "--devices", "cpu,cuda:0"});
  EXPECT_EQ(devices.workers[0].name, "cpu");
  EXPECT_EQ(devices.workers[1].name, "cuda:0");
}

TEST(Workers, MistakesAreNamed) {
  EXPECT_THAT(parse_worker("weight=-1").error().message, HasSubstr("a number from 0 to 1e9"));
  EXPECT_THAT(parse_worker("sim=5ms").error().message, HasSubstr("5ms+10ms"));
  EXPECT_THAT(parse_worker("device=tpu").error().message, HasSubstr("'device=tpu'"));
  EXPECT_THAT(parse_worker("name").error().message, HasSubstr("KEY=VALUE"));
  EXPECT_THAT(parse_worker("name=a,name=b").error().message, HasSubstr("given twice"));
  std::vector<WorkerSpec> twins(2);
  twins[0].name = twins[1].name = "a";
  EXPECT_THAT(name_workers(twins).error().message, HasSubstr("two workers are called 'a'"));
}

}  // namespace
}  // namespace pa::cli
