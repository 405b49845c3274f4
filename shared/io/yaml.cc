#include "shared/io/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "shared/core/nearest.h"
#include "shared/core/units.h"
#include "shared/core/utf8.h"

namespace pa {
namespace {

constexpr std::size_t kMaxDepth = 32;
constexpr std::size_t kMaxKeys = 4096;  // Of one map.

}  // namespace

struct YamlNode {
  enum class Kind : std::uint8_t { kNull, kScalar, kList, kMap };
  struct Key {
    std::string name;
    int line = 0;
    int column = 0;
  };

  Kind kind = Kind::kNull;
  int line = 0;  // From 0, as yaml-cpp counts.
  int column = 0;
  std::string path;  // "limits.max_rows", "files[0]"; empty for the whole document.
  std::string scalar;
  bool plain = false;  // Not in quotes.
  std::vector<Key> keys;
  std::vector<std::unique_ptr<YamlNode>> values;  // Of a map, as `keys`; or elements of a list.
  bool closed = false;                            // Only keys that were asked for are allowed.
  std::set<std::string, std::less<>> asked;
};

struct YamlErrors {
  struct Entry {
    int line;
    int column;
    std::string message;
  };

  [[nodiscard]] std::string place(int line, int column) const {
    if (!has_places) return name;
    return name + ":" + std::to_string(line + 1) + ":" + std::to_string(column + 1);
  }
  void add(int line, int column, std::string message) {
    if (entries.size() < YamlFile::kMaxErrors) {
      entries.push_back({line, column, std::move(message)});
    } else {
      ++left_out;
    }
  }

  std::string name;
  bool has_places = true;
  std::vector<Entry> entries;
  std::size_t left_out = 0;
};

namespace {

/// Ends the parsing at a construct that is not allowed. Caught in this file.
struct Refused {
  YAML::Mark mark;
  std::string message;
};

/// Makes the tree of one document from the events of yaml-cpp.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(YamlErrors& errors) : errors_(errors) {}

  std::unique_ptr<YamlNode> take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& /*mark*/) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (key_expected()) throw Refused{mark, "expected a key, found nothing"};
    add(mark, YamlNode::Kind::kNull, anchor, "?");
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    throw Refused{mark, "aliases (*name) are not allowed"};
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    if (key_expected()) {
      take_key(mark, value);
      return;
    }
    YamlNode& node = add(mark, YamlNode::Kind::kScalar, anchor, tag);
    node.scalar = value;
    node.plain = tag == "?";
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open(mark, YamlNode::Kind::kList, anchor, tag);
  }
  void OnSequenceEnd() override { stack_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open(mark, YamlNode::Kind::kMap, anchor, tag);
  }
  void OnMapEnd() override { stack_.pop_back(); }

 private:
  [[nodiscard]] bool key_expected() const {
    return !stack_.empty() && stack_.back()->kind == YamlNode::Kind::kMap &&
           stack_.back()->keys.size() == stack_.back()->values.size();
  }

  void take_key(const YAML::Mark& mark, const std::string& name) {
    YamlNode& map = *stack_.back();
    for (const YamlNode::Key& key : map.keys) {
      if (key.name != name) continue;
      errors_.add(
          mark.line, mark.column,
          "the key '" + name + "' is there twice; first in line " + std::to_string(key.line + 1));
      break;
    }
    if (map.keys.size() == kMaxKeys) {
      throw Refused{mark, "a map has more than " + std::to_string(kMaxKeys) + " keys"};
    }
    map.keys.push_back({name, mark.line, mark.column});
  }

  void open(const YAML::Mark& mark, YamlNode::Kind kind, YAML::anchor_t anchor,
            const std::string& tag) {
    if (key_expected()) throw Refused{mark, "expected a key, found a list or a map"};
    if (stack_.size() >= kMaxDepth) {
      throw Refused{mark, "lists and maps are more than " + std::to_string(kMaxDepth) + " deep"};
    }
    stack_.push_back(&add(mark, kind, anchor, tag));
  }

  YamlNode& add(const YAML::Mark& mark, YamlNode::Kind kind, YAML::anchor_t anchor,
                const std::string& tag) {
    if (anchor != YAML::NullAnchor) throw Refused{mark, "anchors (&name) are not allowed"};
    if (!tag.empty() && tag != "?" && tag != "!") {
      throw Refused{mark, "tags (!name) are not allowed"};
    }
    auto node = std::make_unique<YamlNode>();
    node->kind = kind;
    node->line = mark.line;
    node->column = mark.column;
    if (stack_.empty()) {
      root_ = std::move(node);
      return *root_;
    }
    YamlNode& parent = *stack_.back();
    if (parent.kind == YamlNode::Kind::kMap) {
      const YamlNode::Key& key = parent.keys.back();
      node->path = parent.path.empty() ? key.name : parent.path + "." + key.name;
      if (kind ==
          YamlNode::Kind::kNull) {  // yaml-cpp puts an absent value where the next token is.
        node->line = key.line;
        node->column = key.column;
      }
    } else {
      node->path = parent.path + "[" + std::to_string(parent.values.size()) + "]";
    }
    parent.values.push_back(std::move(node));
    return *parent.values.back();
  }

  YamlErrors& errors_;
  std::unique_ptr<YamlNode> root_;
  std::vector<YamlNode*> stack_;
};

