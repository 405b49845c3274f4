// docs/request.schema.json and the parser say the same: by fields here, by values over the corpus in
// tests/fixtures/requests (there the schema's part is tests/e2e/test_request_schema.py).

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "shared/io/request_json.h"
#include "tests/support/paths.h"

namespace pa {
namespace {

using Json = nlohmann::json;

std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(file.good()) << path;
  return text.str();
}

std::vector<std::filesystem::path> corpus(const std::string& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(test::fixture_path("requests/" + folder))) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  EXPECT_FALSE(files.empty());
  return files;
}

/// "schedule.steps", "positive.strength": every field the schema has, lists looked through.
void collect_schema(const Json& root, const Json& node, const std::string& prefix,
                    std::set<std::string>& out) {
  if (node.contains("$ref")) {
    const std::string name = node["$ref"].get<std::string>().substr(std::string("#/$defs/").size());
    collect_schema(root, root["$defs"][name], prefix, out);
  }
  if (node.contains("items")) collect_schema(root, node["items"], prefix, out);
  if (!node.contains("properties")) return;
  for (const auto& [name, child] : node["properties"].items()) {
    EXPECT_TRUE(child.contains("description")) << prefix + name << " is not described";
    out.insert(prefix + name);
    collect_schema(root, child, prefix + name + ".", out);
  }
}

/// The same of a document; options of samplers have names of their own.
void collect_document(const Json& node, const std::string& prefix, std::set<std::string>& out) {
  if (node.is_array()) {
    for (const Json& element : node) collect_document(element, prefix, out);
  }
  if (!node.is_object() || prefix == "sampler.options.") return;
  for (const auto& [name, child] : node.items()) {
    out.insert(prefix + name);
    collect_document(child, prefix + name + ".", out);
  }
}

std::set<std::string> schema_fields() {
  const Json schema = Json::parse(contents(test::source_path("docs/request.schema.json")));
  std::set<std::string> fields;
  collect_schema(schema, schema, "", fields);
  return fields;
}

TEST(RequestSchema, TheParserKnowsEveryFieldOfTheSchema) {
  for (const std::string& field : schema_fields()) {
    // An object with an unknown field is wrong for every field, and a field that the parser does not
    // know is named first.
    std::string json = R"({"unheard of": 0})";
    std::vector<std::string> path;
    std::istringstream names(field);
    for (std::string name; std::getline(names, name, '.');) path.push_back(name);
    for (auto name = path.rbegin(); name != path.rend(); ++name) {
      json = "{\"" + *name + "\": " + json + "}";
      const bool list = (*name == "positive" || *name == "negative" || *name == "loras");
      if (list && path.size() > 1) {
        const std::size_t colon = json.find(": ") + 2;
        json = json.substr(0, colon) + "[" + json.substr(colon, json.size() - colon - 1) + "]}";
      }
    }
    const auto request = parse_request(json);
    ASSERT_FALSE(request.ok()) << json;
    const bool free_form = field == "sampler.options";
    if (!free_form) {
      EXPECT_EQ(request.error().message.find("unknown field '" + path.back()), std::string::npos)
          << json << ": " << request.error().message;
    }
  }
}

TEST(RequestSchema, TheSchemaKnowsEveryFieldTheParserDoes) {
  // to_json() writes every field that struct Request has, so what it writes for the good requests is
  // what the parser knows; and the corpus leaves no field of the schema out.
  std::set<std::string> written;
  for (const auto& path : corpus("good")) {
    const auto request = parse_request(contents(path));
    ASSERT_TRUE(request.ok()) << path << ": " << request.error().message;
    collect_document(Json::parse(to_json(*request)), "", written);
  }
  EXPECT_EQ(written, schema_fields());
}

TEST(RequestSchema, GoodRequestsParseAndComeBack) {
  for (const auto& path : corpus("good")) {
    const auto request = parse_request(contents(path));
    ASSERT_TRUE(request.ok()) << path << ": " << request.error().message;
    const std::string json = to_json(*request);
    const auto again = parse_request(json);
    ASSERT_TRUE(again.ok()) << json << ": " << again.error().message;
    EXPECT_EQ(to_json(*again), json);
  }
}

TEST(RequestSchema, BadRequestsAreRefusedWithTheirField) {
  for (const std::string folder : {"bad", "beyond_schema"}) {
    for (const auto& path : corpus(folder)) {
      const auto request = parse_request(contents(path));
      ASSERT_FALSE(request.ok()) << path;
      EXPECT_EQ(request.error().code, Code::kInvalid) << path;
      EXPECT_FALSE(request.error().message.empty()) << path;
    }
  }
}

}  // namespace
}  // namespace pa
