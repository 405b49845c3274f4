// pa inspect.

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>

#include "clients/cli/commands.h"
#include "clients/cli/exit_code.h"
#include "clients/cli/sha256.h"
#include "clients/cli/table.h"
#include "clients/cli/weights_report.h"
#include "shared/core/units.h"
#include "shared/io/request_json.h"
#include "shared/io/safetensors.h"
#include "shared/models/lora.h"
#include "shared/models/model_folder.h"

namespace pa::cli {
namespace {

constexpr std::size_t kListed = 20;  ///< Tensors, unless all are asked for.
constexpr std::size_t kShownMetadata = 400;

void print_tensors(const SafetensorsFile& file, bool all) {
  Table table({"TENSOR", "DTYPE", "SHAPE", "SIZE"});
  const std::size_t count = file.tensors().size();
  const std::size_t shown = all ? count : std::min(count, kListed);
  for (std::size_t i = 0; i < shown; ++i) {
    const TensorView& tensor = file.tensors()[i];
    table.add({tensor.spec.name, std::string(name_of(tensor.spec.dtype)),
               to_string(tensor.spec.shape), format_bytes(tensor.bytes.size())});
  }
  table.print();
  if (shown < count) std::printf("... and %zu more; --all lists them\n", count - shown);
}

void print_summary(const SafetensorsFile& file) {
  std::int64_t elements = 0;
  std::map<std::string, std::size_t> dtypes;
  for (const TensorView& tensor : file.tensors()) {
    elements += element_count(tensor.spec.shape).value_or(0);
    ++dtypes[std::string(name_of(tensor.spec.dtype))];
  }
  std::string mix;
  for (const auto& [dtype, count] : dtypes)
    mix += (mix.empty() ? "" : ", ") + std::to_string(count) + " " + dtype;
  std::printf("size: %s\ntensors: %zu (%s), %lld elements\n",
              format_bytes(file.image().size()).c_str(), file.tensors().size(), mix.c_str(),
              static_cast<long long>(elements));
}

void print_metadata(const SafetensorsFile& file) {
  for (const auto& [key, value] : file.metadata()) {
    const bool cut = value.size() > kShownMetadata;
    std::printf("metadata %s: %s%s\n", key.c_str(), value.substr(0, kShownMetadata).c_str(),
                cut ? " ..." : "");
  }
}

/// What the file is for, and what is wrong with it.
WeightsReport report_of(const SafetensorsFile& file, const std::string& model) {
  const auto& metadata = file.metadata();
  WeightsReport report;
  if (metadata.contains("result")) {
    report.lines.emplace_back("kind", "result");
    return report;
  }
  if (const auto request = metadata.find("request"); request != metadata.end()) {
    report.lines.emplace_back("kind", "request");
    const auto parsed = parse_request(request->second);
    if (!parsed.ok()) {
      report.problems.push_back("request" + parsed.error().field + ": " + parsed.error().message);
    }
    return report;
  }
  return looks_like_lora(file.tensors()) ? report_lora(file, model) : report_weights(file);
}

int print(const WeightsReport& report) {
  for (const std::string& problem : report.problems) std::printf("problem: %s\n", problem.c_str());
  return report.problems.empty() ? kDone : kInvalid;
}

void print_lines(const std::string& file, const WeightsReport& report) {
  std::printf("file: %s\n", file.c_str());
  for (const auto& [what, value] : report.lines) {
    std::printf("%s: %s\n", what.c_str(), value.c_str());
  }
}

}  // namespace

int run(const InspectCommand& command) {
  std::error_code ignored;
  if (std::filesystem::is_directory(command.file, ignored)) {
    const WeightsReport report = report_folder(command.file);
    print_lines(command.file, report);
    return print(report);
  }
  if (const std::string why = refused_format(command.file); !why.empty()) {
    return fail(invalid(command.file + ": " + why));
  }
  const auto file = SafetensorsFile::open(command.file);
  if (!file.ok()) return fail(file.error());
  const WeightsReport report = report_of(*file, command.model);
  print_lines(command.file, report);
  print_summary(*file);
  if (command.hash) std::printf("sha256: %s\n", sha256(file->image()).c_str());
  print_metadata(*file);
  print_tensors(*file, command.all);
  return print(report);
}

}  // namespace pa::cli
