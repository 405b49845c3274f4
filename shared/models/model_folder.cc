#include "shared/models/model_folder.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "shared/io/yaml.h"
#include "shared/models/weight_match.h"
#include "shared/sampling/sigma_table.h"

namespace pa {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kYaml = "model.yaml";
constexpr std::string_view kConditions = "conditions.safetensors";
constexpr std::string_view kShardIndex = ".safetensors.index.json";
constexpr std::string_view kLoras = "loras";
/// Where a pipeline that diffusers saved has its network.
constexpr std::array<const char*, 2> kNetworkFolders{"transformer", "unet"};
constexpr YamlRange<std::int64_t> kLatentSize{1, 1 << 20};
constexpr std::uintmax_t kMaxIndexBytes = std::uintmax_t{64} << 20;

std::vector<fs::path> files_in(const fs::path& directory, std::error_code& error) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    std::error_code ignored;
    if (entry.is_regular_file(ignored)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool is_weights(const fs::path& file) { return file.extension() == ".safetensors"; }

/// The folder, or the one in it, whose weights are a network's.
fs::path network_folder(const fs::path& directory) {
  std::error_code error;
  const std::vector<fs::path> own = files_in(directory, error);
  const bool has_weights = std::any_of(own.begin(), own.end(), [](const fs::path& file) {
    return is_weights(file) && file.filename() != kConditions;
  });
  if (has_weights) return directory;
  for (const char* const name : kNetworkFolders) {
    const std::vector<fs::path> inner = files_in(directory / name, error);
    if (std::any_of(inner.begin(), inner.end(), is_weights)) return directory / name;
  }
  return directory;
}

/// Everything that makes the model what it is.
Result<std::string> identity_of(const std::vector<fs::path>& files, FileHashes& hashes,
                                const std::function<bool()>& go_on) {
  std::string text;
  for (const fs::path& file : files) {
    PA_ASSIGN(const std::string hash, hashes.sha256(file.string(), go_on));
    text += file.filename().string() + '\0' + hash + '\n';
  }
  std::array<unsigned char, crypto_hash_sha256_BYTES> digest{};
  crypto_hash_sha256(digest.data(), reinterpret_cast<const unsigned char*>(text.data()),
                     text.size());
  std::array<char, 2 * crypto_hash_sha256_BYTES + 1> hex{};
  sodium_bin2hex(hex.data(), hex.size(), digest.data(), digest.size());
  return std::string("sha256:") + hex.data();
}

/// Checks that every file that an index of shards names is there, and has what it should.
Status check_shards(const fs::path& index, const std::vector<SafetensorsFile>& files) {
  const auto broken_index = [&](const std::string& why) {
    return invalid(index.string() + ": " + why);
  };
  std::error_code error;
  if (fs::file_size(index, error) > kMaxIndexBytes || error) return broken_index("is too large");
  std::ifstream stream(index, std::ios::binary);
  const nlohmann::json json = nlohmann::json::parse(stream, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    return broken_index("expected a JSON object with 'weight_map'");
  }
  std::map<std::string, const SafetensorsFile*> by_name;
  for (const SafetensorsFile& file : files) {
    by_name.emplace(fs::path(file.path()).filename().string(), &file);
  }
  for (const auto& [tensor, value] : json["weight_map"].items()) {
    if (!value.is_string()) return broken_index("expected a file's name for '" + tensor + "'");
    const auto& shard = value.get_ref<const std::string&>();
    const auto found = by_name.find(shard);
    if (found == by_name.end()) {
      return broken_index("the file '" + shard + "', which has tensor '" + tensor +
                          "', is missing; fetch it");
    }
    if (found->second->find(tensor) == nullptr) {
      return broken_index("says that '" + shard + "' has tensor '" + tensor +
                          "', which it does not; fetch the files again");
    }
  }
  return {};
}

/// Keys that say nothing of sigmas of this type.
void reject_needless(YamlMap& map, const SamplingInfo& sampling) {
  struct Key {
    std::string_view name;
    bool used;
  };
  const bool flow = sampling.prediction == "flow";
  const bool continuous = sampling.type == "continuous";
  for (const Key& key :
       {Key{"zero_terminal_snr", sampling.type == "discrete"}, Key{"sigma_min", continuous},
        Key{"sigma_max", continuous}, Key{"sigma_data", !flow}}) {
    const auto value = map.find(key.name);
    if (!value || key.used) continue;
    value->reject("sigmas of type " + sampling.type + " have no " + std::string(key.name));
  }
}

void read_sampling(YamlMap& root, SamplingInfo& sampling) {
  // "ve" is what reference files call "eps".
  static constexpr std::array<std::string_view, 5> kPredictions{"flow", "eps", "v", "edm", "ve"};
  if (const auto prediction = root.find("prediction")) {
    if (const auto index = prediction->choice(kPredictions)) {
      sampling.prediction = kPredictions[*index] == "ve" ? "eps" : kPredictions[*index];
      const bool flow = sampling.prediction == "flow";
      if (flow != (sampling.type == "flow" || sampling.type == "flux")) {
        sampling = {sampling.prediction, flow ? "flow" : "discrete", 1.0, 1.0};
      }
    }
  }
  // In capitals and with `settings`: as reference files have them.
  static constexpr std::array<std::pair<std::string_view, const char*>, 7> kTypes{
      {{"flow", "flow"},
       {"flux", "flux"},
       {"discrete", "discrete"},
       {"continuous", "continuous"},
       {"FLOW", "flow"},
       {"FLUX", "flux"},
       {"EPS", "discrete"}}};
  YamlMap map = root.map("sampling");
  if (const auto type = map.find("type")) {
    std::array<std::string_view, kTypes.size()> names;
    std::transform(kTypes.begin(), kTypes.end(), names.begin(), [](auto& t) { return t.first; });
    if (const auto index = type->choice(names)) {
      if (sampling.type != kTypes[*index].second) sampling.shift = 1.0;
      sampling.type = kTypes[*index].second;
    }
  }
  if (map.find("settings")) map = map.map("settings");
  map.read_number("shift", sampling.shift, {-100.0, 1000.0});
  map.read_number("multiplier", sampling.multiplier, {1e-6, 1e6});
  map.read_boolean("zero_terminal_snr", sampling.zero_terminal_snr);
  map.read_number("sigma_min", sampling.sigma_min, {1e-9, 1e9});
  map.read_number("sigma_max", sampling.sigma_max, {1e-9, 1e9});
  map.read_number("sigma_data", sampling.sigma_data, {1e-6, 1e6});
  reject_needless(map, sampling);
  if (const auto table = SigmaTable::make(sampling); !table.ok()) {
    root.reject(table.error().message);
  }
}

std::optional<std::array<double, 3>> read_colour(const YamlValue& value) {
  std::array<double, 3> colour{};
  const std::vector<YamlValue> parts = value.list();
  if (parts.size() != colour.size()) {
    value.reject("expected [red, green, blue]");
    return std::nullopt;
  }
  for (std::size_t i = 0; i < colour.size(); ++i) {
    colour[i] = parts[i].number({-1e6, 1e6}).value_or(0.0);
  }
  return colour;
}

void read_colours(YamlMap preview, ModelInfo& info) {
  std::array<double, 3> bias{0.5, 0.5, 0.5};
  if (const auto value = preview.find("bias")) bias = read_colour(*value).value_or(bias);
  const auto factors = preview.find("factors");
  if (!factors) return;
  const std::vector<YamlValue> channels = factors->list();
  if (!info.latent.empty() && info.latent[0] >= 0 && std::ssize(channels) != info.latent[0]) {
    factors->reject("expected one for each of the latent's " + std::to_string(info.latent[0]) +
                    " channels, found " + std::to_string(channels.size()));
  }
  info.colours.assign(bias.begin(), bias.end());
  for (const YamlValue& channel : channels) {
    const std::array<double, 3> colour = read_colour(channel).value_or(std::array<double, 3>{});
    info.colours.insert(info.colours.end(), colour.begin(), colour.end());
  }
}

void read_latent(YamlMap& root, ModelInfo& info) {
  if (!root.find("latent")) return;
  YamlMap latent = root.map("latent");
  if (info.latent.empty()) info.latent = {-1, -1, -1};
  const std::int64_t channels = info.latent[0];
  latent.read_integer("channels", info.latent[0], kLatentSize);
  latent.read_integer("height", info.latent[1], kLatentSize);
  latent.read_integer("width", info.latent[2], kLatentSize);
  if (channels >= 0 && info.latent[0] != channels) {
    latent.reject("channels: the weights say " + std::to_string(channels));
  }
}

void read_labels(YamlMap& root, ModelInfo& info) {
  const auto labels = root.find("labels");
  if (!labels) return;
  std::set<std::string> seen;
  for (const YamlValue& label : labels->list()) {
    const std::optional<std::string> name = label.string();
    if (!name) continue;
    if (!seen.insert(*name).second) label.reject("the label '" + *name + "' is there twice");
    info.labels.push_back(*name);
  }
}

/// Describes the model by its weights and `text`, the model.yaml.
Status describe(YamlFile file, ModelFolder& folder) {
  YamlMap root = file.root();
  ModelInfo& info = folder.info;
  std::string family;
  if (const auto given = root.find("family")) {
    const std::vector<std::string>& names = family_names();
    const std::vector<std::string_view> views(names.begin(), names.end());
    if (const auto index = given->choice(views)) family = names[*index];
    if (family.empty()) return file.finish();
  }
  Result<ModelDescription> described = describe_model(folder.weights, family, root);
  const std::string wrong = described.ok() ? "" : described.error().message;
  if (described.ok()) {
    folder.description = std::move(described).value();
    info.family = folder.description.family;
    info.sampling = folder.description.sampling;
    info.latent = folder.description.latent;
    info.inputs = folder.description.inputs;
    info.parameters = folder.description.blueprint.elements();
  }
  read_sampling(root, info.sampling);
  static constexpr std::array<std::string_view, 3> kDtypes{"F32", "F16", "BF16"};
  if (const auto dtype = root.find("dtype")) {
    if (const auto index = dtype->choice(kDtypes)) folder.dtype = kDtypes[*index];
  }
  read_latent(root, info);
  if (root.find("pixels")) {
    YamlMap pixels = root.map("pixels");
    pixels.read_number("min", info.pixel_min);
    pixels.read_number("max", info.pixel_max);
    if (!(info.pixel_min < info.pixel_max)) pixels.reject("expected min below max");
  }
  if (root.find("preview")) read_colours(root.map("preview"), info);
  read_labels(root, info);

  const Status yaml = file.finish();
  if (wrong.empty()) return yaml;
  const std::string hint = family.empty() ? "; name it in " + std::string(kYaml) : "";
  const std::string why = folder.path + ": " + wrong + hint;
  return invalid(yaml.ok() ? why : why + "\n" + yaml.error().message);
}

/// The folder's files that are in formats which are not read, if nothing else is there.
std::string told_formats(const std::vector<fs::path>& files) {
  for (const fs::path& file : files) {
    const std::string why = refused_format(file.filename().string());
    if (!why.empty()) return file.string() + ": " + why;
  }
  return {};
}

Result<std::vector<LoraFile>> read_loras(const fs::path& directory, FileHashes& hashes,
                                         const std::function<bool()>& go_on) {
  std::vector<LoraFile> loras;
  std::error_code error;
  for (const fs::path& file : files_in(directory / kLoras, error)) {
    if (!is_weights(file)) continue;
    PA_ASSIGN(const std::string hash, hashes.sha256(file.string(), go_on));
    loras.push_back({file.stem().string(), file.string(), "sha256:" + hash});
  }
  return loras;
}

}  // namespace

std::string refused_format(const std::string& file_name) {
  const std::string extension = fs::path(file_name).extension().string();
  static constexpr std::array<std::string_view, 5> kPickles{".ckpt", ".pt", ".pth", ".bin", ".pkl"};
  if (std::find(kPickles.begin(), kPickles.end(), extension) != kPickles.end()) {
    return "a pickle, which may run any code when it is opened; convert it to .safetensors (with "
           "safetensors.torch.save_file), or fetch the .safetensors file of the same model";
  }
  if (extension == ".gguf") {
    return "a GGUF file, whose quantisations this version does not read; use the model's bf16, "
           "fp16 or fp8 .safetensors file";
  }
  if (extension == ".onnx" || extension == ".engine") {
    return "a compiled network; use the model's bf16, fp16 or fp8 .safetensors file";
  }
  return {};
}

bool has_model(const std::string& path) {
  std::error_code error;
  const std::vector<fs::path> files = files_in(path, error);
  const bool own = std::any_of(files.begin(), files.end(), [](const fs::path& file) {
    return file.filename() == kYaml || is_weights(file) ||
           !refused_format(file.filename().string()).empty();
  });
  return own || network_folder(path) != fs::path(path);
}

Result<ModelFolder> read_model_folder(const std::string& path, FileHashes& hashes,
                                      const std::function<bool()>& go_on) {
  ModelFolder folder;
  folder.path = path;
  const fs::path directory = fs::path(path).lexically_normal();
  folder.info.name = directory.has_filename() ? directory.filename().string()
                                              : directory.parent_path().filename().string();
  std::error_code error;
  std::vector<fs::path> found = files_in(directory, error);
  if (error) return invalid(path + ": " + error.message());
  const fs::path network = network_folder(directory);
  if (network != directory) {
    for (const fs::path& file : files_in(network, error)) found.push_back(file);
  }

  std::vector<fs::path> files;  // Those that are the model.
  std::vector<fs::path> indices;
  std::optional<fs::path> yaml;
  std::vector<SafetensorsFile> weights;
  for (const fs::path& file : found) {
    const std::string name = file.filename().string();
    if (name == kYaml && !yaml) {
      yaml = file;
      files.push_back(file);
    } else if (name.ends_with(kShardIndex)) {
      indices.push_back(file);
    } else if (is_weights(file)) {
      PA_ASSIGN(SafetensorsFile opened, SafetensorsFile::open(file.string()));
      (name == kConditions ? folder.conditions : weights).push_back(std::move(opened));
      files.push_back(file);
    }
  }
  const std::string refused = weights.empty() ? told_formats(found) : "";
  if (!yaml && !refused.empty()) return invalid(refused);
  if (files.empty()) return invalid(path + ": neither model.yaml nor a .safetensors file in it");
  for (const fs::path& index : indices) PA_TRY(check_shards(index, weights));

  PA_ASSIGN(folder.weights, WeightIndex::of(weights));
  const Status described =
      describe(yaml ? YamlFile::load(yaml->string()) : YamlFile::parse("", path), folder);
  const auto* const plugin = std::get_if<Plugin>(&folder.description.config);
  if (plugin == nullptr && !refused.empty()) return invalid(refused);
  if (!described.ok()) return described.error();
  if (plugin != nullptr) {
    const fs::path file = directory / plugin->file;
    if (std::find(found.begin(), found.end(), file) == found.end()) {
      return invalid(path + ": there is no " + plugin->file + ", which model.yaml names");
    }
    files.push_back(file);
    std::sort(files.begin(), files.end());
  }
  const WeightMatch match =
      match_weights(folder.description.blueprint, folder.weights, folder.description.naming);
  const bool has_weights = !folder.description.blueprint.parameters().empty();
  if (const Status fits = match.status(); has_weights && !fits.ok()) {
    return invalid(path + ": " + fits.error().message);
  }
  if (folder.info.labels.empty()) {
    std::set<std::string> labels;
    for (const SafetensorsFile& file : folder.conditions) {
      for (const TensorView& view : file.tensors()) {
        labels.insert(view.spec.name.substr(0, view.spec.name.rfind('.')));
      }
    }
    folder.info.labels.assign(labels.begin(), labels.end());
  }
  if (!folder.info.labels.empty() && folder.conditions.empty()) {
    return invalid(path + ": model.yaml has labels, but there is no " + std::string(kConditions));
  }
  PA_ASSIGN(folder.info.identity, identity_of(files, hashes, go_on));
  PA_ASSIGN(folder.loras, read_loras(directory, hashes, go_on));
  for (const LoraFile& lora : folder.loras) folder.info.loras.push_back({lora.name, lora.identity});
  return folder;
}

}  // namespace pa
