#include "shared/io/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "shared/io/process_metrics.h"

namespace pa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Metrics, AppearAtZeroAndCount) {
  Metrics metrics;
  const CounterMetric counter = metrics.counters("c_total", "Help.", {"kind"}).with({"a"});
  const GaugeMetric gauge = metrics.gauges("g", "Help.").with({});
  EXPECT_THAT(metrics.scrape(), HasSubstr("# HELP c_total Help.\n# TYPE c_total counter\n"
                                          "c_total{kind=\"a\"} 0\n"));
  counter.add();
  counter.add(2.5);
  counter.add(-1);
  gauge.set(-3);
  EXPECT_THAT(metrics.scrape(), HasSubstr("c_total{kind=\"a\"} 3.5\n"));
  EXPECT_THAT(metrics.scrape(), HasSubstr("g -3\n"));
}

TEST(Metrics, GiveOneSeriesForEqualLabels) {
  Metrics metrics;
  const CounterFamily family = metrics.counters("c_total", "Help.", {"kind"});
  family.with({"a"}).add();
  family.with({"a"}).add();
  EXPECT_THAT(metrics.scrape(), HasSubstr("c_total{kind=\"a\"} 2\n"));
}

TEST(Metrics, CountInInclusiveBuckets) {
  Metrics metrics;
  const HistogramMetric histogram = metrics.histograms("h_seconds", "Help.", {1, 2}).with({});
  for (const double value : {0.5, 1.0, 1.5, 9.0}) histogram.observe(value);
  const std::string text = metrics.scrape();
  EXPECT_THAT(text, HasSubstr("h_seconds_bucket{le=\"1\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("h_seconds_bucket{le=\"2\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("h_seconds_bucket{le=\"+Inf\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("h_seconds_sum 12\n"));
}

TEST(Metrics, HaveValidLabelsWhateverANameHolds) {
  Metrics metrics;
  metrics.gauges("g", "Help.", {"device"}).with({"a\xFF\"\\\n"}).set(1);
  EXPECT_THAT(metrics.scrape(), HasSubstr("g{device=\"a\uFFFD\\\"\\\\\\n\"} 1\n"));
}

TEST(Metrics, MayBeReadWhenScraped) {
  Metrics metrics;
  double value = 1;
  metrics.on_scrape("g", MetricKind::kGauge, "Help.", {"x"}, [&value] {
    return std::vector<MetricSample>{{{"a"}, value}};
  });
  value = 2;
  EXPECT_THAT(metrics.scrape(), HasSubstr("# TYPE g gauge\ng{x=\"a\"} 2\n"));
}

TEST(Metrics, ListThemselves) {
  Metrics metrics;
  (void)metrics.counters("c_total", "Help.", {"kind"});
  (void)metrics.histograms("h", "More help.", {1});
  const std::vector<MetricInfo> list = metrics.list();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].name, "c_total");
  EXPECT_THAT(list[0].labels, ElementsAre("kind"));
  EXPECT_EQ(list[1].kind, MetricKind::kHistogram);
  EXPECT_EQ(list[1].help, "More help.");
}

TEST(MetricsDeathTest, RefuseANameTwiceOrWrong) {
  Metrics metrics;
  (void)metrics.counters("c_total", "Help.");
  EXPECT_DEATH((void)metrics.gauges("c_total", "Help."), "known.name");
  EXPECT_DEATH((void)metrics.gauges("no blanks", "Help."), "broken invariant");
}

TEST(Metrics, MayBeScrapedWhileTheyChange) {
  Metrics metrics;
  const CounterFamily family = metrics.counters("c_total", "Help.", {"kind"});
  std::thread scraper([&metrics] {
    for (int i = 0; i < 200; ++i) (void)metrics.scrape();
  });
  for (int i = 0; i < 2000; ++i) family.with({std::to_string(i % 50)}).add();
  scraper.join();
  EXPECT_THAT(metrics.scrape(), HasSubstr("c_total{kind=\"49\"} 40\n"));
}

TEST(Bounds, GoThroughDecades) {
  EXPECT_THAT(decade_bounds(0.1, 2), ElementsAre(0.1, 0.2, 0.5, 1, 2));
  EXPECT_THAT(decade_bounds(0.001, 0.01), ElementsAre(0.001, 0.002, 0.005, 0.01));
  EXPECT_EQ(decade_bounds(0.001, 20).size(), 14u);
}

/// The value of the series `name` in `text`; NaN if it is not there.
double value_of(const std::string& text, const std::string& name) {
  const std::size_t at = text.find("\n" + name + " ");
  return at == std::string::npos ? std::nan("")
                                 : std::strtod(text.c_str() + at + name.size() + 2, nullptr);
}

TEST(ProcessMetrics, TellOfThisProcess) {
  Metrics metrics;
  add_process_metrics(metrics);
  const std::string text = metrics.scrape();
  EXPECT_GT(value_of(text, "process_resident_memory_bytes"), 1 << 20);
  EXPECT_GT(value_of(text, "process_virtual_memory_bytes"),
            value_of(text, "process_resident_memory_bytes"));
  EXPECT_GE(value_of(text, "process_cpu_seconds_total"), 0);
  EXPECT_GE(value_of(text, "process_open_fds"), 3);
  EXPECT_GE(value_of(text, "process_max_fds"), value_of(text, "process_open_fds"));
  EXPECT_GE(value_of(text, "process_threads"), 1);
  const double now = static_cast<double>(std::time(nullptr));
  EXPECT_NEAR(value_of(text, "process_start_time_seconds"), now, 600);
  EXPECT_THAT(text, HasSubstr("pa_log_messages_total{level=\"error\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("pa_build_info{version=\""));
}

}  // namespace
}  // namespace pa
