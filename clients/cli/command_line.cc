#include "clients/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <limits>
#include <map>

#include "clients/cli/exit_code.h"
#include "shared/core/nearest.h"
#include "shared/core/version.h"

namespace pa::cli {
namespace {

void add_where(CLI::App& app, Where& where) {
  app.add_option("--connect", where.connect,
                 "The coordinator: its client socket, ipc:///PATH, or tcp://HOST:PORT")
      ->envname("PA_CONNECT")
      ->type_name("ENDPOINT");
  app.add_option("--keys", where.keys,
                 "For tcp://: the folder with coordinator.public and your NAME.secret")
      ->envname("PA_KEYS")
      ->type_name("DIR");
  app.add_option("--state", where.state, "The directory of a cluster that `pa up` started")
      ->envname("PA_STATE")
      ->type_name("DIR");
}

/// The options that stand for fields of a request.
void add_overrides(CLI::App& app, RequestOverrides& fields, std::vector<std::string>& set) {
  app.add_option("--model", fields.model, "Name of a model folder")->type_name("NAME");
  app.add_option("--count", fields.count, "How many samples to make")->type_name("N");
  app.add_option("--size", fields.size, "Size in pixels")->type_name("WxH");
  app.add_option("--steps", fields.steps, "Steps of the schedule")->type_name("N");
  app.add_option("--sampler", fields.sampler, "How the loop steps, such as euler")
      ->type_name("NAME");
  app.add_option("--scheduler", fields.scheduler, "Where its steps lie, such as simple")
      ->type_name("NAME");
  app.add_option("--cfg", fields.cfg, "Guidance scale")->type_name("X");
  app.add_option("--seed", fields.seed, "Seed of the start noise")->type_name("N");
  app.add_option("--labels", fields.labels,
                 "What to make, by name: 0-9 or cat,dog; cycled over the samples")
      ->type_name("LIST");
  app.add_option("--set", set, "Any field of the request, such as sampler.options.eta=0.5")
      ->type_name("FIELD=VALUE")
      ->allow_extra_args(false);
}

struct RunOptions {
  RunCommand command;
  std::vector<std::string> set;
};

void add_run(CLI::App& app, RunOptions& options) {
  RunCommand& command = options.command;
  add_where(app, command.where);
  app.add_option("--request", command.request_file,
                 "A request file: safetensors, with the request in its metadata")
      ->type_name("FILE");
  if (!command.plan_only) {
    app.add_option("--out", command.out_file, "Where the result goes, as safetensors")
        ->type_name("FILE");
    app.add_option("--png", command.png_file, "Where a contact sheet of the samples goes")
        ->type_name("FILE");
    app.add_option("--previews", command.previews_dir,
                   "Directory for small pictures of unfinished samples")
        ->type_name("DIR");
    app.add_option("--patience", command.patience_seconds,
                   "Give up if the coordinator is silent for so long (default: never)")
        ->type_name("SECONDS")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--id", command.id,
                   "The request's id, 32 hexadecimal digits: go on waiting for a request that was "
                   "sent before (default: a new one)")
        ->type_name("ID");
  }
  app.add_flag("--json", command.json, "Print the answer as one line of JSON");
  add_overrides(app, command.overrides, options.set);
}

/// "a=b" as (a, b).
Result<std::pair<std::string, std::string>> split_pair(std::string_view text, const char* option) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return invalid(std::string(option) + ": expected FIELD=VALUE, found '" + std::string(text) +
                   "'");
  }
  return std::pair{std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

struct UpOptions {
  UpCommand command;
  std::int64_t count = 0;
  std::vector<std::string> devices;
  std::vector<std::string> workers;
};

Result<UpCommand> up_command(UpOptions options) {
  UpCommand command = std::move(options.command);
  for (const std::string& text : options.workers) {
    PA_ASSIGN(WorkerSpec worker, parse_worker(text));
    command.workers.push_back(std::move(worker));
  }
  for (const std::string& device : options.devices) {
    WorkerSpec worker;
    worker.device = device;
    command.workers.push_back(std::move(worker));
  }
  if (options.count > 0) {
    if (!command.workers.empty())
      return invalid("--workers stands for equal CPU workers: give it, or --worker and --devices");
    command.workers.resize(static_cast<std::size_t>(options.count));
  }
  PA_TRY(name_workers(command.workers));
  return command;
}

void add_up(CLI::App& app, UpOptions& options) {
  app.add_option("--state", options.command.where.state,
                 "Directory for sockets, logs and cluster.json; made with mode 0700")
      ->envname("PA_STATE")
      ->type_name("DIR");
  app.add_option("--workers", options.count, "So many equal CPU workers")
      ->type_name("N")
      ->check(CLI::Range(1, 1024));
  app.add_option("--devices", options.devices,
                 "One worker for each, such as cpu,cuda:0 (default: every GPU, or else the CPU)")
      ->type_name("LIST")
      ->delimiter(',');
  app.add_option("--worker", options.workers,
                 "One worker, such as name=a,device=cpu,weight=40,sim=5ms+10ms")
      ->type_name("SPEC")
      ->allow_extra_args(false);
  app.add_option("--models", options.command.models_dir,
                 "Folder with a folder a model (default: the models that came with this program)")
      ->type_name("DIR");
  app.add_option("--threads", options.command.threads,
                 "Threads of each CPU worker (default: the cores shared out)")
      ->type_name("N")
      ->check(CLI::Range(1, 4096));
}

void add_bench(CLI::App& app, BenchCommand& command, bool& local) {
  app.add_flag("--local", local, "Start a cluster of two workers for it");
  app.add_option("--path", command.path, "How bytes go: shared memory, sockets, or TCP with CURVE")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, BenchCommand::Path>{{"shared", BenchCommand::Path::kShared},
                                                    {"sockets", BenchCommand::Path::kSockets},
                                                    {"tcp", BenchCommand::Path::kTcp}}));
  app.add_option("--model", command.model, "What the workers do")
      ->check(CLI::IsMember({"noop", "sleep"}));
  app.add_option("--batch", command.batch, "Samples of a batch")->check(CLI::Range(1, 65536));
  app.add_option("--sample-bytes", command.sample_bytes, "Bytes of a sample, a multiple of 4")
      ->check(CLI::PositiveNumber);
  app.add_option("--warmup", command.warmup, "Batches before the first that counts")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--batches", command.batches, "Batches that count")->check(CLI::NonNegativeNumber);
  app.add_option("--fixed-ms", command.fixed_ms, "sleep: of every pass")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--per-sample-ms", command.per_sample_ms, "sleep: of a sample, one speed a worker")
      ->delimiter(',')
      ->expected(1, 2);
  app.add_option("--weights", command.weights, "Shares of the workers (default: equal)")
      ->delimiter(',')
      ->expected(1, 2);
  app.add_option("--rate", command.rate, "Open loop: Poisson arrivals a second")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--seed", command.seed, "Of the arrivals and the data");
}

