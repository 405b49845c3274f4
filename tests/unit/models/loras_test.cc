#include "worker/models/loras.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/loaded_model.h"

namespace pa {
namespace {

using test::difference;
using test::Fixture;
using test::TempFolder;
using test::tensor;
using ::testing::HasSubstr;

/// Tensors of a LoRA fixture under the names they have in people's files.
std::vector<TensorView> lora_of(const Fixture& fixture) {
  const std::string prefix = "lora.";
  std::vector<TensorView> tensors;
  for (const TensorView& view : fixture.file().tensors()) {
    if (!view.spec.name.starts_with(prefix)) continue;
    tensors.push_back(view);
    tensors.back().spec.name.erase(0, prefix.size());
  }
  return tensors;
}

/// A model in a folder, with LoRA files.
class LoraModel {
 public:
  explicit LoraModel(const std::string& base, const std::string& more_yaml = {}) : base_(base) {
    make_model_folder(models_, "m", base_);
    if (!more_yaml.empty()) models_.write("m/model.yaml", test::model_yaml(base_) + more_yaml);
    std::filesystem::create_directories(models_.path("m/loras"));
  }

  void add(const std::string& name, const std::vector<TensorView>& tensors) {
    PA_CHECK(write_safetensors(models_.path("m/loras/" + name + ".safetensors"), {}, tensors).ok());
  }
  void load() {
    FileHashes hashes;
    const ModelFolder folder = read_model_folder(models_.path("m"), hashes).value();
    replica_ = std::make_unique<Replica>(load_replica(folder, Device{}).value());
  }
  [[nodiscard]] at::Tensor forward() const {
    return replica_->network->forward(test::fixture_rows(base_).value()).value();
  }
  [[nodiscard]] const Fixture& base() const { return base_; }
  [[nodiscard]] Loras& loras() { return replica_->loras; }
  [[nodiscard]] Weights& weights() { return *replica_->weights; }

  [[nodiscard]] std::map<std::string, at::Tensor> copy_of_weights() const {
    std::map<std::string, at::Tensor> copy;
    for (const Parameter& parameter : replica_->weights->blueprint().parameters()) {
      copy[parameter.name] = replica_->weights->at(parameter.name)->clone();
    }
    return copy;
  }

 private:
  Fixture base_;
  TempFolder models_;
  std::unique_ptr<Replica> replica_;
};

void expect_equal(const std::map<std::string, at::Tensor>& a,
                  const std::map<std::string, at::Tensor>& b) {
  for (const auto& [name, value] : a) EXPECT_TRUE(at::equal(value, b.at(name))) << name;
}

class LoraFixture : public ::testing::TestWithParam<std::string> {
 protected:
  c10::InferenceMode guard_;
  Fixture fixture_{"lora/" + GetParam()};
};

TEST_P(LoraFixture, EqualsTheReferenceAndLeavesNoTrace) {
  LoraModel model(fixture_.meta["base"].get<std::string>());
  std::vector<std::pair<std::string, std::vector<LoraRef>>> cases;  // Suffix of outputs; set.
  if (fixture_.meta["kind"] == "lora_stack") {
    std::vector<LoraRef> set;
    for (const nlohmann::json& entry : fixture_.meta["stack"]) {
      const auto file = entry[0].get<std::string>();
      const std::string name = std::filesystem::path(file).stem().string();
      model.add(name, lora_of(Fixture(file)));
      set.push_back({name, entry[1].get<double>()});
    }
    cases.emplace_back("", set);
  } else {
    model.add("l", lora_of(fixture_));
    for (const nlohmann::json& strength : fixture_.meta["strengths"]) {
      cases.emplace_back(std::string("@").append(strength.dump()),
                         std::vector<LoraRef>{{"l", strength.get<double>()}});
    }
  }
  model.load();
  const std::map<std::string, at::Tensor> before = model.copy_of_weights();
  const at::Tensor base = model.forward();
  for (const auto& [suffix, set] : cases) {
    ASSERT_TRUE(model.loras().check(set).ok());
    EXPECT_TRUE(model.loras().put_on(set).value());
    EXPECT_FALSE(model.loras().put_on(set).value());
    const at::Tensor want = tensor(fixture_, "out.y" + suffix);
    EXPECT_LE(difference(model.forward(), want), test::tolerance(fixture_, want) / 2);
    EXPECT_GT(difference(model.forward(), base), 1e-3);
    const std::string probe = "probe" + suffix + ".";
    for (const TensorView& view : fixture_.file().tensors()) {
      if (!view.spec.name.starts_with(probe)) continue;
      const at::Tensor rows = model.weights().at(view.spec.name.substr(probe.size()))->flatten(1);
      const std::int64_t n = rows.size(0);
      const at::Tensor got = at::stack({rows[0], rows[n / 2], rows[n - 1]});
      EXPECT_LE(difference(got, tensor(fixture_, view.spec.name)),
                fixture_.meta["weight_atol"].get<double>())
          << view.spec.name;
    }
  }
  EXPECT_TRUE(model.loras().put_on({}).value());
  expect_equal(before, model.copy_of_weights());
  EXPECT_EQ(difference(model.forward(), base), 0.0);
}

INSTANTIATE_TEST_SUITE_P(Loras, LoraFixture, ::testing::ValuesIn(test::fixtures_in("lora")),
                         [](const auto& param) {
                           return param.param.substr(0, param.param.find('.'));
                         });

class LorasTest : public ::testing::Test {
 protected:
  static constexpr const char* kBase = "models/flux_dev_b1.safetensors";

