#include "clients/cpp/request_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "clients/cpp/result_file.h"
#include "shared/io/safetensors.h"
#include "shared/wire/buffer_pool.h"

namespace pa {
namespace {

using ::testing::HasSubstr;

std::string temporary(const std::string& name) { return ::testing::TempDir() + "/pa_" + name; }

Buffer floats(std::initializer_list<float> values) {
  Buffer buffer = BufferPool(0).allocate(values.size() * sizeof(float));
  std::memcpy(buffer.data(), values.begin(), buffer.size());
  return buffer;
}

TEST(RequestFile, ComesBack) {
  const std::string path = temporary("request.safetensors");
  RequestFile request;
  request.json = R"({"model": "noop"})";
  request.tensors = {{{"x", DType::kF32, {2, 1}}, floats({1, 2})},
                     {{"cond.0.y", DType::kF32, {1}}, floats({3})}};
  ASSERT_TRUE(write_request_file(path, request).ok());
  const auto again = read_request_file(path);
  ASSERT_TRUE(again.ok()) << again.error().message;
  std::filesystem::remove(path);  // The map outlives the name.
  EXPECT_EQ(again->json, request.json);
  ASSERT_EQ(again->tensors.size(), 2U);
  for (const InputTensor& tensor : again->tensors) {
    const InputTensor& original = request.tensors[tensor.spec.name == "x" ? 0 : 1];
    EXPECT_EQ(tensor.spec, original.spec);
    ASSERT_EQ(tensor.bytes.size(), original.bytes.size());
    EXPECT_EQ(std::memcmp(tensor.bytes.data(), original.bytes.data(), tensor.bytes.size()), 0);
  }
}

TEST(RequestFile, IsRefusedWithoutARequest) {
  const std::string path = temporary("weights.safetensors");
  ASSERT_TRUE(write_safetensors(path, {}, {}).ok());
  const auto file = read_request_file(path);
  std::filesystem::remove(path);
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.error().code, Code::kInvalid);
  EXPECT_THAT(file.error().message, HasSubstr("metadata has the key 'request'"));
  EXPECT_THAT(read_request_file("/nowhere/x.safetensors").error().message,
              HasSubstr("/nowhere/x.safetensors"));
}

TEST(ResultFile, IsFilledInPlaceAndTellsHowItCameAbout) {
  const std::string path = temporary("result.safetensors");
  ResultReport report;
  report.request = R"({"model":"m"})";
  report.outcome.accepted.result = {"samples", DType::kF32, {2, 1, 1, 1}};
  {
    auto file = ResultFile::create(path, report.outcome.accepted, 2);
    ASSERT_TRUE(file.ok()) << file.error().message;
    ASSERT_EQ(file->bytes().size(), 8U);
    const float values[] = {5, 6};
    std::memcpy(file->bytes().data(), values, sizeof(values));
    ASSERT_TRUE(file->finish(report).ok());
  }
  const auto file = SafetensorsFile::open(path);
  std::filesystem::remove(path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  ASSERT_NE(file->find("samples"), nullptr);
  float last = 0;
  std::memcpy(&last, file->find("samples")->bytes.data() + 4, sizeof(last));
  EXPECT_EQ(last, 6);
  EXPECT_EQ(file->metadata().at("request"), report.request);
  EXPECT_THAT(file->metadata().at("result"), HasSubstr("\"samples\":[]"));
}

TEST(ResultFile, VanishesIfItIsNotFinished) {
  const std::string path = temporary("unfinished.safetensors");
  Accepted accepted;
  accepted.result = {"samples", DType::kF32, {1, 1, 1, 1}};
  { ASSERT_TRUE(ResultFile::create(path, accepted, 1).ok()); }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace pa