struct BenchDevicesOptions {
  BenchDevicesCommand command;
  std::vector<std::string> set;
};

void add_bench_devices(CLI::App& app, BenchDevicesOptions& options) {
  add_where(app, options.command.where);
  app.add_option("--request", options.command.request_file,
                 "A request file: safetensors, with the request in its metadata")
      ->type_name("FILE");
  app.add_flag("--json", options.command.json, "A line of JSON for every measurement");
  add_overrides(app, options.command.overrides, options.set);
}

int usage_error(const std::string& message) {
  std::fprintf(stderr, "pa: %s\nRun `pa --help` for what there is.\n", message.c_str());
  return kUsage;
}

}  // namespace

std::variant<Command, int> parse_command_line(int argc, const char* const* argv) {
  CLI::App app{"Diffusion sampling on whatever devices there are: one batch, split over workers."};
  app.name("pa");
  app.set_version_flag("--version", std::string("pa ") + std::string(version()));
  app.require_subcommand(1);
  app.get_formatter()->column_width(28);
  app.footer(
      "Exit codes: 0 done, 1 internal error, 2 usage, 3 the request is invalid, 4 unavailable or "
      "busy,\n"
      "5 deadline, 6 cancelled, 7 some samples failed (the others were delivered).");

  RunOptions sample, forward, plan;
  forward.command.op = Operation::kForward;
  plan.command.plan_only = true;
  CLI::App* sample_app =
      app.add_subcommand("sample", "Run the whole denoising loop on the workers");
  add_run(*sample_app, sample);
  CLI::App* forward_app =
      app.add_subcommand("forward", "Evaluate the network once, split over the workers");
  add_run(*forward_app, forward);
  CLI::App* plan_app =
      app.add_subcommand("plan", "Which device would take what, and why; runs nothing");
  add_run(*plan_app, plan);

  StatusCommand status, devices, models;
  devices.view = StatusCommand::View::kDevices;
  models.view = StatusCommand::View::kModels;
  std::string wait;
  CLI::App* status_app = app.add_subcommand("status", "The cluster now");
  add_where(*status_app, status.where);
  status_app->add_flag("--json", status.json, "As one line of JSON");
  CLI::Option* wait_option =
      status_app
          ->add_option("--wait", wait,
                       "Until the cluster is ready, at most so long (default: for ever)")
          ->type_name("[SECONDS]")
          ->expected(0, 1);
  CLI::App* devices_app = app.add_subcommand("devices", "The workers and what they did");
  add_where(*devices_app, devices.where);
  devices_app->add_flag("--json", devices.json, "As one line of JSON");
  CLI::App* models_app = app.add_subcommand("models", "The models and who has them");
  add_where(*models_app, models.where);
  models_app->add_flag("--json", models.json, "As one line of JSON");

  CancelCommand cancel;
  CLI::App* cancel_app = app.add_subcommand("cancel", "Stop a request");
  add_where(*cancel_app, cancel.where);
  cancel_app->add_option("ID", cancel.request, "The request's id, 32 hexadecimal digits")
      ->required();

  UpOptions up;
  CLI::App* up_app =
      app.add_subcommand("up", "A cluster on this box, in the foreground; Ctrl-C stops it");
  add_up(*up_app, up);

  InspectCommand inspect;
  CLI::App* inspect_app =
      app.add_subcommand("inspect", "What a weights, LoRA, request or result file is");
  inspect_app->add_option("FILE", inspect.file, "A safetensors file, or a model's folder")
      ->required();
  inspect_app
      ->add_option("--model", inspect.model, "Weights, or a model's folder, that a LoRA is for")
      ->type_name("PATH");
  inspect_app->add_flag("--all", inspect.all, "List every tensor");
  inspect_app->add_flag("--hash", inspect.hash, "Also the file's SHA-256");

  KeygenCommand keygen;
  CLI::App* keygen_app = app.add_subcommand(
      "keygen",
      "A key pair for TCP: for the coordinator, or for a client or worker on another box");
  keygen_app->add_option("--out", keygen.out_dir, "Folder for NAME.secret and NAME.public")
      ->type_name("DIR")
      ->required();
  keygen_app
      ->add_option("--name", keygen.name, "Whose they are; 'coordinator' is the coordinator's")
      ->type_name("NAME")
      ->required();
  keygen_app
      ->add_option("--allow-worker", keygen.allow_worker,
                   "Let the key in as workers of this name, such as box2:*; adds it to allow.yaml")
      ->type_name("PATTERN");
  keygen_app
      ->add_option("--allow-client", keygen.allow_client,
                   "Let the key in as a client of this name; adds it to allow.yaml")
      ->type_name("NAME");

  DoctorCommand doctor;
  CLI::App* doctor_app =
      app.add_subcommand("doctor", "What is wrong with this box, or the way to its cluster");
  add_where(*doctor_app, doctor.where);
  doctor_app->add_flag("--json", doctor.json, "As one line of JSON");

  BenchCommand bench;
  bool local = false;
  CLI::App* bench_app = app.add_subcommand(
      "bench", "How fast: every worker (bench devices), or a cluster of its own");
  add_bench(*bench_app, bench, local);
  BenchDevicesOptions bench_devices;
  CLI::App* bench_devices_app = bench_app->add_subcommand(
      "devices", "One request on every worker by itself, with 1, 2, 4, ... samples in a pass");
  add_bench_devices(*bench_devices_app, bench_devices);

  std::vector<std::string> names;
  for (const CLI::App* known : app.get_subcommands({})) names.push_back(known->get_name());
  const std::string first = argc > 1 ? argv[1] : "-";
  if (!first.starts_with('-') && std::find(names.begin(), names.end(), first) == names.end()) {
    return usage_error("there is no command '" + first + "'" + suggestion(first, names));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? kDone : kUsage;
  } catch (const std::exception& error) {
    return usage_error(error.what());
  }

  if (*up_app) {
    auto command = up_command(std::move(up));
    if (!command.ok()) return usage_error(command.error().message);
    return Command(std::move(command).value());
  }
  const auto take_set = [](const std::vector<std::string>& set,
                           RequestOverrides& overrides) -> Status {
    for (const std::string& text : set) {
      PA_ASSIGN(auto pair, split_pair(text, "--set"));
      overrides.set.push_back(std::move(pair));
    }
    return {};
  };
  for (const auto& [chosen, options] :
       {std::pair{sample_app, &sample}, std::pair{forward_app, &forward},
        std::pair{plan_app, &plan}}) {
    if (!*chosen) continue;
    const Status taken = take_set(options->set, options->command.overrides);
    if (!taken.ok()) return usage_error(taken.error().message);
    return Command(std::move(options->command));
  }
  if (*status_app) {
    if (*wait_option) {
      status.wait_seconds = std::numeric_limits<double>::infinity();
      if (!wait.empty() && !CLI::detail::lexical_cast(wait, *status.wait_seconds)) {
        return usage_error("--wait: expected seconds, found '" + wait + "'");
      }
    }
    return Command(std::move(status));
  }
  if (*devices_app) return Command(std::move(devices));
  if (*models_app) return Command(std::move(models));
  if (*cancel_app) return Command(std::move(cancel));
  if (*inspect_app) return Command(std::move(inspect));
  if (*keygen_app) return Command(std::move(keygen));
  if (*doctor_app) return Command(std::move(doctor));
  if (*bench_devices_app) {
    const Status taken = take_set(bench_devices.set, bench_devices.command.overrides);
    if (!taken.ok()) return usage_error(taken.error().message);
    return Command(std::move(bench_devices.command));
  }
  if (!local) return usage_error("bench: expected --local, or devices");
  return Command(std::move(bench));
}

}  // namespace pa::cli
