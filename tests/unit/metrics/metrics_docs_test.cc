#include <gtest/gtest.h>

#include "coordinator/io/coordinator_metrics.h"
#include "shared/io/blob_metrics.h"
#include "shared/io/process_metrics.h"
#include "tests/support/text_files.h"
#include "worker/io/worker_metrics.h"

namespace pa {
namespace {

std::string table_of(const std::vector<MetricInfo>& list) {
  std::string text = "| name | type | labels | meaning |\n|---|---|---|---|\n";
  for (const MetricInfo& metric : list) {
    std::string labels;
    for (const std::string& label : metric.labels) {
      labels += (labels.empty() ? "`" : ", `") + label + "`";
    }
    text += "| `" + metric.name + "` | " + std::string(name_of(metric.kind)) + " | " + labels +
            " | " + metric.help + " |\n";
  }
  return text;
}

TEST(MetricsDocs, AreWhatTheProgramsExport) {
  Metrics process;
  add_process_metrics(process);
  const BlobMetrics blob_metrics(process);
  Metrics coordinator;
  const CoordinatorMetrics coordinator_metrics(coordinator);
  Metrics worker;
  const WorkerMetrics worker_metrics(worker, "name");
  test::expect_committed(
      "docs/metrics.md",
      "# Metrics\n\n"
      "Both daemons serve `/metrics` in Prometheus' text format, on `http.address` and `http.port` "
      "of their\nconfiguration; beside it, `/healthz` (the loop turns) and `/readyz` (it is of "
      "use; "
      "503 and why not\notherwise).\n\n"
      "`device` is everywhere the worker's name, so that coordinator and workers can be joined on "
      "it. A\nhistogram has the series `_bucket`, `_sum` and `_count`. Every series whose labels "
      "are "
      "known is there from\nthe start, at 0; a device's on the coordinator from when it first "
      "joins.\n\n"
      "This file is written by the test `metrics_docs_test`, from the code.\n\n"
      "## Coordinator\n\n" +
          table_of(coordinator.list()) + "\n## Worker\n\n" + table_of(worker.list()) +
          "\n## Both\n\n" + table_of(process.list()));
}

}  // namespace
}  // namespace pa