/// Only notes whether there was a second document, and where.
class SecondDocument : public YAML::EventHandler {
 public:
  [[nodiscard]] const std::optional<YAML::Mark>& start() const { return start_; }

  void OnDocumentStart(const YAML::Mark& mark) override { start_ = mark; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

 private:
  std::optional<YAML::Mark> start_;
};

/// Notes bytes that no configuration file has, which yaml-cpp would pass or misread.
bool check_characters(std::string_view text, YamlErrors& errors) {
  std::size_t bad = find_invalid_utf8(text);
  const char* what = "this is not valid UTF-8";
  for (std::size_t i = 0; i < std::min(bad, text.size()); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte >= 0x20 && byte != 0x7F) || byte == '\t' || byte == '\n' || byte == '\r') continue;
    bad = i;
    what = "control characters are not allowed";
    break;
  }
  if (bad == std::string_view::npos) return true;
  const std::string_view before = text.substr(0, bad);
  const std::size_t line_start = before.rfind('\n') + 1;  // 0 if there is none.
  errors.add(static_cast<int>(std::count(before.begin(), before.end(), '\n')),
             static_cast<int>(bad - line_start), what);
  return false;
}

std::unique_ptr<YamlNode> parse_tree(std::string_view text, YamlErrors& errors) {
  if (text.size() > YamlFile::kMaxBytes) {
    errors.add(0, 0, "the file is larger than " + format_bytes(YamlFile::kMaxBytes));
    return nullptr;
  }
  if (!check_characters(text, errors)) return nullptr;
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    TreeBuilder builder(errors);
    parser.HandleNextDocument(builder);
    SecondDocument second;
    if (parser.HandleNextDocument(second) && second.start()) {
      errors.add(second.start()->line, second.start()->column,
                 "a second document begins here; expected one document");
    }
    return builder.take();
  } catch (const Refused& refused) {
    errors.add(refused.mark.line, refused.mark.column, refused.message);
  } catch (const YAML::Exception& exception) {
    errors.add(std::max(exception.mark.line, 0), std::max(exception.mark.column, 0),
               "this is not YAML: " + exception.msg);
  } catch (const std::exception& exception) {
    errors.add(0, 0, std::string("cannot be parsed: ") + exception.what());
  }
  return nullptr;
}

bool equals_ignoring_case(std::string_view text, std::string_view lower) {
  return std::equal(text.begin(), text.end(), lower.begin(), lower.end(), [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
  });
}

/// What some YAML reader would take for a boolean: true; nullopt for any other text.
std::optional<bool> loose_boolean(std::string_view text) {
  constexpr std::array<std::string_view, 4> kYes{"true", "yes", "on", "y"};
  constexpr std::array<std::string_view, 4> kNo{"false", "no", "off", "n"};
  for (const std::string_view word : kYes) {
    if (equals_ignoring_case(text, word)) return true;
  }
  for (const std::string_view word : kNo) {
    if (equals_ignoring_case(text, word)) return false;
  }
  return std::nullopt;
}

/// Whether some YAML reader would take `text` for a number: decimal, octal, hexadecimal, with
/// underscores, or .inf and .nan.
bool looks_like_number(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  for (const std::string_view word : {".inf", ".nan"}) {
    if (equals_ignoring_case(text, word)) return true;
  }
  for (const std::string_view prefix : {"0x", "0o", "0b"}) {
    if (!text.starts_with(prefix) || text.size() == prefix.size()) continue;
    return text.substr(prefix.size()).find_first_not_of("0123456789abcdefABCDEF_") ==
           std::string_view::npos;
  }
  std::string digits;
  for (const char c : text) {
    if (c != '_') digits += c;
  }
  if (digits.find_first_of("0123456789") == std::string::npos) return false;
  if (digits.find_first_not_of("0123456789.eE+-") != std::string::npos) return false;
  double value = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return parsed.ptr == digits.data() + digits.size();
}

