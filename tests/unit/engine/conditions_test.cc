#include "worker/engine/conditions.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/shards.h"

namespace pa {
namespace {

using ::testing::HasSubstr;

TEST(Gather, GivesConsecutiveRowsWithoutACopy) {
  const at::Tensor base = at::arange(12, at::kFloat).reshape({4, 3});
  const at::Tensor rows = gather({{base, 1}, {base, 2}});
  EXPECT_EQ(rows.data_ptr(), base.narrow(0, 1, 2).data_ptr());
  EXPECT_TRUE(at::equal(rows, base.narrow(0, 1, 2)));
}

TEST(Gather, RepeatsOneRowWithoutACopy) {
  const at::Tensor base = at::arange(6, at::kFloat).reshape({2, 3});
  const at::Tensor rows = gather({{base, 1}, {base, 1}, {base, 1}});
  EXPECT_EQ(rows.data_ptr(), base[1].data_ptr());
  EXPECT_TRUE(at::equal(rows[2], base[1]));
}

TEST(Gather, JoinsRowsFromEverywhere) {
  const at::Tensor a = at::arange(6, at::kFloat).reshape({2, 3});
  const at::Tensor b = at::ones({1, 3});
  const at::Tensor rows = gather({{a, 1}, {b, 0}, {a, 0}});
  EXPECT_TRUE(at::equal(rows, at::stack({a[1], b[0], a[0]})));
}

/// Floats 0, 1, 2, ... from `first` on.
Buffer floats(int first, int count) {
  auto memory = std::make_shared<std::vector<float>>();
  for (int i = 0; i < count; ++i) memory->push_back(static_cast<float>(first + i));
  return {std::shared_ptr<std::byte>(memory, reinterpret_cast<std::byte*>(memory->data())),
          static_cast<std::uint64_t>(count) * sizeof(float)};
}

TEST(ShardTensorsInPieces, AreJoinedInTheirOrder) {
  ShardJob job;
  job.samples = {0, 2};
  job.tensors = {{"x", DType::kF32, {2, 3}}, {"timestep", DType::kF32, {1}}};
  job.pieces = {{floats(10, 3), floats(20, 3)}, {floats(7, 1)}};
  const Result<ShardTensors> tensors = ShardTensors::of(job);
  ASSERT_TRUE(tensors.ok()) << tensors.error().message;
  EXPECT_TRUE(at::equal(tensors->find("x"),
                        at::tensor({10.F, 11.F, 12.F, 20.F, 21.F, 22.F}).reshape({2, 3})));
  EXPECT_EQ(tensors->find("timestep").data_ptr(), job.pieces[1][0].data()) << "one piece: no copy";

  job.pieces[0].pop_back();
  EXPECT_FALSE(ShardTensors::of(job).ok()) << "not whole";
  job.pieces[0].clear();
  EXPECT_FALSE(ShardTensors::of(job).ok());
  job.pieces.pop_back();
  EXPECT_FALSE(ShardTensors::of(job).ok()) << "a tensor is missing";
}

class Wants : public Network {
 public:
  [[nodiscard]] Result<at::Tensor> forward(const Rows& rows) override { return rows.x; }
  [[nodiscard]] const std::vector<InputSpec>& input_contract() const override { return inputs_; }

 private:
  std::vector<InputSpec> inputs_{{"context", DType::kF32, {-1, 4}, true},
                                 {"mask", DType::kF32, {}, false}};
};

class ConditioningTest : public ::testing::Test {
 protected:
  ConditioningTest() {
    replica_.info.name = "m";
    replica_.network = std::make_unique<Wants>();
    replica_.labels["one"]["context"] = at::ones({1, 2, 4});
  }

  Result<Conditioning> make(const test::Tensors& tensors) {
    const ShardJob job = test::make_job(1, {}, {1}, {3, 5}, tensors);
    PA_ASSIGN(const ShardTensors views, ShardTensors::of(job));
    return Conditioning::of_tensors(replica_, job, views, "cond.0", "/positive/0/tensors",
                                    at::kCPU);
  }
  std::string error_of(const test::Tensors& tensors) {
    const Result<Conditioning> conditioning = make(tensors);
    if (conditioning.ok()) return "";
    EXPECT_EQ(conditioning.error().code, Code::kInvalid);
    return conditioning.error().field + ": " + conditioning.error().message;
  }

  Replica replica_;
};

TEST_F(ConditioningTest, ServesAllWithOneRowAndEachWithItsOwn) {
  const at::Tensor two = at::arange(24, at::kFloat).reshape({2, 3, 4});
  const Conditioning own = make({{"cond.0.context", two}}).value();
  EXPECT_TRUE(at::equal(gather({own.row(1).at("context")})[0], two[1]));
  const Conditioning shared = make({{"cond.0.context", two.narrow(0, 0, 1)}}).value();
  EXPECT_TRUE(at::equal(gather({shared.row(1).at("context")})[0], two[0]));
  EXPECT_FALSE(shared.row(0).contains("mask"));
}

TEST_F(ConditioningTest, FindsTensorsOfASampleByItsIndexInTheBatch) {
  const Conditioning ragged =
      make({{"cond.0.context.3", at::ones({1, 7, 4})}, {"cond.0.context.5", at::ones({1, 2, 4})}})
          .value();
  EXPECT_EQ(ragged.row(0).at("context").base.size(1), 7);
  EXPECT_EQ(ragged.row(1).at("context").base.size(1), 2);
}

TEST_F(ConditioningTest, NamesWhatIsWrong) {
  const at::Tensor context = at::ones({1, 7, 4});
  EXPECT_THAT(
      error_of({}),
      HasSubstr("/positive/0/tensors: the model 'm' needs the input 'context': expected a tensor "
                "'cond.0.context'"));
  EXPECT_THAT(error_of({{"cond.0.contxt", context}}), HasSubstr("did you mean 'context'?"));
  EXPECT_THAT(error_of({{"cond.0.context", at::ones({1, 7, 5})}}),
              HasSubstr("/tensors/cond.0.context: the tensor 'cond.0.context' is Float [1, 7, 5]"));
  EXPECT_THAT(error_of({{"cond.0.context", at::ones({3, 7, 4})}}), HasSubstr("1 or 2 rows"));
  EXPECT_THAT(error_of({{"cond.0.context.3", context}}), HasSubstr("needs the input"));
  EXPECT_EQ(error_of({{"cond.0.context", context}, {"cond.1.other", context}}), "");
}

TEST_F(ConditioningTest, FindsLabels) {
  const Conditioning labels = Conditioning::of_labels(replica_, {"one", "one"}).value();
  EXPECT_EQ(labels.row(1).at("context").base.size(1), 2);
  replica_.info.labels = {"one"};
  const Error error = Conditioning::of_labels(replica_, {"One"}).error();
  EXPECT_EQ(error.field, "/labels");
  EXPECT_THAT(error.message, HasSubstr("did you mean 'one'?"));
}

TEST_F(ConditioningTest, RefusesTensorsBeyondTheInputs) {
  ShardJob job = test::make_job(1, {}, {1}, {0}, {{"x", at::ones({1, 100})}});
  job.inputs = job.inputs.slice(0, 396);
  EXPECT_EQ(ShardTensors::of(job).error().code, Code::kInvalid);
}

}  // namespace
}  // namespace pa