  /// The error of putting on a LoRA whose tensors `change` had its way with.
  template <class Change>
  std::string error_after(Change change, bool allow_unmatched = false) {
    LoraModel model(kBase);
    std::vector<TensorView> tensors = lora_of(lora_);
    change(tensors);
    model.add("l", tensors);
    model.load();
    const Status status = model.loras().check({{"l", 1.0, allow_unmatched}});
    if (!status.ok()) {
      EXPECT_EQ(status.error().field, "/loras/0/name");
    }
    return status.ok() ? "" : status.error().message;
  }

  c10::InferenceMode guard_;
  Fixture lora_{"lora/flux_kohya.safetensors"};
  const std::string layer_ = "lora_unet_double_blocks_0_img_mlp_0";
};

TEST_F(LorasTest, OtherAlgorithmsAreRefusedByName) {
  const std::vector<float> values(4);
  const auto refused = [&](const std::string& name) {
    return error_after([&](std::vector<TensorView>& tensors) {
      tensors.push_back({{name, DType::kF32, {2, 2}}, std::as_bytes(std::span(values))});
    });
  };
  EXPECT_THAT(refused(layer_ + ".dora_scale"), HasSubstr("is DoRA"));
  EXPECT_THAT(refused(layer_ + ".hada_w1_a"), HasSubstr("is LoHa"));
  EXPECT_THAT(refused(layer_ + ".lokr_w1"), HasSubstr("is LoKr"));
  EXPECT_THAT(refused(layer_ + ".oft_blocks"), HasSubstr("is OFT"));
  EXPECT_THAT(refused(layer_ + ".diff"), HasSubstr("full difference"));
}

TEST_F(LorasTest, LayersOfOtherNetworksAreAnErrorUnlessAllowed) {
  const auto rename = [&](std::vector<TensorView>& tensors) {
    for (TensorView& view : tensors) {
      if (!view.spec.name.starts_with(layer_)) continue;
      const std::string rest = view.spec.name.substr(layer_.size());
      view.spec.name = layer_;
      view.spec.name += '9';
      view.spec.name += rest;
    }
  };
  EXPECT_THAT(error_after(rename), HasSubstr("'" + layer_ + "9'"));
  EXPECT_EQ(error_after(rename, true), "");
}

TEST_F(LorasTest, LayersOfTextEncodersAreNotOurs) {
  EXPECT_EQ(error_after([&](std::vector<TensorView>& tensors) {
              for (TensorView& view : tensors) {
                if (view.spec.name.starts_with(layer_)) {
                  view.spec.name.replace(0, std::string("lora_unet_").size(), "lora_te1_");
                }
              }
            }),
            "");
}

TEST_F(LorasTest, LayersMustBeWholeAndFit) {
  EXPECT_THAT(error_after([&](std::vector<TensorView>& tensors) {
                std::erase_if(tensors, [&](const TensorView& view) {
                  return view.spec.name == layer_ + ".lora_up.weight";
                });
              }),
              HasSubstr("'" + layer_ + "' has no up projection"));
  EXPECT_THAT(error_after([&](std::vector<TensorView>& tensors) {
                for (TensorView& view : tensors) {
                  if (view.spec.name == layer_ + ".lora_up.weight") view.spec.shape = {128, 8};
                }
              }),
              HasSubstr("expected [256, rank] x [rank, 64]"));
}

TEST_F(LorasTest, AreKnownByNameAndByHash) {
  LoraModel model(kBase);
  model.add("style", lora_of(lora_));
  model.load();
  EXPECT_THAT(model.loras().check({{"stile", 1.0}}).error().message,
              HasSubstr("no LoRA 'stile'; did you mean 'style'"));
}

/// Several sets, one after the other, on weights that alias the file and on ones that do not.
TEST_F(LorasTest, AnySequenceOfSetsEndsAsOneAlone) {
  for (const char* const dtype : {"", "dtype: BF16\n"}) {
    LoraModel model(kBase, dtype);
    model.add("a", lora_of(lora_));
    model.add("b", lora_of(Fixture("lora/flux_peft.safetensors")));
    model.load();
    const std::map<std::string, at::Tensor> before = model.copy_of_weights();
    ASSERT_TRUE(model.loras().put_on({{"b", 0.3}}).ok());
    const std::map<std::string, at::Tensor> alone = model.copy_of_weights();
    ASSERT_TRUE(model.loras().put_on({{"a", 1.0}, {"b", -2.0}}).ok());
    ASSERT_TRUE(model.loras().put_on({{"a", 0.5}}).ok());
    ASSERT_TRUE(model.loras().put_on({{"b", 0.3}}).ok());
    expect_equal(alone, model.copy_of_weights());
    ASSERT_TRUE(model.loras().put_on({}).ok());
    expect_equal(before, model.copy_of_weights());
  }
}

}  // namespace
}  // namespace pa
