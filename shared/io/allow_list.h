#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "shared/core/result.h"

namespace pa {

/// What a key may be used for.
enum class Role : std::uint8_t { kClient, kWorker };

/// "client" or "worker".
[[nodiscard]] std::string_view name_of(Role role);

/// Whom a key belongs to.
struct Identity {
  Role role = Role::kClient;
  std::string name;  ///< Of a worker a pattern of matches_name(): "box2:*" for all of a box's.
};

/// Who may connect over TCP, by public key. A YAML file:
///
///   workers:
///     "box2:*": "…40 characters, as in box2.public…"
///   clients:
///     "alice": ["…the old key…", "…the new one…"]
class AllowList {
 public:
  /// Errors: kInvalid with every mistake, a line each: not readable, no key, a key given twice.
  [[nodiscard]] static Result<AllowList> load(const std::string& path);
  /// `name` stands for the file in messages.
  [[nodiscard]] static Result<AllowList> parse(std::string_view text, const std::string& name);

  /// nullptr if the key is not allowed.
  [[nodiscard]] const Identity* find(std::string_view public_key) const;
  [[nodiscard]] std::size_t size() const { return keys_.size(); }

  void add(const std::string& public_key, Identity identity) {
    keys_[public_key] = std::move(identity);
  }

 private:
  std::map<std::string, Identity, std::less<>> keys_;
};

/// Adds a line to the list in `path`, which is made if it is not there, without touching the others.
///
/// Errors: kInvalid, the result would be no list, for example since the name is there; kInternal.
[[nodiscard]] Status append_allowed(const std::string& path, const Identity& identity,
                                    const std::string& public_key);

}  // namespace pa