/// Whether a number has digits before its first zero is followed by others: 0123.
bool has_leading_zero(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return text.size() > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9';
}

template <class T>
std::optional<T> parse_exactly(std::string_view text) {
  T value{};
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

/// " from A to B", " of A or more", " up to B" or nothing.
template <class T, class Show>
std::string show_range(const YamlRange<T>& range, const Show& show) {
  const YamlRange<T> any;
  const bool low = range.min > any.min;
  const bool high = range.max < any.max;
  if (low && high) return " from " + show(range.min) + " to " + show(range.max);
  if (low) return " of " + show(range.min) + " or more";
  if (high) return " up to " + show(range.max);
  return "";
}

template <class T>
bool contains(const YamlRange<T>& range, T value) {
  return value >= range.min && value <= range.max;
}

bool reads_as_string(const YamlNode& node) {
  return node.kind == YamlNode::Kind::kScalar &&
         (!node.plain || (!loose_boolean(node.scalar) && !looks_like_number(node.scalar)));
}

void note(YamlErrors& errors, const YamlNode& node, std::string_view message) {
  std::string text = node.path.empty() ? "" : node.path + ": ";
  errors.add(node.line, node.column, text.append(message));
}

/// What a value is, as an error message shows it.
std::string show(const YamlNode& node) {
  constexpr std::size_t kLongest = 60;
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
    case YamlNode::Kind::kScalar:
      break;
  }
  std::string text = node.scalar.substr(0, kLongest);
  std::replace(text.begin(), text.end(), '\n', ' ');
  text = to_valid_utf8(text);
  if (node.scalar.size() > kLongest) text += "...";
  return node.plain ? text : "the string \"" + text + "\"";
}

void report_unknown_keys(const YamlNode& node, YamlErrors& errors) {
  const std::vector<std::string> known(node.asked.begin(), node.asked.end());
  for (std::size_t i = 0; i < node.values.size(); ++i) {
    if (node.kind == YamlNode::Kind::kMap && node.closed &&
        !node.asked.contains(node.keys[i].name)) {
      const YamlNode::Key& key = node.keys[i];
      std::string message = "there is no key '" + key.name + "'";
      if (!node.path.empty()) message += " in " + node.path;
      errors.add(key.line, key.column, message + suggestion(key.name, known));
    } else {
      report_unknown_keys(*node.values[i], errors);
    }
  }
}

}  // namespace

// ------------------------------------------------------------------------------------- YamlValue

void YamlValue::expected(std::string_view what) const {
  reject("expected " + std::string(what) + ", found " + show(*node_));
}

void YamlValue::reject(std::string_view message) const { note(*errors_, *node_, message); }

std::string YamlValue::place() const { return errors_->place(node_->line, node_->column); }

bool YamlValue::is_null() const { return node_->kind == YamlNode::Kind::kNull; }
bool YamlValue::is_map() const { return node_->kind == YamlNode::Kind::kMap; }
bool YamlValue::is_list() const { return node_->kind == YamlNode::Kind::kList; }
bool YamlValue::is_string() const { return reads_as_string(*node_); }

std::optional<bool> YamlValue::boolean() const {
  if (node_->plain && node_->scalar == "true") return true;
  if (node_->plain && node_->scalar == "false") return false;
  const std::optional<bool> loose = node_->plain ? loose_boolean(node_->scalar) : std::nullopt;
  if (loose) {
    reject("expected true or false, found " + show(*node_) + "; write " +
           (*loose ? "true" : "false"));
  } else {
    expected("true or false");
  }
  return std::nullopt;
}

std::optional<std::int64_t> YamlValue::integer(YamlRange<std::int64_t> range) const {
  const bool zero_first = node_->plain && has_leading_zero(node_->scalar);
  const auto value =
      node_->plain && !zero_first ? parse_exactly<std::int64_t>(node_->scalar) : std::nullopt;
  if (value && contains(range, *value)) return value;
  expected("an integer" +
           show_range(range, [](std::int64_t bound) { return std::to_string(bound); }) +
           (zero_first ? " without leading zeros" : ""));
  return std::nullopt;
}

