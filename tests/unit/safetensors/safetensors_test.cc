#include "shared/io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/model_folder.h"
#include "tests/support/text_files.h"

namespace pa {
namespace {

using test::TempFolder;
using ::testing::HasSubstr;

std::vector<std::byte> image(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::vector<std::byte> bytes(sizeof length + header.size() + data_bytes);
  std::memcpy(bytes.data(), &length, sizeof length);
  std::memcpy(bytes.data() + sizeof length, header.data(), header.size());
  return bytes;
}

/// The error that a file of this header and so many bytes of data gives; empty if none.
std::string error_of(const std::string& header, std::size_t data_bytes) {
  const std::vector<std::byte> bytes = image(header, data_bytes);
  const Result<SafetensorsContents> contents = parse_safetensors(bytes);
  return contents.ok() ? "" : contents.error().message;
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

std::vector<float> floats_in(const TensorView& tensor) {
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

TEST(SafetensorsParse, ReadsTensorsInTheOrderOfTheirBytes) {
  const std::vector<std::byte> bytes = image(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2],"data_offsets":[8,12]},)"
      R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}   )",
      12);
  const SafetensorsContents contents = parse_safetensors(bytes).value();
  ASSERT_EQ(contents.tensors.size(), 2U);
  EXPECT_EQ(contents.tensors[0].spec, (TensorSpec{"a", DType::kF32, {1, 2}}));
  EXPECT_EQ(contents.tensors[1].spec, (TensorSpec{"b", DType::kF16, {2}}));
  EXPECT_EQ(contents.tensors[1].bytes.data(), bytes.data() + bytes.size() - 4);
  EXPECT_EQ(contents.metadata.at("format"), "pt");
}

TEST(SafetensorsParse, TakesScalarsAndEmptyTensors) {
  EXPECT_EQ(error_of(R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                     R"("e":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]}})",
                     4),
            "");
  EXPECT_EQ(error_of("{}", 0), "");
}

TEST(SafetensorsParse, RefusesWhatIsNoSafetensorsFile) {
  EXPECT_FALSE(parse_safetensors({}).ok());
  EXPECT_THAT(error_of("[]", 0), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(error_of("", 0), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(error_of("{\"a\":", 0), HasSubstr("not JSON"));
  EXPECT_THAT(error_of("{} x", 0), HasSubstr("not JSON"));
  EXPECT_THAT(error_of("{\"\xff\":1}", 0), HasSubstr("not JSON"));
  std::vector<std::byte> bytes = image("{}", 0);
  bytes[7] = std::byte{0x80};  // A header of 2^63 bytes.
  EXPECT_THAT(parse_safetensors(bytes).error().message, HasSubstr("announces a header"));
  bytes[7] = std::byte{0};
  bytes[0] = std::byte{3};  // One byte more than there is.
  EXPECT_THAT(parse_safetensors(bytes).error().message, HasSubstr("announces a header"));
}

TEST(SafetensorsParse, RefusesDoubles) {
  const std::string a = R"("a":{"dtype":"U8","shape":[],"data_offsets":[0,1]})";
  EXPECT_THAT(error_of("{" + a + "," + a + "}", 1), HasSubstr("'a' twice"));
  EXPECT_THAT(error_of(R"({"__metadata__":{"k":"1","k":"2"}})", 0),
              HasSubstr("metadata 'k' twice"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"U8","dtype":"U8","shape":[],"data_offsets":[0,1]}})", 1),
              HasSubstr("'dtype' twice"));
}

TEST(SafetensorsParse, RefusesOverlapsGapsAndLeftovers) {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
  };
  EXPECT_EQ(error_of(two("[0,4]", "[4,8]"), 8), "");
  EXPECT_THAT(error_of(two("[0,4]", "[3,7]"), 8), HasSubstr("inside the one before"));
  EXPECT_THAT(error_of(two("[0,4]", "[0,4]"), 8), HasSubstr("inside the one before"));
  EXPECT_THAT(error_of(two("[0,4]", "[5,9]"), 9), HasSubstr("leaves a gap"));
  EXPECT_THAT(error_of(two("[1,5]", "[5,9]"), 9), HasSubstr("leaves a gap"));
  EXPECT_THAT(error_of(two("[0,4]", "[4,8]"), 9), HasSubstr("end at byte 8"));
  EXPECT_THAT(error_of(two("[0,4]", "[4,8]"), 7), HasSubstr("'b' lies at bytes 4 to 8"));
  EXPECT_THAT(error_of(two("[0,4]", "[8,4]"), 8), HasSubstr("'b' lies at bytes 8 to 4"));
}

