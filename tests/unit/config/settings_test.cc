#include "shared/io/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/text_files.h"

namespace pa {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

enum class Colour : std::uint8_t { kRed, kGreen };

struct Example {
  bool flag = false;
  std::int64_t rows = 8;
  double ratio = 0.5;
  std::string name = "plain";
  Duration wait = seconds{3};
  std::uint64_t size = 1024;
  Colour colour = Colour::kGreen;
  std::map<std::string, double> weights;
};

Settings settings_of(Example& example) {
  Settings settings;
  settings.boolean("flag", example.flag, "Whether.");
  settings.section("limits", "What is allowed.");
  settings.integer("limits.rows", example.rows, {1, 64}, "Rows.");
  settings.bytes("limits.size", example.size, {}, "Bytes.");
  settings.number("ratio", example.ratio, {0, 1}, "Part of the whole.");
  settings.string("name", example.name, "A name.");
  settings.duration("wait", example.wait, {seconds{1}, seconds{60}}, "Time.");
  settings.choice("colour", example.colour, {"red", "green"}, "Which one.");
  settings.numbers("weights", example.weights, {0, 100}, "By name.");
  return settings;
}

TEST(Settings, ReadEveryKindOfKey) {
  Example example;
  Settings settings = settings_of(example);
  settings.parse(
      "flag: true\nlimits: {rows: 9, size: 2KiB}\nratio: 0.75\nname: other\nwait: 5s\n"
      "colour: red\nweights: {a: 1, 'b:0': 2.5}\n",
      "f.yaml");
  ASSERT_TRUE(settings.finish().ok());
  EXPECT_TRUE(example.flag);
  EXPECT_EQ(example.rows, 9);
  EXPECT_EQ(example.size, 2048u);
  EXPECT_EQ(example.ratio, 0.75);
  EXPECT_EQ(example.name, "other");
  EXPECT_EQ(example.wait, seconds{5});
  EXPECT_EQ(example.colour, Colour::kRed);
  EXPECT_EQ(example.weights, (std::map<std::string, double>{{"a", 1}, {"b:0", 2.5}}));
}

TEST(Settings, DocumentThemselvesSoThatTheyReadBack) {
  Example example;
  example.weights = {{"a b", 1}};
  example.name = "yes";
  const std::string document = settings_of(example).document("An example.");
  EXPECT_EQ(document,
            "# An example.\n"
            "\n"
            "# Whether. Allowed: true or false.\n"
            "flag: false\n"
            "\n"
            "# What is allowed.\n"
            "limits:\n"
            "  # Rows. Allowed: 1 to 64.\n"
            "  rows: 8\n"
            "  # Bytes.\n"
            "  size: 1KiB\n"
            "\n"
            "# Part of the whole. Allowed: 0 to 1.\n"
            "ratio: 0.5\n"
            "\n"
            "# A name.\n"
            "name: \"yes\"\n"
            "\n"
            "# Time. Allowed: 1s to 1m.\n"
            "wait: 3s\n"
            "\n"
            "# Which one. Allowed: red or green.\n"
            "colour: green\n"
            "\n"
            "# By name. Allowed: 0 to 100.\n"
            "weights: {\"a b\": 1}\n");
  Example other;
  Settings settings = settings_of(other);
  settings.parse(document, "f.yaml");
  EXPECT_TRUE(settings.finish().ok());
  EXPECT_EQ(other.name, "yes");
  EXPECT_EQ(other.weights, example.weights);
}

TEST(Settings, TakeOverridesAfterTheFile) {
  const test::TemporaryFile file("limits:\n  rows: 9\nweights: {a: 1}\n");
  Example example;
  Settings settings = settings_of(example);
  settings.load(file.path(), {{"limits.rows", "10"},
                              {"limits.rows", "11"},
                              {"weights.box.lan:cuda:0", "3"},
                              {"colour", "red"}});
  ASSERT_TRUE(settings.finish().ok());
  EXPECT_EQ(example.rows, 11);
  EXPECT_EQ(example.weights, (std::map<std::string, double>{{"a", 1}, {"box.lan:cuda:0", 3}}));
  EXPECT_EQ(example.colour, Colour::kRed);
}

TEST(Settings, TellEveryErrorOfFileAndOverrides) {
  const test::TemporaryFile file("limits:\n  rows: 0\nratoi: 1\n");
  Example example;
  Settings settings = settings_of(example);
  settings.load(file.path(), {{"limits.rows", "65"}, {"limits.row", "1"}, {"limits", "1"}});
  const std::string errors = settings.finish().error().message;
  EXPECT_THAT(errors, HasSubstr(file.path() +
                                ":2:9: limits.rows: expected an integer from 1 to 64, found 0\n"));
  EXPECT_THAT(errors,
              HasSubstr(file.path() + ":3:1: there is no key 'ratoi'; did you mean 'ratio'?"));
  EXPECT_THAT(errors, HasSubstr("--set limits.rows: expected an integer from 1 to 64, found 65\n"));
  EXPECT_THAT(
      errors,
      HasSubstr("--set limits.row: there is no key 'limits.row'; did you mean 'limits.rows'?"));
  EXPECT_THAT(errors, HasSubstr("--set limits: there is no key 'limits'"));
  EXPECT_EQ(example.rows, 8) << "a wrong value must leave the default";
}

TEST(Settings, PutARejectionWhereTheValueCameFrom) {
  Example example;
  Settings settings = settings_of(example);
  settings.parse("ratio: 1\nlimits:\n  rows: 9\n", "f.yaml");
  settings.reject("limits.rows", "does not go with ratio");
  settings.reject("name", "does not either");
  EXPECT_EQ(settings.finish().error().message,
            "f.yaml:3:9: limits.rows: does not go with ratio\nname: does not either");
}

}  // namespace
}  // namespace pa
