#include "shared/io/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "shared/io/ops_server.h"
#include "tests/support/http_get.h"

namespace pa {
namespace {

using std::chrono::seconds;
using test::http_get;

struct HealthTest : ::testing::Test {
  void SetUp() override {
    auto started = serve_operations({}, metrics, health);
    ASSERT_TRUE(started.ok()) << started.error().message;
    server = std::move(started).value();
  }

  std::atomic<Duration::rep> now = 0;
  Metrics metrics;
  Health health{[this] { return TimePoint{Duration{now}}; }, seconds{5}};
  std::unique_ptr<HttpServer> server;
};

TEST_F(HealthTest, FlipsWhenTheLoopStopsAndBackWhenItTurns) {
  EXPECT_EQ(http_get(server->port(), "/healthz").status, 200);
  now = Duration{seconds{5}}.count();
  EXPECT_EQ(http_get(server->port(), "/healthz").body, "ok\n");
  now = Duration{seconds{7}}.count();
  const auto stuck = http_get(server->port(), "/healthz");
  EXPECT_EQ(stuck.status, 503);
  EXPECT_EQ(stuck.body, "the loop has not turned for 7.0 seconds\n");
  health.turned();
  EXPECT_EQ(http_get(server->port(), "/healthz").status, 200);
}

TEST_F(HealthTest, IsReadyWhenTheLoopSaysSo) {
  const auto starting = http_get(server->port(), "/readyz");
  EXPECT_EQ(starting.status, 503);
  EXPECT_EQ(starting.body, "starting\n");
  health.set_not_ready("no live worker");
  EXPECT_EQ(http_get(server->port(), "/readyz").body, "no live worker\n");
  health.set_ready();
  EXPECT_EQ(http_get(server->port(), "/readyz").status, 200);
}

TEST_F(HealthTest, IsNotReadyWithAStoppedLoop) {
  health.set_ready();
  now = Duration{seconds{60}}.count();
  EXPECT_EQ(http_get(server->port(), "/readyz").body, "the loop has not turned for 60.0 seconds\n");
}

TEST_F(HealthTest, ServesMetricsInTheTextFormat) {
  metrics.counters("c_total", "Help.").with({}).add(3);
  const auto answer = http_get(server->port(), "/metrics");
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.head, testing::HasSubstr("Content-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(answer.body, testing::HasSubstr("c_total 3\n"));
}

}  // namespace
}  // namespace pa
