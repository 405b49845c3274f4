#include "shared/io/allow_list.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "shared/core/names.h"
#include "shared/io/curve_keys.h"
#include "shared/io/descriptor.h"
#include "shared/io/yaml.h"

namespace pa {
namespace {

constexpr const char* kHeading =
    "# Who may connect over TCP, by public key. The coordinator reads it again on SIGHUP.\n";

std::string section_of(Role role) { return role == Role::kClient ? "clients" : "workers"; }

void read_keys(const YamlValue& value, const Identity& identity, AllowList& list) {
  const auto add = [&](const YamlValue& entry) {
    const std::optional<std::string> key = entry.string();
    if (!key) return;
    if (!is_curve_key(*key)) {
      entry.reject("expected a public key of 40 characters, as in NAME.public");
    } else if (list.find(*key) != nullptr) {
      entry.reject("this key is there twice; every name has its own");
    } else {
      list.add(*key, identity);
    }
  };
  if (!value.is_list()) return add(value);
  for (const YamlValue& entry : value.list()) add(entry);
}

Result<AllowList> read(YamlFile file) {
  AllowList list;
  YamlMap root = file.root();
  for (const Role role : {Role::kWorker, Role::kClient}) {
    const std::optional<YamlValue> section = root.find(section_of(role));
    if (!section) continue;
    for (const auto& [name, value] : section->entries()) {
      const Status good =
          role == Role::kWorker ? check_name_pattern(name) : check_worker_name(name);
      if (!good.ok()) value.reject(good.error().message);
      read_keys(value, {role, name}, list);
    }
  }
  PA_TRY(file.finish());
  return list;
}

/// `text` with the entry at the end of its section, which is made if there is none.
std::string with_entry(std::string text, const Identity& identity, const std::string& key) {
  if (text.empty()) text = kHeading;
  if (!text.ends_with('\n')) text += '\n';
  const std::string entry = "  " + yaml_quote(identity.name) + ": " + yaml_quote(key) + "\n";
  const std::string heading = section_of(identity.role) + ":";
  std::size_t at = text.starts_with(heading) ? 0 : text.find("\n" + heading);
  if (at == std::string::npos) return text + heading + "\n" + entry;
  at = text.find('\n', at + 1) + 1;  // Behind the heading's line.
  return text.insert(at, entry);
}

}  // namespace

std::string_view name_of(Role role) { return role == Role::kClient ? "client" : "worker"; }

Result<AllowList> AllowList::load(const std::string& path) { return read(YamlFile::load(path)); }

Result<AllowList> AllowList::parse(std::string_view text, const std::string& name) {
  return read(YamlFile::parse(text, name));
}

const Identity* AllowList::find(std::string_view public_key) const {
  const auto found = keys_.find(public_key);
  return found == keys_.end() ? nullptr : &found->second;
}

Status append_allowed(const std::string& path, const Identity& identity,
                      const std::string& public_key) {
  std::ostringstream before;
  if (std::ifstream file(path); file) before << file.rdbuf();
  const std::string text = with_entry(before.str(), identity, public_key);
  PA_TRY(AllowList::parse(text, path));
  const std::string part = path + ".part";
  const Descriptor file(::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const bool written = file.get() >= 0 && ::write(file.get(), text.data(), text.size()) ==
                                              static_cast<ssize_t>(text.size());
  if (!written || std::rename(part.c_str(), path.c_str()) != 0) {
    return internal(path + ": cannot be written: " + std::strerror(errno));  // NOLINT
  }
  return {};
}

}  // namespace pa
