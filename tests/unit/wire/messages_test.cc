#include "shared/wire/messages.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>

namespace pa {
namespace {

TEST(MessagesTest, EveryMessageHasANameOfItsOwn) {
  const auto names = message_names();
  EXPECT_EQ(names.size(), std::variant_size_v<Message>);
  EXPECT_EQ(std::set(names.begin(), names.end()).size(), names.size());
  EXPECT_EQ(name_of(Want{}), "Want");
  EXPECT_EQ(name_of(Submit{}), "Submit");
  EXPECT_EQ(name_of(ClusterStatus{}), "ClusterStatus");
  EXPECT_EQ(name_of(Rehello{}), "Rehello");
  EXPECT_EQ(name_of(SamplesDone{}), "SamplesDone");
  EXPECT_EQ(name_of(Bye{}), "Bye");
}

TEST(InputLayoutTest, PutsTensorsAtMultiplesOf64) {
  const Result<InputLayout> layout = input_layout({{"a", DType::kF32, {1, 3}},
                                                   {"b", DType::kU8, {65}},
                                                   {"c", DType::kF32, {0, 4}},
                                                   {"d", DType::kF64, {}}});
  ASSERT_TRUE(layout.ok());
  EXPECT_EQ(layout->offsets, (std::vector<std::uint64_t>{0, 64, 192, 192}));
  EXPECT_EQ(layout->total, 200U);
}

TEST(InputLayoutTest, OfNothingIsEmpty) {
  const Result<InputLayout> layout = input_layout({});
  ASSERT_TRUE(layout.ok());
  EXPECT_EQ(layout->total, 0U);
}

TEST(InputLayoutTest, RefusesWhatOverflows) {
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  EXPECT_FALSE(input_layout({{"a", DType::kF32, {most}}}).ok());
  EXPECT_FALSE(input_layout({{"a", DType::kU8, {-1}}}).ok());
  EXPECT_FALSE(
      input_layout(
          {{"a", DType::kU8, {most}}, {"b", DType::kU8, {most}}, {"c", DType::kU8, {most}}})
          .ok());
}

}  // namespace
}  // namespace pa
