#include "worker/models/tensors.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>

#include "worker/models/torch_errors.h"

namespace pa {
namespace {

TEST(Alias, SharesAlignedBytesAndKeepsTheirOwner) {
  auto owner = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3, 4});
  const std::weak_ptr<std::vector<float>> watch = owner;
  const float* const data = owner->data();
  at::Tensor tensor = alias({"x", DType::kF32, {2, 2}}, std::as_bytes(std::span(*owner)), owner);
  owner.reset();
  EXPECT_EQ(tensor.const_data_ptr<float>(), data);
  EXPECT_EQ(tensor[1][0].item<float>(), 3.0F);
  EXPECT_FALSE(watch.expired());
  tensor.reset();
  EXPECT_TRUE(watch.expired());
}

TEST(Alias, CopiesBytesThatAreNotAligned) {
  std::vector<std::byte> bytes(9);
  const std::vector<float> values{1.5F, -2.5F};
  std::memcpy(bytes.data() + 1, values.data(), 8);
  const at::Tensor tensor = alias({"x", DType::kF32, {2}}, std::span(bytes).subspan(1), nullptr);
  EXPECT_EQ(tensor[1].item<float>(), -2.5F);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.data_ptr()) % alignof(float), 0U);
}

TEST(BufferOf, KeepsTheTensorAlive) {
  at::Tensor tensor = at::arange(6, at::kFloat).reshape({2, 3});
  const void* const data = tensor.data_ptr();
  const Buffer buffer = buffer_of(tensor.narrow(0, 1, 1));
  tensor.reset();
  EXPECT_EQ(buffer.size(), 12U);
  EXPECT_EQ(static_cast<const void*>(buffer.data()), static_cast<const char*>(data) + 12);
  EXPECT_EQ(reinterpret_cast<const float*>(buffer.data())[2], 5.0F);
}

TEST(Guarded, TurnsExceptionsIntoErrors) {
  const Result<int> shapes = guarded<int>(
      []() -> Result<int> { return static_cast<int>((at::ones({2}) + at::ones({3})).numel()); });
  ASSERT_FALSE(shapes.ok());
  EXPECT_EQ(shapes.error().code, Code::kInternal);
  const Result<int> memory = guarded<int>([]() -> Result<int> {
    TORCH_CHECK_WITH(OutOfMemoryError, false, "no memory");
    return 1;
  });
  ASSERT_FALSE(memory.ok());
  EXPECT_EQ(memory.error().code, Code::kOverloaded);
  EXPECT_EQ(*guarded<int>([]() -> Result<int> { return 7; }), 7);
}

}  // namespace
}  // namespace pa
