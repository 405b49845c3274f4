#include "shared/io/yaml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

namespace pa {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// The errors of `text` when `read` has asked for what it wants.
template <class Read>
std::string errors_of(std::string_view text, const Read& read) {
  YamlFile file = YamlFile::parse(text, "f.yaml");
  read(file.root());
  const Status status = file.finish();
  return status.ok() ? "" : status.error().message;
}

std::string errors_of(std::string_view text) {
  YamlFile file = YamlFile::parse(text, "f.yaml");
  const Status status = file.finish();
  return status.ok() ? "" : status.error().message;
}

/// The errors of reading `text` as the value of the key `k`.
template <class Read>
std::string value_error(const std::string& text, const Read& read) {
  return errors_of("k: " + text, [&](YamlMap root) {
    const auto value = root.find("k");
    ASSERT_TRUE(value.has_value());
    EXPECT_EQ(read(*value), std::nullopt);
  });
}

// ---------------------------------------------------------------------------------- good values

TEST(Yaml, ReadsEveryType) {
  bool flag = false;
  std::int64_t count = 0;
  double ratio = 0;
  std::string name;
  Duration wait{};
  std::uint64_t size = 0;
  const std::string errors =
      errors_of("flag: true\ncount: -3\nratio: 2.5e-1\nname: box:cuda:0\nwait: 1.5s\nsize: 8MiB\n",
                [&](YamlMap root) {
                  EXPECT_TRUE(root.read_boolean("flag", flag));
                  EXPECT_TRUE(root.read_integer("count", count));
                  EXPECT_TRUE(root.read_number("ratio", ratio));
                  EXPECT_TRUE(root.read_string("name", name));
                  EXPECT_TRUE(root.read_duration("wait", wait, {seconds{0}, seconds{9}}));
                  EXPECT_TRUE(root.read_bytes("size", size));
                });
  EXPECT_EQ(errors, "");
  EXPECT_TRUE(flag);
  EXPECT_EQ(count, -3);
  EXPECT_EQ(ratio, 0.25);
  EXPECT_EQ(name, "box:cuda:0");
  EXPECT_EQ(wait, milliseconds{1500});
  EXPECT_EQ(size, 8u << 20);
}

TEST(Yaml, LeavesDefaultsAloneForAbsentKeysAndMaps) {
  std::int64_t count = 7;
  const std::string errors = errors_of("", [&](YamlMap root) {
    EXPECT_FALSE(root.read_integer("count", count));
    EXPECT_FALSE(root.map("deep").map("deeper").read_integer("count", count));
  });
  EXPECT_EQ(errors, "");
  EXPECT_EQ(count, 7);
}

TEST(Yaml, ReadsListsAndFreeMapsInOrder) {
  YamlFile file = YamlFile::parse("list: [1, 2]\nmap: {b: 1, a: 2}\nempty:\n", "f.yaml");
  YamlMap root = file.root();
  std::vector<std::int64_t> list;
  for (const YamlValue& value : root.find("list")->list()) list.push_back(*value.integer());
  std::vector<std::string> keys;
  for (const auto& [key, value] : root.find("map")->entries()) keys.push_back(key);
  EXPECT_THAT(list, testing::ElementsAre(1, 2));
  EXPECT_THAT(keys, testing::ElementsAre("b", "a"));
  EXPECT_TRUE(root.find("empty")->entries().empty());
  EXPECT_TRUE(root.find("empty")->list().empty());
  EXPECT_TRUE(file.finish().ok());
}

TEST(Yaml, TakesAnyTextInQuotesAsAString) {
  for (const char* text : {"'yes'", "\"0123\"", "'1.0'", "'~'", "''"}) {
    std::string read = "unread";
    EXPECT_EQ(
        errors_of(std::string("k: ") + text, [&](YamlMap root) { root.read_string("k", read); }),
        "");
    EXPECT_NE(read, "unread") << text;
  }
}

// --------------------------------------------------------------------------------- wrong values

TEST(YamlErrors, SayFileLineColumnKeyAndBothSides) {
  std::int64_t rows = 0;
  EXPECT_EQ(errors_of("limits:\n  max_rows: many\n",
                      [&](YamlMap root) {
                        root.map("limits").read_integer("max_rows", rows, {1, 1024});
                      }),
            "f.yaml:2:13: limits.max_rows: expected an integer from 1 to 1024, found many");
}

TEST(YamlErrors, SayTheRangeThatAValueLeft) {
  const auto integer = [](YamlRange<std::int64_t> range) {
    return [range](const YamlValue& value) { return value.integer(range); };
  };
  EXPECT_EQ(value_error("0", integer({1, 8})),
            "f.yaml:1:4: k: expected an integer from 1 to 8, found 0");
  EXPECT_EQ(value_error("0", integer({.min = 1})),
            "f.yaml:1:4: k: expected an integer of 1 or more, found 0");
  EXPECT_EQ(value_error("9", integer({.max = 8})),
            "f.yaml:1:4: k: expected an integer up to 8, found 9");
  EXPECT_EQ(value_error("2.5",
                        [](const YamlValue& value) {
                          return value.number({0, 1.5});
                        }),
            "f.yaml:1:4: k: expected a number from 0 to 1.5, found 2.5");
}

TEST(YamlErrors, RefuseWhatIsNoDecimalInteger) {
  for (const char* text : {"1.0", "0x10", "0o17", "017", "1_000", "+1", "1e3", "'1'", "true", "[1]",
                           "{a: 1}", "", "~", "99999999999999999999"}) {
    EXPECT_THAT(value_error(text, [](const YamlValue& value) { return value.integer(); }),
                HasSubstr("expected an integer"))
        << text;
  }
  EXPECT_EQ(value_error("017", [](const YamlValue& value) { return value.integer(); }),
            "f.yaml:1:4: k: expected an integer without leading zeros, found 017");
  EXPECT_EQ(value_error("'1'", [](const YamlValue& value) { return value.integer(); }),
            "f.yaml:1:4: k: expected an integer, found the string \"1\"");
}

TEST(YamlErrors, RefuseNumbersThatAreNotFinite) {
  for (const char* text : {".inf", ".nan", "inf", "nan", "1e999", "0x1p3", "01.5"}) {
    EXPECT_THAT(value_error(text, [](const YamlValue& value) { return value.number(); }),
                HasSubstr("expected a number"))
        << text;
  }
}

TEST(YamlErrors, RefuseBooleansByOtherNames) {
  EXPECT_EQ(value_error("yes", [](const YamlValue& value) { return value.boolean(); }),
            "f.yaml:1:4: k: expected true or false, found yes; write true");
  EXPECT_EQ(value_error("Off", [](const YamlValue& value) { return value.boolean(); }),
            "f.yaml:1:4: k: expected true or false, found Off; write false");
  for (const char* text : {"True", "'true'", "1", "maybe"}) {
    EXPECT_THAT(value_error(text, [](const YamlValue& value) { return value.boolean(); }),
                HasSubstr("expected true or false"))
        << text;
  }
}

TEST(YamlErrors, RefuseStringsThatReadAsAnotherType) {
  for (const char* text :
       {"yes", "ON", "n", "false", "0123", "1.0", "1e3", "0x1F", ".nan", "1_000"}) {
    EXPECT_EQ(value_error(text, [](const YamlValue& value) { return value.string(); }),
              std::string("f.yaml:1:4: k: expected a string, found ") + text +
                  ", which YAML reads as another type; put it in quotes");
  }
  EXPECT_EQ(value_error("~", [](const YamlValue& value) { return value.string(); }),
            "f.yaml:1:1: k: expected a string, found nothing");
}

TEST(YamlErrors, AskForUnits) {
  const auto duration = [](const YamlValue& value) {
    return value.duration({milliseconds{1}, seconds{60}});
  };
  EXPECT_EQ(value_error("500", duration),
            "f.yaml:1:4: k: expected a duration from 1ms to 1m, found 500; give it a unit, as in "
            "500ms, 1.5s or 10m");
  EXPECT_EQ(value_error("2h", duration),
            "f.yaml:1:4: k: expected a duration from 1ms to 1m, found 2h");
  const auto bytes = [](const YamlValue& value) { return value.bytes({0, 1u << 20}); };
  EXPECT_EQ(
      value_error("500", bytes),
      "f.yaml:1:4: k: expected a number of bytes up to 1MiB, found 500; give it a unit, as in "
      "512B, 64KiB or 8MiB");
  EXPECT_EQ(value_error("2MiB", bytes),
            "f.yaml:1:4: k: expected a number of bytes up to 1MiB, found 2MiB");
}

TEST(YamlErrors, SuggestTheNearestChoice) {
  const std::vector<std::string_view> names{"text", "json"};
  EXPECT_EQ(value_error("jsn", [&](const YamlValue& value) { return value.choice(names); }),
            "f.yaml:1:4: k: expected text or json, found jsn; did you mean 'json'?");
}

TEST(YamlErrors, SuggestTheNearestKey) {
  std::int64_t rows = 0;
  const std::string errors = errors_of("limits:\n  max_row: 3\n", [&](YamlMap root) {
    root.map("limits").read_integer("max_rows", rows);
  });
  EXPECT_THAT(errors, StartsWith("f.yaml:2:3: there is no key 'max_row' in limits"));
  EXPECT_THAT(errors, HasSubstr("did you mean 'max_rows'?"));
}

TEST(YamlErrors, RefuseAListWhereAMapBelongs) {
  EXPECT_EQ(errors_of("limits: [1]\n", [](YamlMap root) { (void)root.map("limits"); }),
            "f.yaml:1:9: limits: expected a map, found a list");
  EXPECT_EQ(errors_of("- 1\n", [](YamlMap) {}), "f.yaml:1:1: expected a map, found a list");
}

TEST(YamlErrors, AreToldTogetherInTheOrderOfTheFile) {
  std::int64_t number = 0;
  EXPECT_EQ(errors_of("a: x\nb: y\nb: 1\n",
                      [&](YamlMap root) {
                        root.read_integer("b", number);
                        root.read_integer("a", number);
                      }),
            "f.yaml:1:4: a: expected an integer, found x\n"
            "f.yaml:2:4: b: expected an integer, found y\n"
            "f.yaml:3:1: the key 'b' is there twice; first in line 2");
}

TEST(YamlErrors, AreBounded) {
  std::string text;
  for (int i = 0; i < 30; ++i) text += "k" + std::to_string(i) + ": 1\n";
  const std::string errors = errors_of(text, [](YamlMap) {});
  EXPECT_EQ(std::count(errors.begin(), errors.end(), '\n'), 20);
  EXPECT_THAT(errors, HasSubstr("f.yaml: and 10 more errors"));
}

// ---------------------------------------------------------------------------------- wrong files

TEST(YamlFiles, HaveOneDocument) {
  EXPECT_THAT(errors_of("a: 1\n---\nb: 2\n"),
              HasSubstr("a second document begins here; expected one document"));
  EXPECT_EQ(errors_of("---\na: 1\n"), "");
  EXPECT_EQ(errors_of("a: 1\n...\n"), "");
}

TEST(YamlFiles, HaveNoAnchorsAliasesOrTags) {
  EXPECT_THAT(errors_of("a: &x 1\n"), HasSubstr("anchors"));
  EXPECT_THAT(errors_of("a: &x 1\nb: *x\n"), HasSubstr("anchors"));
  EXPECT_THAT(errors_of("a: !!str 1\n"), HasSubstr("tags"));
  EXPECT_THAT(errors_of("a: !mine {}\n"), HasSubstr("tags"));
}

TEST(YamlFiles, HavePlainKeys) {
  EXPECT_THAT(errors_of("? [1]\n: 2\n"), HasSubstr("expected a key, found a list or a map"));
  EXPECT_THAT(errors_of("~: 2\n"), HasSubstr("expected a key, found nothing"));
}

TEST(YamlFiles, AreSmallShallowAndText) {
  EXPECT_THAT(errors_of(std::string(YamlFile::kMaxBytes + 1, ' ')), HasSubstr("larger than 1MiB"));
  EXPECT_THAT(errors_of(std::string(40, '[') + std::string(40, ']')),
              HasSubstr("more than 32 deep"));
  EXPECT_EQ(errors_of("a: 1\nb: \xFF\n"), "f.yaml:2:4: this is not valid UTF-8");
  EXPECT_EQ(errors_of(std::string_view("a: 1\nb\0: 1\n", 10)),
            "f.yaml:2:2: control characters are not allowed");
  EXPECT_THAT(errors_of("a: [1\n"), HasSubstr("this is not YAML"));
  EXPECT_THAT(errors_of("a: b: c\n"), StartsWith("f.yaml:1:"));
}

TEST(YamlFiles, ThatCannotBeReadSayWhy) {
  EXPECT_EQ(YamlFile::load("/nowhere/f.yaml").finish().error().message,
            "/nowhere/f.yaml: cannot be read: No such file or directory");
  EXPECT_THAT(YamlFile::load("/").finish().error().message,
              HasSubstr("cannot be read: Is a directory"));
}

TEST(YamlFiles, AreReadWhole) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("yaml_test." + std::to_string(::getpid()));
  std::ofstream(path) << "a: 1\nb: x\n";
  YamlFile file = YamlFile::load(path);
  std::int64_t number = 0;
  file.root().read_integer("a", number);
  file.root().read_integer("b", number);
  EXPECT_EQ(file.finish().error().message, path.string() + ":2:4: b: expected an integer, found x");
  EXPECT_EQ(number, 1);
  std::filesystem::remove(path);
}

