#include "clients/cli/weights_report.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <set>
#include <system_error>

#include "clients/cli/formatted.h"
#include "shared/core/units.h"
#include "shared/io/yaml.h"
#include "shared/models/families.h"
#include "shared/models/lora.h"
#include "shared/models/model_folder.h"
#include "shared/models/weight_match.h"

namespace pa::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kToldNames = 8;

std::string in_bytes(std::int64_t bytes) { return format_bytes(static_cast<std::uint64_t>(bytes)); }

void add(WeightsReport& report, std::string what, std::string value) {
  report.lines.emplace_back(std::move(what), std::move(value));
}

/// The model of a file, with the config that the model.yaml beside it has. Mistakes in that are told
/// when the folder is asked for.
Result<ModelDescription> describe_file(const SafetensorsFile& file, const WeightIndex& index) {
  const fs::path beside = fs::path(file.path()).parent_path() / "model.yaml";
  std::error_code ignored;
  YamlFile yaml =
      fs::exists(beside, ignored) ? YamlFile::load(beside.string()) : YamlFile::parse("", "");
  return describe_model(index, "", yaml.root());
}

void add_model(WeightsReport& report, const ModelDescription& model) {
  for (const auto& [name, size] : sizes_of(model)) add(report, "  " + name, size);
  const std::int64_t elements = model.blueprint.elements();
  add(report, "parameters", std::to_string(elements));
  add(report, "memory",
      in_bytes(4 * elements) + " as F32, " + in_bytes(2 * elements) + " as BF16 or F16");
}

std::string in_words(Naming naming) {
  return naming == Naming::kDiffusers ? "diffusers names" : "original names";
}

std::string algorithm_family(const std::vector<TensorView>& tensors) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kMarks{
      {{"noise_refiner", "zimage"},
       {"context_refiner", "zimage"},
       {"double_blocks", "flux"},
       {"single_blocks", "flux"},
       {"single_transformer_blocks", "flux"},
       {"input_blocks", "sdxl"},
       {"output_blocks", "sdxl"},
       {"down_blocks", "sdxl"},
       {"layers_0_attention", "zimage"}}};
  for (const auto& [mark, family] : kMarks) {
    for (const TensorView& view : tensors) {
      if (view.spec.name.find(mark) != std::string::npos) return std::string(family);
    }
  }
  return {};
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kToldNames); ++i) {
    text += (i > 0 ? ", " : "") + names[i];
  }
  return names.size() > kToldNames
             ? text + " and " + std::to_string(names.size() - kToldNames) + " more"
             : text;
}

/// The parameters that a LoRA is to be matched with.
Result<Blueprint> blueprint_of(const std::string& model) {
  std::error_code ignored;
  if (fs::is_directory(model, ignored)) {
    FileHashes hashes(default_hash_cache());
    PA_ASSIGN(const ModelFolder folder, read_model_folder(model, hashes));
    return folder.description.blueprint;
  }
  PA_ASSIGN(const SafetensorsFile file, SafetensorsFile::open(model));
  PA_ASSIGN(const WeightIndex index, WeightIndex::of({file}));
  PA_ASSIGN(const ModelDescription described, describe_file(file, index));
  return described.blueprint;
}

std::string in_words(const SamplingInfo& sampling) {
  const auto number = [](double value) { return formatted("%g", value); };
  std::string words = "predicts " + sampling.prediction + ", sigmas " + sampling.type;
  if (sampling.prediction == "flow") return words + " with shift " + number(sampling.shift);
  if (sampling.type == "continuous") {
    words += " from " + number(sampling.sigma_min) + " to " + number(sampling.sigma_max);
  }
  if (sampling.zero_terminal_snr) words += " to zero terminal signal-to-noise";
  if (sampling.sigma_data > 0.0) words += ", data of deviation " + number(sampling.sigma_data);
  return words;
}

}  // namespace

WeightsReport report_weights(const SafetensorsFile& file) {
  WeightsReport report;
  const Result<WeightIndex> index = WeightIndex::of({file});
  if (!index.ok()) {
    report.problems.push_back(index.error().message);
    return report;
  }
  const auto recognised = recognise_family(*index);
  if (!recognised) {
    add(report, "kind", "tensors of no family that this program knows");
    return report;
  }
  add(report, "kind",
      "weights of family " + recognised->first + ", " + in_words(recognised->second) +
          (index->prefix().empty() ? "" : ", in a checkpoint"));
  const Result<ModelDescription> model = describe_file(file, *index);
  if (!model.ok()) {
    report.problems.push_back(model.error().message);
    return report;
  }
  add_model(report, *model);
  const WeightMatch match = match_weights(model->blueprint, *index, model->naming);
  report.problems.insert(report.problems.end(), match.problems.begin(), match.problems.end());
  return report;
}

WeightsReport report_lora(const SafetensorsFile& file, const std::string& model) {
  WeightsReport report;
  const std::string family = algorithm_family(file.tensors());
  add(report, "kind", "LoRA" + (family.empty() ? "" : " for family " + family));
  Blueprint blueprint;
  if (!model.empty()) {
    Result<Blueprint> found = blueprint_of(model);
    if (!found.ok()) {
      report.problems.push_back(found.error().message);
      return report;
    }
    blueprint = std::move(found).value();
  }
  const Result<LoraMatch> match = match_lora(file.tensors(), blueprint);
  if (!match.ok()) {
    report.problems.push_back(match.error().message);
    return report;
  }
  std::set<std::int64_t> ranks;
  for (const TensorView& view : file.tensors()) {
    const std::string& name = view.spec.name;
    const bool down = name.find("lora_down") != std::string::npos ||
                      name.find("lora_A") != std::string::npos ||
                      name.find("lora.down") != std::string::npos;
    if (down && !view.spec.shape.empty()) ranks.insert(view.spec.shape.front());
  }
  if (!ranks.empty()) {
    add(report, "ranks",
        *ranks.begin() == *ranks.rbegin()
            ? std::to_string(*ranks.begin())
            : std::to_string(*ranks.begin()) + " to " + std::to_string(*ranks.rbegin()));
  }
  const std::size_t layers =
      match->layers.size() + match->unmatched.size() + match->problems.size();
  add(report, "layers",
      std::to_string(layers) +
          (match->text_encoder_layers > 0
               ? ", and " + std::to_string(match->text_encoder_layers) + " of text encoders"
               : ""));
  if (model.empty()) return report;
  add(report, "layers that fit", std::to_string(match->layers.size()));
  if (!match->unmatched.empty()) {
    report.problems.push_back("the model has no " + listed(match->unmatched));
  }
  report.problems.insert(report.problems.end(), match->problems.begin(), match->problems.end());
  return report;
}

WeightsReport report_folder(const std::string& path) {
  WeightsReport report;
  FileHashes hashes(default_hash_cache());
  const Result<ModelFolder> folder = read_model_folder(path, hashes);
  if (!folder.ok()) {
    add(report, "kind", "a folder of files");
    report.problems.push_back(folder.error().message);
    return report;
  }
  add(report, "kind",
      "model of family " + folder->info.family + ", " + in_words(folder->description.naming));
  add_model(report, folder->description);
  add(report, "sampling", in_words(folder->info.sampling));
  for (const InputSpec& input : folder->info.inputs) {
    add(report, "input " + input.name,
        "F32 " + to_string(input.shape) + (input.required ? "" : ", optional"));
  }
  for (const LoraFile& lora : folder->loras) add(report, "LoRA", lora.name);
  add(report, "identity", folder->info.identity);
  return report;
}

}  // namespace pa::cli
