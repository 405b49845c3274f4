// pa sample, pa forward, pa plan.

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>

#include "clients/cli/cluster_file.h"
#include "clients/cli/commands.h"
#include "clients/cli/contact_sheet.h"
#include "clients/cli/exit_code.h"
#include "clients/cli/formatted.h"
#include "clients/cli/json_text.h"
#include "clients/cli/prepared_request.h"
#include "clients/cli/progress.h"
#include "clients/cli/worker_models.h"
#include "clients/cpp/client.h"
#include "clients/cpp/request_file.h"
#include "clients/cpp/result_file.h"
#include "shared/io/request_json.h"
#include "shared/io/signals.h"
#include "shared/wire/buffer_pool.h"

namespace pa::cli {
namespace {

constexpr Duration kAnswerLimit = std::chrono::seconds{10};
constexpr Duration kSettleLimit = std::chrono::seconds{2};

/// Ctrl-C: the first one cancels, the second one ends the process at once.
class Interrupt {
 public:
  [[nodiscard]] Signals& signals() { return signals_; }

  [[nodiscard]] bool requested() {
    while (signals_.take()) ++count_;
    if (count_ > 1) ::_exit(kCancelled);
    return count_ > 0;
  }

 private:
  Signals signals_;
  int count_ = 0;
};

/// Where the result's bytes go: a file, or memory if only a picture is wanted.
struct Destination {
  std::optional<ResultFile> file;
  Buffer bytes;

