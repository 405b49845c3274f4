#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "shared/io/safetensors.h"
#include "tests/support/paths.h"

/// Reference values from tests/fixtures: see the README there.
namespace pa::test {

/// A safetensors fixture: `meta` is the object in its metadata, tensors are float32 unless said.
class Fixture {
 public:
  explicit Fixture(const std::string& name) : file_(open(fixture_path(name))) {
    meta = nlohmann::json::parse(file_.metadata().at("json"));
  }

  nlohmann::json meta;

  [[nodiscard]] bool has(const std::string& name) const { return file_.find(name) != nullptr; }
  [[nodiscard]] const Shape& shape(const std::string& name) const { return view(name).spec.shape; }
  [[nodiscard]] const SafetensorsFile& file() const { return file_; }

  template <class T = float>
  [[nodiscard]] std::vector<T> values(const std::string& name) const {
    const TensorView& tensor = view(name);
    PA_CHECK(size_of(tensor.spec.dtype) == sizeof(T));
    std::vector<T> out(tensor.bytes.size() / sizeof(T));
    if (!out.empty()) std::memcpy(out.data(), tensor.bytes.data(), tensor.bytes.size());
    return out;
  }

  [[nodiscard]] const TensorView& view(const std::string& name) const {
    const TensorView* const found = file_.find(name);
    if (found == nullptr) broken(__FILE__, __LINE__, "no tensor '" + name + "' in " + file_.path());
    return *found;
  }

 private:
  static SafetensorsFile open(const std::string& path) {
    Result<SafetensorsFile> file = SafetensorsFile::open(path);
    if (!file.ok()) broken(__FILE__, __LINE__, file.error().message);
    return std::move(file).value();
  }

  SafetensorsFile file_;
};

inline nlohmann::json json_fixture(const std::string& name) {
  std::ifstream file(fixture_path(name));
  return nlohmann::json::parse(file);
}

/// Names of the files in a folder of fixtures, without the folder; sorted.
inline std::vector<std::string> fixtures_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(fixture_path(folder))) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// The largest |got - want|; infinite if lengths differ or a value is not finite.
template <class A, class B>
double largest_difference(const A& got, const B& want) {
  if (std::size(got) != std::size(want)) return INFINITY;
  double largest = 0;
  for (std::size_t i = 0; i < std::size(got); ++i) {
    const double difference = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    if (!std::isfinite(difference)) return INFINITY;
    largest = std::max(largest, difference);
  }
  return largest;
}

template <class A>
double largest_magnitude(const A& values) {
  double largest = 0;
  for (const auto value : values) largest = std::max(largest, std::abs(static_cast<double>(value)));
  return largest;
}

}  // namespace pa::test
