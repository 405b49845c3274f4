#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/paths.h"
#include "tests/support/text_files.h"
#include "worker/io/config.h"

namespace pa {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using Overrides = std::vector<std::pair<std::string, std::string>>;

std::string error_of(const Overrides& overrides) {
  const auto config = load_worker_config({.overrides = overrides});
  return config.ok() ? "" : config.error().message;
}

TEST(WorkerConfig, FillsInWhatDependsOnTheMachineAndOtherKeys) {
  const auto config =
      load_worker_config({.overrides = {{"device", "cuda:1"}, {"connect.run_dir", "/run/x"}}});
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_THAT(config->name, EndsWith(":cuda:1"));
  EXPECT_GE(config->threads, 1);
  EXPECT_EQ(config->connect.control, "ipc:///run/x/control.sock");
  EXPECT_EQ(config->connect.data, "ipc:///run/x/data.sock");
  EXPECT_EQ(config->sim, std::nullopt);
}

TEST(WorkerConfig, ReadsAFile) {
  const test::TemporaryFile file(
      "name: a\n"
      "device: cpu\n"
      "weight: 40\n"
      "threads: 1\n"
      "connect: {control: 'ipc:///c', data: 'ipc:///d'}\n"
      "models: /models\n"
      "limits: {max_rows: 4, credit_samples: 2}\n"
      "sim: 5ms+10ms\n"
      "http: {port: 0}\n");
  const auto config = load_worker_config({.config_file = file.path()});
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->name, "a");
  EXPECT_EQ(config->weight, 40);
  EXPECT_EQ(config->threads, 1);
  EXPECT_EQ(config->connect.control, "ipc:///c");
  EXPECT_EQ(config->models, "/models");
  EXPECT_EQ(config->limits.max_rows, 4);
  EXPECT_EQ(config->limits.credit_samples, 2);
  ASSERT_TRUE(config->sim.has_value());
  EXPECT_DOUBLE_EQ(config->sim->fixed_seconds, 0.005);
  EXPECT_DOUBLE_EQ(config->sim->per_row_seconds, 0.010);
}

TEST(WorkerConfig, SaysWhatEachKeyExpects) {
  EXPECT_THAT(error_of({{"name", "a b"}}), HasSubstr("found \"a b\""));
  EXPECT_THAT(error_of({{"name", "yes"}}), HasSubstr("put it in quotes"));
  EXPECT_THAT(error_of({{"device", "gpu"}}), HasSubstr("expected cpu, mps, cuda:N or xpu:N"));
  EXPECT_THAT(error_of({{"device", "''"}}), HasSubstr("expected cpu"));
  EXPECT_THAT(error_of({{"weight", "-1"}}), HasSubstr("expected a number from 0"));
  EXPECT_THAT(error_of({{"threads", "-1"}}), HasSubstr("expected an integer from 0 to 4096"));
  EXPECT_THAT(error_of({{"limits.max_rows", "0"}}), HasSubstr("from 1 to 1024"));
  EXPECT_THAT(error_of({{"sim", "5ms"}}), HasSubstr("expected FIXED+PER_ROW, as in 5ms+10ms"));
  EXPECT_THAT(error_of({{"sim", "5+10"}}), HasSubstr("expected FIXED+PER_ROW"));
  EXPECT_THAT(error_of({{"connect.data", "tcp://h:1"}}), HasSubstr("CURVE"));
  EXPECT_THAT(error_of({{"connect.run_dir", "x"}}), HasSubstr("cannot hold the sockets"));
  EXPECT_THAT(error_of({{"model", "/m"}}), HasSubstr("did you mean 'models'?"));
}

TEST(Sim, ReadsBackAsWritten) {
  for (const char* text : {"5ms+10ms", "0s+1ms", "1s+25us"}) {
    const auto sim = parse_sim(text);
    ASSERT_TRUE(sim.ok()) << text;
    EXPECT_EQ(format_sim(*sim), text);
  }
}

TEST(WorkerConfig, IsDocumentedKeyByKey) {
  WorkerConfig defaults;
  test::expect_committed(
      "config/worker.yaml",
      worker_settings(defaults).document(
          "Configuration of pa-worker: every key, its default, its reason. A file may leave out "
          "any of them. Check one with `pa-worker --config FILE --check-config`."));
}

TEST(WorkerConfig, HasItsDefaultsInTheDocumentedFile) {
  WorkerConfig from_file;
  from_file.name = "x";
  from_file.limits = {1, 1, 1, 1};
  from_file.sim = SimDevice{1, 1};
  Settings settings = worker_settings(from_file);
  settings.load(test::source_path("config/worker.yaml"), {});
  ASSERT_TRUE(settings.finish().ok());
  const WorkerConfig defaults;
  EXPECT_EQ(from_file.name, defaults.name);
  EXPECT_EQ(from_file.limits.max_rows, defaults.limits.max_rows);
  EXPECT_EQ(from_file.limits.window_bytes, defaults.limits.window_bytes);
  EXPECT_EQ(from_file.sim, std::nullopt);
}

}  // namespace
}  // namespace pa
