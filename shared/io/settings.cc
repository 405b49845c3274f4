#include "shared/io/settings.h"

#include <sstream>

#include "shared/core/nearest.h"
#include "shared/core/units.h"

namespace pa {
namespace {

constexpr std::size_t kColumns = 100;

/// "1 to 4096", "1 or more", "at most 5", or nothing.
template <class T, class Show>
std::string show_range(const YamlRange<T>& range, const Show& show_bound) {
  const YamlRange<T> any;
  const bool low = range.min > any.min;
  const bool high = range.max < any.max;
  if (low && high) return show_bound(range.min) + " to " + show_bound(range.max);
  if (low) return show_bound(range.min) + " or more";
  if (high) return "at most " + show_bound(range.max);
  return "";
}

std::string join(const std::vector<std::string_view>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

/// Appends `text` as comment lines of at most kColumns columns.
void append_comment(std::string& out, std::string_view indent, std::string_view text) {
  std::string line = std::string(indent) + "#";
  std::istringstream words{std::string(text)};
  for (std::string word; words >> word;) {
    if (line.size() + 1 + word.size() > kColumns) {
      out += line + "\n";
      line = std::string(indent) + "#";
    }
    line += " " + word;
  }
  out += line + "\n";
}

}  // namespace

void Settings::section(std::string name, std::string reason) {
  sections_.emplace(std::move(name), std::move(reason));
}

void Settings::boolean(std::string path, bool& value, std::string reason) {
  settings_.push_back({.path = std::move(path),
                       .reason = std::move(reason),
                       .allowed = "true or false",
                       .read =
                           [&value](const YamlValue& yaml) {
                             if (const auto read = yaml.boolean()) value = *read;
                           },
                       .write = [&value] { return std::string(value ? "true" : "false"); }});
}

void Settings::integer(std::string path, std::int64_t& value, YamlRange<std::int64_t> range,
                       std::string reason) {
  const auto show_integer = [](std::int64_t bound) { return std::to_string(bound); };
  settings_.push_back({.path = std::move(path),
                       .reason = std::move(reason),
                       .allowed = show_range(range, show_integer),
                       .read =
                           [&value, range](const YamlValue& yaml) {
                             if (const auto read = yaml.integer(range)) value = *read;
                           },
                       .write = [&value] { return std::to_string(value); }});
}

void Settings::number(std::string path, double& value, YamlRange<double> range,
                      std::string reason) {
  settings_.push_back({.path = std::move(path),
                       .reason = std::move(reason),
                       .allowed = show_range(range, format_number),
                       .read =
                           [&value, range](const YamlValue& yaml) {
                             if (const auto read = yaml.number(range)) value = *read;
                           },
                       .write = [&value] { return format_number(value); }});
}

void Settings::string(std::string path, std::string& value, std::string reason) {
  text(
      std::move(path), [&value] { return value; },
      [&value](const std::string& read) {
        value = read;
        return Status();
      },
      std::move(reason));
}

void Settings::duration(std::string path, Duration& value, YamlRange<Duration> range,
                        std::string reason) {
  settings_.push_back({.path = std::move(path),
                       .reason = std::move(reason),
                       .allowed = show_range(range, format_duration),
                       .read =
                           [&value, range](const YamlValue& yaml) {
                             if (const auto read = yaml.duration(range)) value = *read;
                           },
                       .write = [&value] { return format_duration(value); }});
}

void Settings::bytes(std::string path, std::uint64_t& value, YamlRange<std::uint64_t> range,
                     std::string reason) {
  settings_.push_back({.path = std::move(path),
                       .reason = std::move(reason),
                       .allowed = show_range(range, format_bytes),
                       .read =
                           [&value, range](const YamlValue& yaml) {
                             if (const auto read = yaml.bytes(range)) value = *read;
                           },
                       .write = [&value] { return format_bytes(value); }});
}

void Settings::choice(std::string path, const std::vector<std::string_view>& names,
                      std::function<std::size_t()> get, std::function<void(std::size_t)> set,
                      std::string reason) {
  settings_.push_back(
      {.path = std::move(path),
       .reason = std::move(reason),
       .allowed = join(names),
       .read =
           [names, set = std::move(set)](const YamlValue& yaml) {
             if (const auto read = yaml.choice(names)) set(*read);
           },
       .write = [names, get = std::move(get)] { return std::string(names[get()]); }});
}

void Settings::numbers(std::string path, std::map<std::string, double>& value,
                       YamlRange<double> range, std::string reason) {
  const auto read_entry = [&value, range](const std::string& name, const YamlValue& yaml) {
    if (const auto read = yaml.number(range)) value[name] = *read;
  };
  settings_.push_back({.path = std::move(path),
                       .reason = std::move(reason),
                       .allowed = show_range(range, format_number),
                       .read =
                           [&value, read_entry](const YamlValue& yaml) {
                             value.clear();
                             for (const auto& [name, entry] : yaml.entries()) {
                               read_entry(name, entry);
                             }
                           },
                       .write =
                           [&value] {
                             std::string text = "{";
                             for (const auto& [name, number] : value) {
                               if (text.size() > 1) text += ", ";
                               text += yaml_quote(name) + ": " + format_number(number);
                             }
                             return text + "}";
                           },
                       .read_entry = read_entry});
}

void Settings::text(std::string path, std::function<std::string()> format,
                    std::function<Status(const std::string&)> parse, std::string reason) {
  settings_.push_back({.path = std::move(path),
                       .reason = std::move(reason),
                       .read =
                           [parse = std::move(parse)](const YamlValue& yaml) {
                             const std::optional<std::string> read = yaml.string();
                             if (!read) return;
                             if (const Status status = parse(*read); !status.ok()) {
                               yaml.reject(status.error().message + ", found \"" + *read + "\"");
                             }
                           },
                       .write = [format = std::move(format)] { return yaml_quote(format()); }});
}

void Settings::load(const std::string& file,
                    const std::vector<std::pair<std::string, std::string>>& overrides) {
  if (!file.empty()) {
    YamlFile yaml = YamlFile::load(file);
    read(yaml);
  }
  for (const auto& [path, text] : overrides) override_with(path, text);
}

void Settings::parse(std::string_view text, std::string name) {
  YamlFile yaml = YamlFile::parse(text, std::move(name));
  read(yaml);
}

void Settings::read(YamlFile& file) {
  YamlMap root = file.root();
  for (Setting& setting : settings_) {
    const std::size_t dot = setting.path.find('.');
    std::optional<YamlValue> value;
    if (dot == std::string::npos) {
      value = root.find(setting.path);
    } else {
      value = root.map(setting.path.substr(0, dot)).find(setting.path.substr(dot + 1));
    }
    if (!value) continue;
    setting.place = value->place();
    setting.read(*value);
  }
  if (const Status status = file.finish(); !status.ok()) errors_.push_back(status.error().message);
}

void Settings::override_with(const std::string& path, const std::string& text) {
  YamlFile yaml = YamlFile::parse_option(text, "--set " + path);
  const YamlValue value = yaml.value();
  Setting* setting = find(path);
  if (setting != nullptr) {
    setting->place = value.place();
    setting->read(value);
  } else {
    for (Setting& map : settings_) {
      if (map.read_entry && path.starts_with(map.path + ".")) {
        setting = &map;
        setting->place = value.place();
        setting->read_entry(path.substr(map.path.size() + 1), value);
        break;
      }
    }
  }
  if (setting == nullptr)
    value.reject("there is no key '" + path + "'" + suggestion(path, paths()));
  if (const Status status = yaml.finish(); !status.ok()) errors_.push_back(status.error().message);
}

void Settings::reject(std::string_view path, std::string_view message) {
  const Setting* const setting = find(path);
  PA_CHECK(setting != nullptr);
  std::string text = setting->place.empty() ? "" : setting->place + ": ";
  errors_.push_back(text.append(path).append(": ").append(message));
}

Status Settings::finish() {
  if (errors_.empty()) return {};
  std::string text;
  for (const std::string& error : errors_) {
    if (!text.empty()) text += "\n";
    text += error;
  }
  return invalid(text);
}

std::string Settings::document(std::string_view heading) const {
  std::string out;
  append_comment(out, "", heading);
  std::string section;
  for (const Setting& setting : settings_) {
    const std::size_t dot = setting.path.find('.');
    const std::string in = dot == std::string::npos ? "" : setting.path.substr(0, dot);
    if (in.empty() || in != section) out += "\n";
    if (!in.empty() && in != section) {
      append_comment(out, "", sections_.at(in));
      out += in + ":\n";
    }
    section = in;
    const std::string_view indent = in.empty() ? "" : "  ";
    const std::string allowed = setting.allowed.empty() ? "" : " Allowed: " + setting.allowed + ".";
    append_comment(out, indent, setting.reason + allowed);
    out += std::string(indent) + setting.path.substr(in.empty() ? 0 : dot + 1) + ": " +
           setting.write() + "\n";
  }
  return out;
}

std::vector<std::string> Settings::paths() const {
  std::vector<std::string> paths;
  for (const Setting& setting : settings_) paths.push_back(setting.path);
  return paths;
}

Settings::Setting* Settings::find(std::string_view path) {
  for (Setting& setting : settings_) {
    if (setting.path == path) return &setting;
  }
  return nullptr;
}

}  // namespace pa