std::optional<double> YamlValue::number(YamlRange<double> range) const {
  const bool zero_first = node_->plain && has_leading_zero(node_->scalar);
  const auto value =
      node_->plain && !zero_first ? parse_exactly<double>(node_->scalar) : std::nullopt;
  if (value && std::isfinite(*value) && contains(range, *value)) return value;
  expected("a number" + show_range(range, format_number) +
           (zero_first ? " without leading zeros" : ""));
  return std::nullopt;
}

std::optional<std::string> YamlValue::string() const {
  if (is_string()) return node_->scalar;
  if (node_->kind == YamlNode::Kind::kScalar) {
    reject("expected a string, found " + show(*node_) + ", which YAML reads as another type; " +
           "put it in quotes");
  } else {
    expected("a string");
  }
  return std::nullopt;
}

std::optional<std::size_t> YamlValue::choice(std::span<const std::string_view> names) const {
  std::string listed;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (node_->kind == YamlNode::Kind::kScalar && node_->scalar == names[i]) return i;
    if (i > 0) listed += i + 1 == names.size() ? " or " : ", ";
    listed += names[i];
  }
  std::string meant;
  if (node_->kind == YamlNode::Kind::kScalar) {
    const std::vector<std::string> candidates(names.begin(), names.end());
    const std::string_view near = nearest(node_->scalar, candidates);
    if (!near.empty()) meant = "; did you mean '" + std::string(near) + "'?";
  }
  reject("expected " + listed + ", found " + show(*node_) + meant);
  return std::nullopt;
}

std::optional<Duration> YamlValue::duration(YamlRange<Duration> range) const {
  const auto value =
      node_->kind == YamlNode::Kind::kScalar ? parse_duration(node_->scalar) : std::nullopt;
  if (value && contains(range, *value)) return value;
  const bool no_unit = !value && node_->plain && looks_like_number(node_->scalar);
  reject("expected a duration" + show_range(range, format_duration) + ", found " + show(*node_) +
         (no_unit ? "; give it a unit, as in 500ms, 1.5s or 10m" : ""));
  return std::nullopt;
}

std::optional<std::uint64_t> YamlValue::bytes(YamlRange<std::uint64_t> range) const {
  const auto value =
      node_->kind == YamlNode::Kind::kScalar ? parse_bytes(node_->scalar) : std::nullopt;
  if (value && contains(range, *value)) return value;
  const bool no_unit = !value && node_->plain && looks_like_number(node_->scalar);
  reject("expected a number of bytes" + show_range(range, format_bytes) + ", found " +
         show(*node_) + (no_unit ? "; give it a unit, as in 512B, 64KiB or 8MiB" : ""));
  return std::nullopt;
}

std::vector<YamlValue> YamlValue::list() const {
  std::vector<YamlValue> elements;
  if (!is_list() && !is_null()) expected("a list");
  if (!is_list()) return elements;
  for (const auto& value : node_->values) elements.push_back(YamlValue(value.get(), errors_));
  return elements;
}

std::optional<YamlMap> YamlValue::map() const {
  if (is_map() || is_null()) {
    node_->closed = true;
    return YamlMap(node_, errors_);
  }
  expected("a map");
  return std::nullopt;
}

std::vector<std::pair<std::string, YamlValue>> YamlValue::entries() const {
  std::vector<std::pair<std::string, YamlValue>> entries;
  if (!is_map() && !is_null()) expected("a map");
  if (!is_map()) return entries;
  for (std::size_t i = 0; i < node_->values.size(); ++i) {
    entries.emplace_back(node_->keys[i].name, YamlValue(node_->values[i].get(), errors_));
  }
  return entries;
}

// --------------------------------------------------------------------------------------- YamlMap

std::optional<YamlValue> YamlMap::find(std::string_view key) {
  if (node_ == nullptr) return std::nullopt;
  node_->asked.emplace(key);
  for (std::size_t i = 0; i < node_->keys.size(); ++i) {
    if (node_->keys[i].name == key) return YamlValue(node_->values[i].get(), errors_);
  }
  return std::nullopt;
}

YamlMap YamlMap::map(std::string_view key) {
  const std::optional<YamlValue> value = find(key);
  if (value) {
    if (const std::optional<YamlMap> map = value->map()) return *map;
  }
  return {nullptr, errors_};
}

bool YamlMap::read_boolean(std::string_view key, bool& out) {
  const std::optional<YamlValue> found = find(key);
  const std::optional<bool> value = found ? found->boolean() : std::nullopt;
  if (value) out = *value;
  return value.has_value();
}

