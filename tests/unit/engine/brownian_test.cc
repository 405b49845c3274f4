#include "worker/engine/brownian.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/support/fixture.h"
#include "worker/engine/seed_sequence.h"

namespace pa {
namespace {

using test::Fixture;

std::vector<std::string> brownian_fixtures() {
  std::vector<std::string> names = test::fixtures_in("noise");
  std::erase_if(names, [](const std::string& name) { return !name.starts_with("brownian_"); });
  return names;
}

class Brownian : public ::testing::TestWithParam<std::string> {
 protected:
  Fixture fixture_{"noise/" + GetParam()};
  Shape shape_ = fixture_.meta["shape"].get<Shape>();
  BrownianTree tree_{fixture_.meta["seed"].get<std::uint64_t>(),
                     fixture_.meta["sigma_min"].get<float>(),
                     fixture_.meta["sigma_max"].get<float>()};

  [[nodiscard]] NoisePlace place(std::int64_t sample) const {
    return {{shape_.begin() + 1, shape_.end()}, shape_[0], sample};
  }
};

TEST_P(Brownian, IsTorchsdesPathInAnyOrder) {
  const auto from = fixture_.values("query.from");
  const auto to = fixture_.values("query.to");
  const std::vector<float> want = fixture_.values("out.z");
  const std::size_t size = want.size() / from.size() / static_cast<std::size_t>(shape_[0]);
  for (std::size_t back = from.size(); back-- > 0;) {
    for (std::int64_t sample = 0; sample < shape_[0]; ++sample) {
      const at::Tensor got = tree_.noise(from[back], to[back], place(sample)).contiguous();
      const std::size_t begin =
          (back * static_cast<std::size_t>(shape_[0]) + static_cast<std::size_t>(sample)) * size;
      const std::span<const float> values(got.const_data_ptr<float>(), size);
      EXPECT_LE(test::largest_difference(values, std::span(want).subspan(begin, size)),
                fixture_.meta["atol"].get<double>())
          << from[back] << " to " << to[back];
    }
  }
}

TEST_P(Brownian, IncrementsAddUp) {
  const float high = fixture_.meta["sigma_max"];
  const float low = fixture_.meta["sigma_min"];
  const float middle = low + 0.3F * (high - low);
  const at::Tensor whole = tree_.noise(high, low, place(0)) * std::sqrt(high - low);
  const at::Tensor parts = tree_.noise(high, middle, place(0)) * std::sqrt(high - middle) +
                           tree_.noise(middle, low, place(0)) * std::sqrt(middle - low);
  EXPECT_LE((whole - parts).abs().max().item<double>(), 1e-5);
  EXPECT_TRUE(at::equal(tree_.noise(low, high, place(0)), -tree_.noise(high, low, place(0))));
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Brownian, ::testing::ValuesIn(brownian_fixtures()),
                         [](const auto& test) {
                           return test.param.substr(0, test.param.find('.'));
                         });

TEST(BrownianTree, GivesASampleItsPartOfTheBatch) {
  const BrownianTree tree(7, 0.1F, 10.0F);
  const at::Tensor batch = tree.noise(5.0F, 2.0F, {{3, 2, 4, 4}, 1, 0});
  const at::Tensor second = tree.noise(5.0F, 2.0F, {{2, 4, 4}, 3, 1});
  EXPECT_TRUE(at::equal(second, batch[1]));
}

TEST(BrownianTree, CutsOffWhatIsOutsideAndBelowItsResolution) {
  const BrownianTree tree(7, 0.1F, 1.0F);
  const NoisePlace place{{16}, 1, 0};
  const at::Tensor inside = tree.noise(1.0F, 0.1F, place) * std::sqrt(0.9F);
  const at::Tensor beyond = tree.noise(1.2F, 0.1F, place) * std::sqrt(1.1F);
  EXPECT_LE((inside - beyond).abs().max().item<double>(), 1e-6);
  EXPECT_EQ(tree.noise(0.5F, 0.49999997F, place).abs().max().item<float>(), 0.0F);
}

TEST(SeedSequence, IsNumpys) {
  // numpy.random.SeedSequence(entropy, spawn_key=key, pool_size=24).generate_state(1)[0].
  const auto seed = [](std::uint64_t entropy, std::vector<std::uint64_t> key) {
    return seed_of(entropy, key);
  };
  EXPECT_EQ(seed(0, {}), 4025752534U);
  EXPECT_EQ(seed(42, {}), 387750627U);
  EXPECT_EQ(seed(42, {0, 0}), 2102017995U);
  EXPECT_EQ(seed(123456789012, {5, 3}), 4015752457U);
  EXPECT_EQ(seed(18446744073709551615U, {8589934597, 33}), 1849045337U);
}

}  // namespace
}  // namespace pa
