#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/fixture.h"

namespace pa::test {

/// A folder that is removed with everything in it.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "pa-test-XXXXXX").string();
    PA_CHECK(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] std::string path(const std::string& name = {}) const {
    return name.empty() ? path_.string() : (path_ / name).string();
  }
  /// Writes a text file, making folders on the way, and returns its path.
  std::string write(const std::string& name, const std::string& text) const {
    const std::filesystem::path file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    return file.string();
  }

 private:
  std::filesystem::path path_;
};

/// model.yaml for the network of a fixture: its family, and its config as it stands there.
inline std::string model_yaml(const Fixture& fixture) {
  return "family: " + fixture.meta["family"].get<std::string>() +
         "\nconfig: " + fixture.meta["config"].dump() + "\n";
}

/// The weights of a model fixture under the names they have in people's files.
inline std::vector<TensorView> weights_of(const Fixture& fixture) {
  const std::string prefix = "weights.";
  std::vector<TensorView> weights;
  for (const TensorView& view : fixture.file().tensors()) {
    if (!view.spec.name.starts_with(prefix)) continue;
    weights.push_back(view);
    weights.back().spec.name.erase(0, prefix.size());
  }
  return weights;
}

/// Makes `models`/`name` a folder with the network of a fixture.
inline void make_model_folder(const TempFolder& models, const std::string& name,
                              const Fixture& fixture) {
  models.write(name + "/model.yaml", model_yaml(fixture));
  const Status written =
      write_safetensors(models.path(name + "/weights.safetensors"), {}, weights_of(fixture));
  PA_CHECK(written.ok());
}

}  // namespace pa::test