  [[nodiscard]] Status open(const RunCommand& command, const Accepted& accepted,
                            std::int64_t samples) {
    if (!command.out_file.empty()) {
      PA_ASSIGN(file, ResultFile::create(command.out_file, accepted, samples));
      bytes = file->bytes();
      return {};
    }
    PA_ASSIGN(const std::uint64_t size, byte_size(accepted.result));
    bytes = BufferPool(0).allocate(size);
    if (bytes.size() != size)
      return overloaded("no memory for a result of " + std::to_string(size) + " bytes");
    return {};
  }
};

/// Before anything runs: whether `file`, given by `option`, can be written where it is to be.
Status check_writable(const std::string& option, const std::string& file) {
  if (file.empty()) return {};
  const std::filesystem::path path(file);
  const std::string folder = path.has_parent_path() ? path.parent_path().string() : ".";
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) {
    return invalid(option + ": there is no directory " + folder);
  }
  if (std::filesystem::is_directory(path, error)) {
    return invalid(option + ": " + file + " is a directory; expected a file");
  }
  if (::access(folder.c_str(), W_OK) != 0) {
    return invalid(option + ": the directory " + folder + " cannot be written to");
  }
  return {};
}

/// The request, under the id that was asked for.
Result<PreparedRequest> prepare(const RunCommand& command) {
  const std::optional<Operation> op = command.plan_only ? std::nullopt : std::optional(command.op);
  RequestOverrides overrides = command.overrides;
  PA_ASSIGN(PreparedRequest prepared, prepare_request(op, command.request_file, overrides));
  if (prepared.request.preview.every == 0 && !command.previews_dir.empty()) {
    overrides.set.emplace_back("preview.every", "1");
    PA_ASSIGN(prepared, prepare_request(op, command.request_file, overrides));
  }
  if (!command.id.empty()) {
    const std::optional<RequestId> id = parse_request_id(command.id);
    if (!id) return invalid("--id: expected 32 hexadecimal digits, found '" + command.id + "'");
    prepared.submission.id = *id;
  }
  return prepared;
}

Result<std::unique_ptr<Client>> connect(const RunCommand& command) {
  ClientOptions options;
  options.first_answer = kAnswerLimit;
  if (command.patience_seconds) options.patience = from_seconds(*command.patience_seconds);
  return connect_to(command.where, std::move(options));
}

/// What the cluster says of a model, for the picture; nothing if it does not know it.
std::optional<ModelInfo> model_info(Client& client, const std::string& model) {
  const auto status = client.status(kAnswerLimit);
  if (!status.ok()) return std::nullopt;
  for (const WorkerStatus& worker : status->workers) {
    if (const ModelInfo* info = model_of(worker, model)) return *info;
  }
  return std::nullopt;
}

Status draw(const RunCommand& command, const Request& request, const ResultReport& report,
            const Buffer& bytes, const std::optional<ModelInfo>& model) {
  SheetContents contents;
  contents.spec = report.outcome.accepted.result;
  contents.bytes = bytes.bytes();
  if (model) {
    contents.pixel_min = model->pixel_min;
    contents.pixel_max = model->pixel_max;
    contents.colours = model->colours;
  }
  contents.groups.assign(static_cast<std::size_t>(request.samples), -1);
  std::map<std::string, int> groups;
  for (const DeviceShare& share : device_shares(report)) {
    groups[share.worker] = static_cast<int>(contents.legend.size());
    contents.legend.push_back(share_text(share));
  }
  for (const SampleReport& sample : report.outcome.done.samples) {
    if (sample.failed || sample.sample < 0 || sample.sample >= request.samples) continue;
    contents.groups[static_cast<std::size_t>(sample.sample)] = groups[sample.worker];
  }
  for (std::int64_t i = 0; i < request.samples; ++i) {
    const auto index = static_cast<std::size_t>(i);
    contents.captions.push_back(index < request.labels.size() ? request.labels[index]
                                                              : std::to_string(i));
  }
  PA_ASSIGN(const Image image, draw_contact_sheet(contents));
  return write_png(command.png_file, image);
}

/// The newest of each sample, as sample-0003.png.
Status keep_preview(const std::string& folder, const SamplePreview& preview) {
  const std::string name = formatted("sample-%04lld.png", static_cast<long long>(preview.sample));
  if (std::ssize(preview.rgb) != preview.width * preview.height * 3) {
    return internal("a preview that is no picture");
  }
  return write_png(folder + "/" + name, {static_cast<int>(preview.width),
                                         static_cast<int>(preview.height), preview.rgb});
}

int plan(const RunCommand& command, PreparedRequest prepared, Client& client) {
  const auto accepted = client.plan(std::move(prepared.submission));
  if (!accepted.ok()) return fail(accepted.error());
  if (command.json) {
    std::printf("%s\n", plan_json(*accepted).c_str());
    return kDone;
  }
  for (const PlanShare& share : accepted->plan) {
    std::printf("%-20s %-10s %6lld  %s\n", share.worker.c_str(), share.device.c_str(),
                static_cast<long long>(share.samples), share.reason.c_str());
  }
  if (accepted->seconds >= 0) {
    std::printf("all end in %.3g s; what limits it is %s\n", accepted->seconds,
                accepted->limit.c_str());
  }
  return kDone;
}

/// Names samples that failed on standard error.
int tell_failed(const Done& done) {
  int code = kDone;
  for (const SampleReport& sample : done.samples) {
    if (!sample.failed) continue;
    std::fprintf(stderr, "pa: sample %lld on %s failed: %s\n",
                 static_cast<long long>(sample.sample), sample.worker.c_str(),
                 sample.error.message.c_str());
    code = kSomeFailed;
  }
  return code;
}

int sample(const RunCommand& command, PreparedRequest prepared, Client& client,
           Interrupt& interrupt) {
  const Request& request = prepared.request;
  ResultReport report;
  report.id = prepared.submission.id;
  report.request = prepared.submission.body;
  Destination destination;
  ProgressBar bar;
  JobCallbacks callbacks;
  bool accepted_once = false;
  callbacks.on_accepted = [&](const Accepted& accepted) -> Result<Buffer> {
    accepted_once = true;
    PA_TRY(destination.open(command, accepted, request.samples));
    return destination.bytes;
  };
  callbacks.on_progress = [&](const RequestProgress& progress) {
    report.devices = progress.devices;
    bar.show(progress);
  };
  callbacks.on_preview = [&](const SamplePreview& preview) {
    if (command.previews_dir.empty()) return;
    if (const Status kept = keep_preview(command.previews_dir, preview); !kept.ok()) {
      bar.notice("--previews: " + kept.error().message);
    }
  };
  callbacks.on_notice = [&](std::string_view text) { bar.notice(text); };

  auto outcome = client.run(std::move(prepared.submission), std::move(callbacks),
                            [&] { return interrupt.requested(); });
  bar.clear();
  if (!outcome.ok()) {
    if (outcome.error().code != Code::kUnavailable) client.settle(kSettleLimit);
    Error error = outcome.error();
    if (error.code == Code::kUnavailable && accepted_once)
      error.message += "; the same command with --id " + to_string(report.id) + " waits on for it";
    return fail(error);
  }
  report.outcome = std::move(outcome).value();
  const auto model = command.png_file.empty() ? std::nullopt : model_info(client, request.model);
  if (destination.file) {
    if (const Status saved = destination.file->finish(report); !saved.ok())
      return fail(saved.error());
  }
  client.acknowledge(report.id);
  client.settle(kSettleLimit);
  if (!command.png_file.empty()) {
    const Status drawn = draw(command, request, report, destination.bytes, model);
    if (!drawn.ok()) return fail({drawn.error().code, "--png: " + drawn.error().message, {}});
  }
  for (const std::string& warning : report.outcome.done.warnings) bar.notice("warning: " + warning);
  if (command.json) {
    std::printf("%s\n", result_json(report).c_str());
  } else {
    std::printf("%s\n", result_line(report).c_str());
  }
  return tell_failed(report.outcome.done);
}

}  // namespace

int run(const RunCommand& command) {
  std::optional<Interrupt> interrupt;  // Before the first thread, which must not take the signals.
  if (!command.plan_only) interrupt.emplace();
  for (const auto& [option, file] :
       {std::pair{"--out", &command.out_file}, {"--png", &command.png_file}}) {
    const Status writable = check_writable(option, *file);
    if (writable.ok()) continue;
    std::fprintf(stderr, "pa: %s\n", writable.error().message.c_str());
    return kUsage;
  }
  std::error_code error;
  if (!command.previews_dir.empty() &&
      !std::filesystem::is_directory(command.previews_dir, error)) {
    std::fprintf(stderr, "pa: --previews: there is no directory %s\n",
                 command.previews_dir.c_str());
    return kUsage;
  }
  auto prepared = prepare(command);
  if (!prepared.ok()) return fail(prepared.error());
  auto client = connect(command);
  if (!client.ok()) return fail(client.error());
  if (!interrupt) return plan(command, std::move(prepared).value(), **client);
  (*client)->watch(interrupt->signals());
  return sample(command, std::move(prepared).value(), **client, *interrupt);
}

}  // namespace pa::cli
