// pa inspect.

#include <cmath>
#include <cstdio>
#include <map>

#include "clients/cli/commands.h"
#include "clients/cli/exit_code.h"
#include "clients/cli/sha256.h"
#include "clients/cli/table.h"
#include "clients/cli/weights_family.h"
#include "shared/core/units.h"
#include "shared/io/request_json.h"
#include "shared/io/safetensors.h"

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

/// What the file is for, on one line, and what is wrong with it in `problems`.
std::string kind_of(const SafetensorsFile& file, std::vector<std::string>& problems) {
  const auto& metadata = file.metadata();
  if (metadata.contains("result")) return "result";
  if (const auto request = metadata.find("request"); request != metadata.end()) {
    const auto parsed = parse_request(request->second);
    if (!parsed.ok())
      problems.push_back("request" + parsed.error().field + ": " + parsed.error().message);
    return "request";
  }
  Shapes shapes;
  for (const TensorView& tensor : file.tensors())
    shapes.emplace(tensor.spec.name, tensor.spec.shape);
  WeightsFamily family = recognise(shapes);
  problems.insert(problems.end(), family.problems.begin(), family.problems.end());
  if (family.family == "lora") return "LoRA";
  if (family.family.empty()) return "tensors of no family that this program knows";
  std::string kind = "weights of family " + family.family + ", " + family.naming + " names";
  for (const auto& [name, size] : family.sizes) kind += "\n  " + name + ": " + size;
  return kind;
}

}  // namespace

int run(const InspectCommand& command) {
  const auto file = SafetensorsFile::open(command.file);
  if (!file.ok()) return fail(file.error());
  std::vector<std::string> problems;
  const std::string kind = kind_of(*file, problems);
  std::printf("file: %s\nkind: %s\n", command.file.c_str(), kind.c_str());
  print_summary(*file);
  if (command.hash) std::printf("sha256: %s\n", sha256(file->image()).c_str());
  print_metadata(*file);
  print_tensors(*file, command.all);
  for (const std::string& problem : problems) std::printf("problem: %s\n", problem.c_str());
  return problems.empty() ? kDone : kInvalid;
}

}  // namespace pa::cli