TEST(SafetensorsParse, RefusesSizesThatDoNotFitOrOverflow) {
  const auto one = [](const std::string& dtype, const std::string& shape) {
    return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[0,8]}})";
  };
  EXPECT_EQ(error_of(one("F32", "[2]"), 8), "");
  EXPECT_THAT(error_of(one("F32", "[3]"), 8), HasSubstr("so 12 bytes, but has 8"));
  EXPECT_THAT(error_of(one("F32", "[4294967296,4294967296,4]"), 8), HasSubstr("tensor 'a'"));
  EXPECT_THAT(error_of(one("F64", "[2305843009213693952]"), 8), HasSubstr("tensor 'a'"));
  EXPECT_THAT(error_of(one("F32", "[18446744073709551615]"), 8), HasSubstr("beyond 2^63-1"));
  EXPECT_THAT(error_of(one("F32", "[18446744073709551616]"), 8), HasSubstr("a fraction"));
  EXPECT_THAT(error_of(one("F32", "[-2]"), 8), HasSubstr("a negative number"));
  EXPECT_THAT(error_of(one("F32", "[2.0]"), 8), HasSubstr("a fraction"));
  EXPECT_THAT(error_of(one("F33", "[2]"), 8), HasSubstr("unknown dtype 'F33'"));
}

TEST(SafetensorsParse, RefusesHeadersOfAnotherForm) {
  EXPECT_THAT(error_of(R"({"a":1})", 0), HasSubstr("a number as 'a'"));
  EXPECT_THAT(error_of(R"({"a":[]})", 0), HasSubstr("an array as 'a'"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"U8","shape":[0]}})", 0), HasSubstr("lacks"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}})", 0),
              HasSubstr("unknown field 'x'"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0]}})", 0),
              HasSubstr("not two numbers"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"U8","shape":[[0]],"data_offsets":[0,0]}})", 0),
              HasSubstr("an array in shape"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":{},"shape":[0],"data_offsets":[0,0]}})", 0),
              HasSubstr("an object in dtype"));
  EXPECT_THAT(error_of(R"({"__metadata__":{"k":1}})", 0), HasSubstr("a number as metadata 'k'"));
  EXPECT_THAT(error_of(R"({"__metadata__":{"k":{}}})", 0), HasSubstr("an object as metadata 'k'"));
  EXPECT_THAT(error_of(R"({"a":null})", 0), HasSubstr("null as 'a'"));
}

TEST(SafetensorsParse, DeepNestingCostsNothing) {
  EXPECT_THAT(error_of("{\"a\":" + std::string(1 << 20, '['), 0), HasSubstr("an array as 'a'"));
  EXPECT_THAT(error_of("{\"a\":{\"shape\":" + std::string(1 << 20, '['), 0),
              HasSubstr("an array in shape"));
}

TEST(SafetensorsFile, ReadsBackWhatWasWritten) {
  const TempFolder folder;
  const std::string path = folder.path("x.safetensors");
  const std::vector<float> floats{1.5F, -2.0F};
  const std::vector<std::uint8_t> bytes{7, 8, 9};
  ASSERT_TRUE(write_safetensors(path, {{"request", "{\"a\": \"\\u00e9\"}"}},
                                {{{"b", DType::kU8, {3}}, bytes_of(bytes)},
                                 {{"f", DType::kF32, {2, 1}}, bytes_of(floats)}})
                  .ok());
  const SafetensorsFile file = SafetensorsFile::open(path).value();
  EXPECT_EQ(file.metadata().at("request"), "{\"a\": \"\\u00e9\"}");
  ASSERT_EQ(file.tensors().size(), 2U);
  const TensorView* const f = file.find("f");
  ASSERT_NE(f, nullptr);
  EXPECT_EQ(f->spec, (TensorSpec{"f", DType::kF32, {2, 1}}));
  EXPECT_EQ(floats_in(*f), floats);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(f->bytes.data()) % 64, 0U);
  EXPECT_EQ(std::to_integer<int>(file.find("b")->bytes[2]), 9);
  EXPECT_EQ(file.find("g"), nullptr);
}

