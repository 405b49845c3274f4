#include "coordinator/io/coordinator_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shared/io/ops_server.h"
#include "tests/support/http_get.h"

namespace pa {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct CoordinatorMetricsTest : ::testing::Test {
  Metrics metrics;
  CoordinatorMetrics coordinator{metrics};

  /// Expects the line `series` with `value` in a scrape.
  void expect(const std::string& series, const std::string& value) const {
    EXPECT_THAT(metrics.scrape(), HasSubstr("\n" + series + " " + value + "\n"));
  }
};

TEST_F(CoordinatorMetricsTest, AreThereAtZeroOverHttp) {
  const Health health([] { return TimePoint{}; });
  const auto server = serve_operations({}, metrics, health);
  ASSERT_TRUE(server.ok());
  coordinator.worker_joined("box:cuda:0");
  const std::string text = test::http_get((*server)->port(), "/metrics").body;
  for (const char* series :
       {"pa_requests_total{outcome=\"ok\"} 0",
        "pa_requests_total{outcome=\"error\"} 0",
        "pa_requests_total{outcome=\"cancelled\"} 0",
        "pa_requests_total{outcome=\"deadline\"} 0",
        "pa_requests_total{outcome=\"rejected\"} 0",
        "pa_request_duration_seconds_count 0",
        "pa_request_duration_seconds_bucket{le=\"900\"} 0",
        "pa_queue_wait_seconds_count 0",
        "pa_inflight_requests 0",
        "pa_queue_items 0",
        "pa_batch_items_count 0",
        "pa_chunk_retries_total{reason=\"lost\"} 0",
        "pa_chunk_retries_total{reason=\"timeout\"} 0",
        "pa_messages_rejected_total 0",
        "pa_plan_share_ratio{device=\"box:cuda:0\"} 0",
        "pa_device_assigned_items_total{device=\"box:cuda:0\"} 0",
        "pa_device_completed_items_total{device=\"box:cuda:0\"} 0",
        "pa_device_completed_steps_total{device=\"box:cuda:0\"} 0",
        "pa_worker_state{device=\"box:cuda:0\",state=\"lost\"} 0",
        "pa_worker_last_heartbeat_timestamp_seconds{device=\"box:cuda:0\"} 0",
        "pa_transfer_bytes_total{device=\"box:cuda:0\",direction=\"sent\",kind=\"input\"} 0",
        R"(pa_transfer_bytes_total{device="box:cuda:0",direction="received",kind="result"} 0)"}) {
    EXPECT_THAT(text, HasSubstr(std::string("\n") + series + "\n"));
  }
}

TEST_F(CoordinatorMetricsTest, SortRequestsByOutcome) {
  coordinator.request_accepted(21);
  coordinator.request_finished("ok", 3.5, 0.25);
  coordinator.request_finished("worker_lost", 1, 0);
  coordinator.request_finished("cancelled", 1, 0);
  coordinator.request_finished("deadline", 1, 0);
  coordinator.request_refused();
  expect("pa_requests_total{outcome=\"ok\"}", "1");
  expect("pa_requests_total{outcome=\"error\"}", "1");
  expect("pa_requests_total{outcome=\"cancelled\"}", "1");
  expect("pa_requests_total{outcome=\"deadline\"}", "1");
  expect("pa_requests_total{outcome=\"rejected\"}", "1");
  expect("pa_request_duration_seconds_sum", "6.5");
  expect("pa_queue_wait_seconds_sum", "0.25");
  expect("pa_batch_items_sum", "21");
}

TEST_F(CoordinatorMetricsTest, FollowADevice) {
  coordinator.worker_state("a", "live");
  coordinator.worker_state("a", "suspect");
  coordinator.worker_heard("a", 1767355201.5);
  coordinator.planned("a", 0.75);
  coordinator.samples_assigned("a", 15);
  coordinator.samples_finished("a", 14, 280);
  coordinator.shard_retried(RetryReason::kTimeout);
  coordinator.transferred("a", TransferDirection::kReceived, TransferKind::kResult, 4096);
  coordinator.set_load(2, 6);
  expect("pa_worker_state{device=\"a\",state=\"live\"}", "0");
  expect("pa_worker_state{device=\"a\",state=\"suspect\"}", "1");
  expect("pa_worker_last_heartbeat_timestamp_seconds{device=\"a\"}", "1767355201.5");
  expect("pa_plan_share_ratio{device=\"a\"}", "0.75");
  expect("pa_device_assigned_items_total{device=\"a\"}", "15");
  expect("pa_device_completed_items_total{device=\"a\"}", "14");
  expect("pa_device_completed_steps_total{device=\"a\"}", "280");
  expect("pa_chunk_retries_total{reason=\"timeout\"}", "1");
  expect("pa_transfer_bytes_total{device=\"a\",direction=\"received\",kind=\"result\"}", "4096");
  expect("pa_inflight_requests", "2");
  expect("pa_queue_items", "6");
}

TEST_F(CoordinatorMetricsTest, CountRejectedMessagesFromATotal) {
  coordinator.set_messages_rejected(3);
  coordinator.set_messages_rejected(3);
  coordinator.set_messages_rejected(5);
  expect("pa_messages_rejected_total", "5");
}

TEST_F(CoordinatorMetricsTest, AreBoundedInDevices) {
  for (std::size_t i = 0; i < CoordinatorMetrics::kMaxDevices + 5; ++i) {
    coordinator.samples_assigned("w" + std::to_string(i), 1);
  }
  expect("pa_device_assigned_items_total{device=\"other\"}", "5");
  EXPECT_THAT(metrics.scrape(), Not(HasSubstr("device=\"w4096\"")));
}

}  // namespace
}  // namespace pa
