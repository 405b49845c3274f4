#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/io/config.h"
#include "tests/support/paths.h"
#include "tests/support/text_files.h"

namespace pa {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using Overrides = std::vector<std::pair<std::string, std::string>>;

std::string error_of(const Overrides& overrides) {
  const auto config = load_coordinator_config({.overrides = overrides});
  return config.ok() ? "" : config.error().message;
}

TEST(CoordinatorConfig, FillsInWhatDependsOnOtherKeys) {
  const auto config = load_coordinator_config({.overrides = {{"run_dir", "/run/x"}}});
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->endpoints.client, "ipc:///run/x/client.sock");
  EXPECT_EQ(config->endpoints.control, "ipc:///run/x/control.sock");
  EXPECT_EQ(config->endpoints.data, "ipc:///run/x/data.sock");
  EXPECT_EQ(config->http.port, 9463);
}

TEST(CoordinatorConfig, ReadsAFile) {
  const test::TemporaryFile file(
      "run_dir: /run/x\n"
      "endpoints: {client: 'ipc:///run/y/c'}\n"
      "http: {address: '::1', port: 0}\n"
      "heartbeat: {interval: 100ms, suspect_after: 300ms, dead_after: 600ms}\n"
      "weights: {'box:cuda:0': 70, b: 30}\n"
      "log: {level: debug, format: json}\n");
  const auto config = load_coordinator_config({.config_file = file.path()});
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->endpoints.client, "ipc:///run/y/c");
  EXPECT_EQ(config->endpoints.data, "ipc:///run/x/data.sock");
  EXPECT_EQ(config->http.address, "::1");
  EXPECT_EQ(config->http.port, 0);
  EXPECT_EQ(config->heartbeat.dead_after, milliseconds{600});
  EXPECT_EQ(config->weights.at("box:cuda:0"), 70);
  EXPECT_EQ(config->log.level, LogLevel::kDebug);
  EXPECT_EQ(config->log.format, LogFormat::kJson);
}

TEST(CoordinatorConfig, RefusesValuesThatDoNotGoTogether) {
  const test::TemporaryFile file(
      "heartbeat:\n"
      "  suspect_after: 600ms\n"
      "  dead_after: 500ms\n");
  const auto config = load_coordinator_config({.config_file = file.path()});
  EXPECT_EQ(config.error().message,
            file.path() +
                ":2:18: heartbeat.suspect_after: must be at least twice heartbeat.interval, or one "
                "late beat is suspicious\n" +
                file.path() +
                ":3:15: heartbeat.dead_after: must be longer than heartbeat.suspect_after");
  EXPECT_THAT(error_of({{"limits.max_total_bytes", "1GiB"}}),
              HasSubstr("--set limits.max_total_bytes: limits.max_total_bytes: must be at least"));
  EXPECT_THAT(error_of({{"limits.window_bytes", "4KiB"}}), HasSubstr("limits.window_bytes"));
}

TEST(CoordinatorConfig, RefusesPlacesThatCannotBe) {
  EXPECT_THAT(error_of({{"run_dir", "run"}}), HasSubstr("run_dir: cannot hold the sockets"));
  EXPECT_THAT(error_of({{"run_dir", "/" + std::string(100, 'a')}}), HasSubstr("at most 107 bytes"));
  EXPECT_THAT(error_of({{"endpoints.client", "tcp://127.0.0.1:1"}}), HasSubstr("CURVE"));
  EXPECT_THAT(error_of({{"http.address", "localhost"}}), HasSubstr("expected an IP address"));
  EXPECT_THAT(error_of({{"http.port", "65536"}}), HasSubstr("from 0 to 65535"));
}

TEST(CoordinatorConfig, RefusesNamesAndWeightsOfNoWorker) {
  EXPECT_THAT(error_of({{"weights.a b", "1"}}), HasSubstr("found 'a b'"));
  EXPECT_THAT(error_of({{"weights.a", "-1"}}), HasSubstr("expected a number from 0"));
  EXPECT_THAT(error_of({{"weights.a", "heavy"}}), HasSubstr("found heavy"));
}

TEST(CoordinatorConfig, IsDocumentedKeyByKey) {
  CoordinatorConfig defaults;
  test::expect_committed(
      "config/coordinator.yaml",
      coordinator_settings(defaults).document(
          "Configuration of pa-coordinator: every key, its default, its reason. A file may leave "
          "out any of them. Check one with `pa-coordinator --config FILE --check-config`."));
}

TEST(CoordinatorConfig, HasItsDefaultsInTheDocumentedFile) {
  CoordinatorConfig from_file;
  from_file.run_dir = "/elsewhere";
  from_file.limits = {1, 1, 1, 1, 1, 1};
  from_file.log = {LogLevel::kError, LogFormat::kJson};
  Settings settings = coordinator_settings(from_file);
  settings.load(test::source_path("config/coordinator.yaml"), {});
  ASSERT_TRUE(settings.finish().ok());
  const CoordinatorConfig defaults;
  EXPECT_EQ(from_file.run_dir, defaults.run_dir);
  EXPECT_EQ(from_file.limits.max_request_bytes, defaults.limits.max_request_bytes);
  EXPECT_EQ(from_file.limits.chunk_bytes, defaults.limits.chunk_bytes);
  EXPECT_EQ(from_file.log.level, defaults.log.level);
}

}  // namespace
}  // namespace pa