TEST(SafetensorsFile, NamesTheFileInErrors) {
  const TempFolder folder;
  EXPECT_THAT(SafetensorsFile::open(folder.path("none")).error().message,
              HasSubstr(folder.path("none") + ": cannot be opened"));
  const std::string text = folder.write("text", "hello, this is no such file");
  EXPECT_THAT(SafetensorsFile::open(text).error().message, HasSubstr(text + ": "));
  EXPECT_FALSE(SafetensorsFile::open(folder.write("empty", "")).ok());
  EXPECT_THAT(SafetensorsFile::open(folder.path()).error().message, HasSubstr("not a regular"));
}

TEST(SafetensorsWrite, RefusesWhatCannotBeReadBack) {
  const TempFolder folder;
  const std::vector<float> one{1.0F};
  const TensorView view{{"a", DType::kF32, {1}}, bytes_of(one)};
  const TensorView wrong{{"a", DType::kF32, {2}}, bytes_of(one)};
  const TensorView bad_name{{"\xff", DType::kF32, {1}}, bytes_of(one)};
  EXPECT_FALSE(write_safetensors(folder.path("x"), {}, {view, view}).ok());
  EXPECT_FALSE(write_safetensors(folder.path("x"), {}, {wrong}).ok());
  EXPECT_FALSE(write_safetensors(folder.path("x"), {}, {bad_name}).ok());
  EXPECT_EQ(write_safetensors(folder.path("no/such/folder"), {}, {view}).error().code,
            Code::kInternal);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

class SafetensorsOutputTest : public ::testing::Test {
 protected:
  /// Fills an output whose metadata has `metadata_bytes` characters, with room for `reserved`.
  void fill(std::uint64_t reserved, std::size_t metadata_bytes) {
    const std::vector<TensorSpec> specs{{"small", DType::kU8, {1}},
                                        {"samples", DType::kF32, {2, 3}}};
    SafetensorsOutput output = SafetensorsOutput::create(path_, specs, reserved).value();
    const Buffer samples = output.bytes(1);
    ASSERT_EQ(samples.size(), 24U);
    const std::vector<float> values{1, 2, 3, 4, 5, 6};
    std::memcpy(samples.data(), values.data(), samples.size());
    output.bytes(0).data()[0] = std::byte{42};
    EXPECT_EQ(test::read_file(path_), before_);
    const Metadata metadata{{"result", std::string(metadata_bytes, 'x')}};
    ASSERT_TRUE(output.finish(metadata, Durability::kPowerFailure).ok());

    const SafetensorsFile file = SafetensorsFile::open(path_).value();
    EXPECT_EQ(file.metadata(), metadata);
    EXPECT_EQ(floats_in(*file.find("samples")), values);
    EXPECT_EQ(file.find("small")->bytes[0], std::byte{42});
  }

  TempFolder folder_;
  std::string path_ = folder_.path("out.safetensors");
  std::string before_;  // What is at path_ until finish().
};

TEST_F(SafetensorsOutputTest, IsFilledInPlace) { fill(4096, 1000); }
TEST_F(SafetensorsOutputTest, CopiesIfTheMetadataOutgrowsItsRoom) { fill(10, 5000); }

TEST_F(SafetensorsOutputTest, LeavesNothingUnlessFinished) {
  { ASSERT_TRUE(SafetensorsOutput::create(path_, {{"a", DType::kF32, {1000}}}, 100).ok()); }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(SafetensorsOutputTest, ReplacesAnOlderFileAtOnce) {
  before_ = "old";
  folder_.write("out.safetensors", before_);
  fill(4096, 10);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1);
}

}  // namespace
}  // namespace pa