bool YamlMap::read_integer(std::string_view key, std::int64_t& out, YamlRange<std::int64_t> range) {
  const std::optional<YamlValue> found = find(key);
  const std::optional<std::int64_t> value = found ? found->integer(range) : std::nullopt;
  if (value) out = *value;
  return value.has_value();
}

bool YamlMap::read_number(std::string_view key, double& out, YamlRange<double> range) {
  const std::optional<YamlValue> found = find(key);
  const std::optional<double> value = found ? found->number(range) : std::nullopt;
  if (value) out = *value;
  return value.has_value();
}

bool YamlMap::read_string(std::string_view key, std::string& out) {
  const std::optional<YamlValue> found = find(key);
  const std::optional<std::string> value = found ? found->string() : std::nullopt;
  if (value) out = *value;
  return value.has_value();
}

bool YamlMap::read_duration(std::string_view key, Duration& out, YamlRange<Duration> range) {
  const std::optional<YamlValue> found = find(key);
  const std::optional<Duration> value = found ? found->duration(range) : std::nullopt;
  if (value) out = *value;
  return value.has_value();
}

bool YamlMap::read_bytes(std::string_view key, std::uint64_t& out, YamlRange<std::uint64_t> range) {
  const std::optional<YamlValue> found = find(key);
  const std::optional<std::uint64_t> value = found ? found->bytes(range) : std::nullopt;
  if (value) out = *value;
  return value.has_value();
}

void YamlMap::reject(std::string_view message) const {
  if (node_ == nullptr) {
    errors_->add(0, 0, std::string(message));
  } else {
    note(*errors_, *node_, message);
  }
}

// -------------------------------------------------------------------------------------- YamlFile

YamlFile::YamlFile(std::string name, bool has_places) : errors_(std::make_unique<YamlErrors>()) {
  errors_->name = std::move(name);
  errors_->has_places = has_places;
}

YamlFile::YamlFile(YamlFile&&) noexcept = default;
YamlFile& YamlFile::operator=(YamlFile&&) noexcept = default;
YamlFile::~YamlFile() = default;

YamlFile YamlFile::load(const std::string& path) {
  YamlFile file(path, true);
  std::string text(kMaxBytes + 1, '\0');
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (stream) stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!stream.is_open() || stream.bad()) {
    const int error = errno;
    file.errors_->has_places = false;
    file.errors_->add(0, 0, std::string("cannot be read: ") + std::strerror(error));
    return file;
  }
  text.resize(static_cast<std::size_t>(stream.gcount()));
  file.root_ = parse_tree(text, *file.errors_);
  return file;
}

YamlFile YamlFile::parse(std::string_view text, std::string name) {
  YamlFile file(std::move(name), true);
  file.root_ = parse_tree(text, *file.errors_);
  return file;
}

YamlFile YamlFile::parse_option(std::string_view text, std::string name) {
  YamlFile file(std::move(name), false);
  file.root_ = parse_tree(text, *file.errors_);
  return file;
}

YamlMap YamlFile::root() {
  const std::optional<YamlMap> map = value().map();
  return map ? *map : YamlMap(nullptr, errors_.get());
}

YamlValue YamlFile::value() {
  if (!root_) root_ = std::make_unique<YamlNode>();
  return {root_.get(), errors_.get()};
}

Status YamlFile::finish() {
  if (root_) report_unknown_keys(*root_, *errors_);
  if (errors_->entries.empty()) return {};
  std::stable_sort(errors_->entries.begin(), errors_->entries.end(),
                   [](const YamlErrors::Entry& a, const YamlErrors::Entry& b) {
                     return std::pair(a.line, a.column) < std::pair(b.line, b.column);
                   });
  std::string text;
  for (const YamlErrors::Entry& entry : errors_->entries) {
    if (!text.empty()) text += "\n";
    text += errors_->place(entry.line, entry.column) + ": " + entry.message;
  }
  if (errors_->left_out > 0) {
    text += "\n" + errors_->name + ": and " + std::to_string(errors_->left_out) + " more errors";
  }
  return invalid(text);
}

std::string yaml_quote(std::string_view text) {
  constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.-+";
  const bool safe = !text.empty() && text.find_first_not_of(kLetters) == std::string_view::npos &&
                    !text.starts_with('-') && !loose_boolean(text) && !looks_like_number(text) &&
                    !equals_ignoring_case(text, "null");
  if (safe) return std::string(text);
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : to_valid_utf8(text)) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      quoted += "\\x";
      quoted += kHex[static_cast<unsigned char>(c) >> 4];
      quoted += kHex[static_cast<unsigned char>(c) & 15];
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

}  // namespace pa