TEST(YamlFiles, MutatedNeverCrash) {
  const std::string good =
      "limits:\n  max_rows: 8  # rows\n  sizes: [1, 2.5, 'x']\nname: \"box:0\"\nweights: {a: 1}\n";
  constexpr std::string_view kBytes = "\n :-,[]{}'\"#&*!|>%@`~?.0aA\t\\";
  std::mt19937 random(7);
  for (int round = 0; round < 5000; ++round) {
    std::string text = good;
    for (int edits = 1 + static_cast<int>(random() % 4); edits > 0; --edits) {
      text[random() % text.size()] = kBytes[random() % kBytes.size()];
    }
    YamlFile file = YamlFile::parse(text, "f.yaml");
    std::int64_t number = 0;
    YamlMap root = file.root();
    root.map("limits").read_integer("max_rows", number);
    if (const auto weights = root.find("weights")) (void)weights->entries();
    (void)file.finish();
  }
}

TEST(Yaml, OptionsHaveNoPlaces) {
  YamlFile option = YamlFile::parse_option("abc", "--set a.b");
  (void)option.value().integer();
  EXPECT_EQ(option.finish().error().message, "--set a.b: expected an integer, found abc");
}

TEST(Yaml, QuotesStringsSoThatTheyReadBack) {
  for (const std::string text :
       {"",      "plain",      "/run/pa", "yes",  "0123", "1.0", "null", "~",
        "-",     "box:cuda:0", "a b",     "a: b", "#x",   "\"",  "\\",   "line\nbreak",
        "tab\t", "caf\u00e9",  "{}",      "*a",   "&a",   "!a",  "@",    "`"}) {
    std::string read;
    EXPECT_EQ(
        errors_of("k: " + yaml_quote(text), [&](YamlMap root) { root.read_string("k", read); }), "")
        << yaml_quote(text);
    EXPECT_EQ(read, text);
  }
}

}  // namespace
}  // namespace pa
