// pa bench devices: one request on every worker by itself, with more and more samples in a pass.

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "clients/cli/cluster_file.h"
#include "clients/cli/commands.h"
#include "clients/cli/exit_code.h"
#include "clients/cli/formatted.h"
#include "clients/cli/prepared_request.h"
#include "clients/cli/table.h"
#include "clients/cli/worker_models.h"
#include "clients/cpp/client.h"
#include "shared/io/request_json.h"
#include "shared/wire/buffer_pool.h"

namespace pa::cli {
namespace {

constexpr Duration kAnswerLimit = std::chrono::seconds{10};
constexpr std::int64_t kUsualSamples = 8;
constexpr std::int64_t kUsualSteps = 4;  ///< Enough to tell passes from what is around them.

/// Runs the request on one worker alone, `samples` samples at a time.
///
/// returns       seconds that a step of all of these takes.
Result<double> measure(Client& client, const PreparedRequest& prepared, const std::string& worker,
                       std::int64_t samples) {
  Request request = prepared.request;
  request.workers = {worker};
  request.max_rows = samples * rows_per_sample(request);
  Submission submission = prepared.submission;
  submission.id = make_request_id();
  submission.body = to_json(request);
  const RequestId id = submission.id;
  Buffer result;
  JobCallbacks callbacks;
  callbacks.on_accepted = [&](const Accepted& accepted) -> Result<Buffer> {
    PA_ASSIGN(const std::uint64_t bytes, byte_size(accepted.result));
    result = BufferPool(0).allocate(bytes);
    if (result.size() != bytes) return overloaded("no memory for the result");
    return result;
  };
  callbacks.on_shared_result = [&](const Accepted&, Buffer shared) { result = std::move(shared); };
  PA_ASSIGN(const Outcome outcome, client.run(std::move(submission), std::move(callbacks)));
  client.acknowledge(id);
  double seconds = 0;
  std::int64_t steps = 0;
  for (const SampleReport& sample : outcome.done.samples) {
    if (sample.failed) return sample.error;
    seconds += sample.seconds;
    steps += sample.steps;
  }
  return seconds * static_cast<double>(samples) /
         static_cast<double>(std::max<std::int64_t>(steps, 1));
}

void print_line(const WorkerStatus& worker, std::int64_t samples, double seconds) {
  const nlohmann::ordered_json line{{"worker", worker.name},
                                    {"device", worker.device},
                                    {"samples", samples},
                                    {"step_seconds", seconds},
                                    {"steps_per_second", static_cast<double>(samples) / seconds}};
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

int measure_all(const BenchDevicesCommand& command, const PreparedRequest& prepared,
                Client& client) {
  const auto status = client.status(kAnswerLimit);
  if (!status.ok()) return fail(status.error());
  Table table({"WORKER", "DEVICE", "SAMPLES", "STEP", "STEPS/S", "HARDWARE"});
  bool any = false;
  for (const WorkerStatus& worker : status->workers) {
    if (worker.state != "live" || model_of(worker, prepared.request.model) == nullptr) continue;
    if (::isatty(STDERR_FILENO) == 1) std::fprintf(stderr, "%s ...\n", worker.name.c_str());
    // The first time loads the model and wakes the device.
    if (const auto first = measure(client, prepared, worker.name, 1); !first.ok())
      return fail(first.error());
    for (std::int64_t samples = 1; samples <= prepared.request.samples; samples *= 2) {
      const Result<double> seconds = measure(client, prepared, worker.name, samples);
      if (!seconds.ok()) return fail(seconds.error());
      any = true;
      if (command.json) {
        print_line(worker, samples, *seconds);
        continue;
      }
      const double rate = static_cast<double>(samples) / *seconds;
      table.add({worker.name, worker.device, std::to_string(samples),
                 formatted("%.3g ms", 1e3 * *seconds), formatted("%.3g", rate),
                 worker.device_name});
    }
  }
  if (!any) return fail(unavailable("no live worker has a model '" + prepared.request.model + "'"));
  if (!command.json) table.print();
  return kDone;
}

}  // namespace

int run(const BenchDevicesCommand& command) {
  RequestOverrides overrides = command.overrides;
  if (command.request_file.empty()) {
    if (!overrides.count) overrides.count = kUsualSamples;
    if (!overrides.steps) overrides.steps = kUsualSteps;
  }
  const auto prepared = prepare_request(Operation::kSample, command.request_file, overrides);
  if (!prepared.ok()) return fail(prepared.error());
  ClientOptions options;
  options.first_answer = kAnswerLimit;
  auto client = connect_to(command.where, std::move(options));
  if (!client.ok()) return fail(client.error());
  return measure_all(command, *prepared, **client);
}

}  // namespace pa::cli
