#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace pa {

/// A number that names one kind of thing, and cannot be taken for another.
template <class Tag>
struct Id {
  std::uint64_t value = 0;
  friend auto operator<=>(const Id&, const Id&) = default;
};

/// A live connection to a client or worker, as the transport numbers them. Never reused while the process lives.
using PeerId = Id<struct PeerTag>;
/// A worker's registration, from its Hello to its death. A restarted worker gets a new one.
using WorkerId = Id<struct WorkerTag>;
/// The samples of one request handed to one worker in one attempt. Unique within an epoch.
using ShardId = Id<struct ShardTag>;

/// Names a request. Made by the client, 128 random bits, written as 32 hexadecimal digits.
struct RequestId {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend auto operator<=>(const RequestId&, const RequestId&) = default;
};

[[nodiscard]] std::string to_string(const RequestId& id);

/// nullopt unless `text` is 32 hexadecimal digits.
[[nodiscard]] std::optional<RequestId> parse_request_id(std::string_view text);

}  // namespace pa

template <class Tag>
struct std::hash<pa::Id<Tag>> {
  std::size_t operator()(const pa::Id<Tag>& id) const {
    return std::hash<std::uint64_t>{}(id.value);
  }
};
template <>
struct std::hash<pa::RequestId> {
  std::size_t operator()(const pa::RequestId& id) const {
    return std::hash<std::uint64_t>{}(id.high ^ id.low);
  }
};
