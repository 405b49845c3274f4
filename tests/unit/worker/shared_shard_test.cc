#include "worker/io/shared_shard.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

namespace pa {
namespace {

/// Bytes 0, 1, 2, ...
Buffer counting(std::uint64_t bytes) {
  auto memory = std::make_shared<std::vector<std::byte>>(bytes);
  for (std::uint64_t i = 0; i < bytes; ++i) (*memory)[i] = static_cast<std::byte>(i);
  return {std::shared_ptr<std::byte>(memory, memory->data()), bytes};
}

/// Three rows of 8 bytes each, and one row of 4 for all: at 0 and 64 of their concatenation.
Assign shard() {
  Assign assign;
  assign.shard = ShardId{1};
  assign.samples = {2, 3, 7};
  assign.tensors = {{"x", DType::kF32, {3, 2}}, {"timestep", DType::kF32, {1}}};
  assign.result = {"output", DType::kF32, {3, 2}};
  assign.sources = {{16, 16, 0}, {56, 8, 16}, {128, 4, 64}};
  return assign;
}

TEST(SharedShard, InputsInOnePieceAreNotCopied) {
  Assign assign = shard();
  assign.sources = {{16, 24, 0}, {128, 4, 64}};
  const Buffer memory = counting(200);
  const auto inputs = find_inputs(assign, memory);
  ASSERT_TRUE(inputs.ok()) << inputs.error().message;
  ASSERT_EQ(inputs->size(), 2U);
  ASSERT_EQ((*inputs)[0].size(), 1U);
  EXPECT_EQ((*inputs)[0][0].data(), memory.data() + 16);
  EXPECT_EQ((*inputs)[0][0].size(), 24U);
  ASSERT_EQ((*inputs)[1].size(), 1U);
  EXPECT_EQ((*inputs)[1][0].data(), memory.data() + 128);
}

TEST(SharedShard, InputsInPiecesAreInOrder) {
  const Buffer memory = counting(200);
  const auto inputs = find_inputs(shard(), memory);
  ASSERT_TRUE(inputs.ok()) << inputs.error().message;
  ASSERT_EQ((*inputs)[0].size(), 2U);
  EXPECT_EQ((*inputs)[0][0].data(), memory.data() + 16);
  EXPECT_EQ((*inputs)[0][0].size(), 16U);
  EXPECT_EQ((*inputs)[0][1].data(), memory.data() + 56);
  EXPECT_EQ((*inputs)[0][1].size(), 8U);
}

TEST(SharedShard, SourcesAreNotBelieved) {
  constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max();
  const Buffer memory = counting(200);
  const std::vector<std::vector<Source>> lies{
      {},
      {{16, 16, 0}, {56, 8, 16}},                             // A tensor is missing.
      {{16, 16, 0}, {128, 4, 64}},                            // One is not whole.
      {{16, 16, 0}, {56, 8, 16}, {198, 4, 64}},               // Beyond the end.
      {{kHuge - 4, 16, 0}, {56, 8, 16}, {128, 4, 64}},        // The end overflows.
      {{16, kHuge, 0}, {56, 8, 16}, {128, 4, 64}},            // So do the bytes.
      {{16, 16, 0}, {56, 0, 16}, {56, 8, 16}, {128, 4, 64}},  // Nothing.
      {{16, 16, 8}, {56, 8, 16}, {128, 4, 64}},               // In another's place.
      {{16, 16, 0}, {56, 8, 16}, {128, 4, 64}, {0, 4, 128}},  // Of no tensor.
      {{16, 32, 0}, {128, 4, 64}},                            // Too much.
  };
  for (const std::vector<Source>& sources : lies) {
    Assign assign = shard();
    assign.sources = sources;
    EXPECT_FALSE(find_inputs(assign, memory).ok());
  }
}

}  // namespace
}  // namespace pa
