#include "shared/io/zmq_peers.h"

namespace pa {

ZmqPeers::Peer& ZmqPeers::meet(std::size_t socket, std::span<const std::byte> route,
                               std::string_view key) {
  const std::string_view text(reinterpret_cast<const char*>(route.data()), route.size());
  Routes& routes = by_route_[socket];
  if (const auto known = routes.find(text); known != routes.end()) {
    order_.splice(order_.begin(), order_, known->second);
    return *known->second;
  }
  if (by_id_.size() >= capacity_) forget(order_.back().id);
  order_.push_front({PeerId{++last_id_}, socket, std::string(text), std::string(key), 0});
  by_id_.emplace(order_.front().id, order_.begin());
  routes.emplace(text, order_.begin());
  return order_.front();
}

const ZmqPeers::Peer* ZmqPeers::find(PeerId id) {
  const auto known = by_id_.find(id);
  if (known == by_id_.end()) return nullptr;
  order_.splice(order_.begin(), order_, known->second);
  return &*known->second;
}

std::vector<PeerId> ZmqPeers::sharing(std::uint64_t token) const {
  std::vector<PeerId> peers;
  for (const Peer& peer : order_) {
    if (peer.sharing == token) peers.push_back(peer.id);
  }
  return peers;
}

void ZmqPeers::forget(PeerId id) {
  const auto known = by_id_.find(id);
  if (known == by_id_.end()) return;
  const Order::iterator peer = known->second;
  by_route_[peer->socket].erase(peer->route);
  by_id_.erase(known);
  order_.erase(peer);
}

}  // namespace pa
