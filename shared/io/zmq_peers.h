#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "shared/core/id.h"

namespace pa {

/// Numbers connections: (socket, routing id) <-> PeerId. Holds `capacity` of them at most; the one
/// that was silent for longest makes room, and becomes a new peer should it speak again.
class ZmqPeers {
 public:
  struct Peer {
    PeerId id;
    std::size_t socket = 0;
    std::string route;
    std::string key;            ///< Its public key; empty without CURVE.
    std::uint64_t sharing = 0;  ///< Token of its connection for segments; 0: none.
  };

  explicit ZmqPeers(std::size_t capacity) : capacity_(capacity) {}

  /// The peer with this route, met now or before. Valid until the next call.
  Peer& meet(std::size_t socket, std::span<const std::byte> route, std::string_view key);

  /// nullptr if it is not known, or no longer.
  [[nodiscard]] const Peer* find(PeerId id);

  /// The peers that share memory over the connection with this token.
  [[nodiscard]] std::vector<PeerId> sharing(std::uint64_t token) const;

  void forget(PeerId id);

 private:
  using Order = std::list<Peer>;  // Last heard or written to first.

  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };

  const std::size_t capacity_;
  std::uint64_t last_id_ = 0;
  Order order_;
  std::unordered_map<PeerId, Order::iterator> by_id_;
  using Routes = std::unordered_map<std::string, Order::iterator, Hash, std::equal_to<>>;
  std::map<std::size_t, Routes> by_route_;
};

}  // namespace pa
