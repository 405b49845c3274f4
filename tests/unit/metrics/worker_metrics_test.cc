#include "worker/io/worker_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pa {
namespace {

using ::testing::HasSubstr;

constexpr const char* kName = "box:cuda:0";

TEST(WorkerMetrics, AreThereAtZero) {
  Metrics metrics;
  WorkerMetrics worker(metrics, kName);
  worker.device_ready("cuda:0", "Some GPU");
  const std::string text = metrics.scrape();
  for (const char* series :
       {"pa_device_busy_seconds_total{device=\"box:cuda:0\",phase=\"compute\"} 0",
        "pa_device_items_total{device=\"box:cuda:0\"} 0",
        "pa_device_steps_total{device=\"box:cuda:0\"} 0",
        "pa_step_duration_seconds_count{device=\"box:cuda:0\"} 0",
        "pa_model_load_duration_seconds_count{device=\"box:cuda:0\"} 0",
        "pa_memory_free_bytes{device=\"box:cuda:0\"} 0",
        "pa_device_info{device=\"box:cuda:0\",kind=\"cuda:0\",name=\"Some GPU\"} 1"}) {
    EXPECT_THAT(text, HasSubstr(std::string("\n") + series + "\n"));
  }
}

TEST(WorkerMetrics, Count) {
  Metrics metrics;
  WorkerMetrics worker(metrics, kName);
  worker.pass_finished(0.5);
  worker.pass_finished(1.0);
  worker.samples_finished(3);
  worker.steps_finished(60);
  worker.model_loaded(2);
  worker.set_memory_free(1 << 20);
  worker.set_memory_free(-1);
  const std::string text = metrics.scrape();
  for (const char* series :
       {"pa_device_busy_seconds_total{device=\"box:cuda:0\",phase=\"compute\"} 1.5",
        "pa_step_duration_seconds_sum{device=\"box:cuda:0\"} 1.5",
        "pa_step_duration_seconds_bucket{device=\"box:cuda:0\",le=\"0.5\"} 1",
        "pa_device_items_total{device=\"box:cuda:0\"} 3",
        "pa_device_steps_total{device=\"box:cuda:0\"} 60",
        "pa_model_load_duration_seconds_sum{device=\"box:cuda:0\"} 2",
        "pa_memory_free_bytes{device=\"box:cuda:0\"} 1048576"}) {
    EXPECT_THAT(text, HasSubstr(std::string("\n") + series + "\n"));
  }
}

}  // namespace
}  // namespace pa
