#include "worker/models/model_folder.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <system_error>

#include "shared/io/yaml.h"
#include "shared/sampling/sigma_table.h"
#include "worker/models/registry.h"

namespace pa {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kYaml = "model.yaml";
constexpr std::string_view kConditions = "conditions.safetensors";
constexpr YamlRange<std::int64_t> kLatentSize{1, 1 << 20};

class Sha256 {
 public:
  Sha256() { crypto_hash_sha256_init(&state_); }
  void add(const void* bytes, std::size_t size) {
    crypto_hash_sha256_update(&state_, static_cast<const unsigned char*>(bytes), size);
  }
  std::string hex() {
    std::array<unsigned char, crypto_hash_sha256_BYTES> digest{};
    crypto_hash_sha256_final(&state_, digest.data());
    std::array<char, 2 * crypto_hash_sha256_BYTES + 1> text{};
    sodium_bin2hex(text.data(), text.size(), digest.data(), digest.size());
    return text.data();
  }

 private:
  crypto_hash_sha256_state state_{};
};

Result<std::string> identity_of(const std::vector<fs::path>& files) {
  Sha256 hash;
  std::vector<char> chunk(std::size_t{1} << 20);
  for (const fs::path& file : files) {
    std::ifstream stream(file, std::ios::binary);
    std::error_code error;
    const std::uint64_t size = fs::file_size(file, error);
    if (!stream || error) return invalid(file.string() + ": cannot be read");
    const std::string name = file.filename().string();
    hash.add(name.c_str(), name.size() + 1);
    hash.add(&size, sizeof size);
    while (stream.read(chunk.data(), static_cast<std::streamsize>(chunk.size())) ||
           stream.gcount() > 0) {
      hash.add(chunk.data(), static_cast<std::size_t>(stream.gcount()));
    }
    if (stream.bad()) return invalid(file.string() + ": cannot be read");
  }
  return "sha256:" + hash.hex();
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

void read_colours(YamlMap preview, LatentColours& out) {
  if (const auto factors = preview.find("factors")) {
    for (const YamlValue& channel : factors->list()) {
      if (const auto colour = read_colour(channel)) out.factors.push_back(*colour);
    }
  }
  if (const auto bias = preview.find("bias")) {
    if (const auto colour = read_colour(*bias)) out.bias = *colour;
  }
}

Status read_yaml(const std::string& path, ModelFolder& folder) {
  YamlFile file = YamlFile::load(path);
  YamlMap root = file.root();
  ModelInfo& info = folder.info;

  if (const auto family = root.find("family")) {
    const std::vector<std::string>& names = family_names();
    const std::vector<std::string_view> views(names.begin(), names.end());
    if (const auto index = family->choice(views)) info.family = names[*index];
  }
  YamlMap config = root.map("config");
  if (info.family.empty() || info.family == "flux") folder.flux = read_flux_options(config);
  if (info.family == "analytic") folder.analytic = read_analytic_denoiser(root.map("denoiser"));

  // "ve" is what reference files call "eps".
  static constexpr std::array<std::string_view, 5> kPredictions{"flow", "eps", "v", "edm", "ve"};
  if (const auto prediction = root.find("prediction")) {
    if (const auto index = prediction->choice(kPredictions)) {
      info.sampling.prediction = kPredictions[*index] == "ve" ? "eps" : kPredictions[*index];
    }
  }
  if (info.sampling.prediction != "flow") info.sampling.type = "discrete";
  // In capitals and with `settings`: as reference files have them.
  static constexpr std::array<std::pair<std::string_view, const char*>, 6> kTypes{
      {{"flow", "flow"},
       {"flux", "flux"},
       {"discrete", "discrete"},
       {"FLOW", "flow"},
       {"FLUX", "flux"},
       {"EPS", "discrete"}}};
  YamlMap sampling = root.map("sampling");
  if (const auto type = sampling.find("type")) {
    std::array<std::string_view, kTypes.size()> names;
    std::transform(kTypes.begin(), kTypes.end(), names.begin(), [](auto& t) { return t.first; });
    if (const auto index = type->choice(names)) info.sampling.type = kTypes[*index].second;
  }
  if (sampling.find("settings")) sampling = sampling.map("settings");
  sampling.read_number("shift", info.sampling.shift, {-100.0, 1000.0});
  sampling.read_number("multiplier", info.sampling.multiplier, {1e-6, 1e6});
  if (const auto table = SigmaTable::make(info.sampling); !table.ok()) {
    root.reject(table.error().message);
  }

  static constexpr std::array<std::string_view, 3> kDtypes{"F32", "F16", "BF16"};
  if (const auto dtype = root.find("dtype")) {
    if (const auto index = dtype->choice(kDtypes)) folder.dtype = kDtypes[*index];
  }

  if (root.find("latent")) {
    YamlMap latent = root.map("latent");
    info.latent = {-1, -1, -1};
    latent.read_integer("channels", info.latent[0], kLatentSize);
    latent.read_integer("height", info.latent[1], kLatentSize);
    latent.read_integer("width", info.latent[2], kLatentSize);
  }
  if (root.find("pixels")) {
    YamlMap pixels = root.map("pixels");
    pixels.read_number("min", info.pixel_min);
    pixels.read_number("max", info.pixel_max);
    if (!(info.pixel_min < info.pixel_max)) pixels.reject("expected min below max");
  }
  folder.colours.pixel_min = info.pixel_min;
  folder.colours.pixel_max = info.pixel_max;
  if (root.find("preview")) read_colours(root.map("preview"), folder.colours);
  if (const auto labels = root.find("labels")) {
    std::set<std::string> seen;
    for (const YamlValue& label : labels->list()) {
      const std::optional<std::string> name = label.string();
      if (!name) continue;
      if (!seen.insert(*name).second) label.reject("the label '" + *name + "' is there twice");
      info.labels.push_back(*name);
    }
  }
  return file.finish();
}

}  // namespace

Result<ModelFolder> read_model_folder(const std::string& path) {
  ModelFolder folder;
  folder.path = path;
  const fs::path directory = fs::path(path).lexically_normal();
  folder.info.name = directory.has_filename() ? directory.filename().string()
                                              : directory.parent_path().filename().string();

  std::vector<fs::path> files;
  std::vector<SafetensorsFile> weights;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    const bool ours = name == kYaml || entry.path().extension() == ".safetensors";
    if (ours && entry.is_regular_file(error)) files.push_back(entry.path());
  }
  if (error) return invalid(path + ": " + error.message());
  std::sort(files.begin(), files.end());
  if (files.empty()) return invalid(path + ": neither model.yaml nor a .safetensors file in it");

  for (const fs::path& file : files) {
    if (file.filename() == kYaml) {
      PA_TRY(read_yaml(file.string(), folder));
      continue;
    }
    PA_ASSIGN(SafetensorsFile opened, SafetensorsFile::open(file.string()));
    (file.filename() == kConditions ? folder.conditions : weights).push_back(std::move(opened));
  }
  PA_ASSIGN(folder.weights, WeightFiles::of(std::move(weights)));
  if (folder.info.family.empty()) folder.info.family = recognise_family(folder.weights);
  if (folder.info.family.empty()) {
    return invalid(path + ": no family of this version has weights of such names; name it in " +
                   std::string(kYaml));
  }
  if (!folder.info.labels.empty() && folder.conditions.empty()) {
    return invalid(path + ": model.yaml has labels, but there is no " + std::string(kConditions));
  }
  PA_ASSIGN(folder.info.identity, identity_of(files));
  return folder;
}

}  // namespace pa
