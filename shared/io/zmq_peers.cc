#include "shared/io/zmq_peers.h"

namespace pa {

PeerId ZmqPeers::meet(Channel channel, std::span<const std::byte> route) {
  const std::string_view key(reinterpret_cast<const char*>(route.data()), route.size());
  auto& routes = by_route_[static_cast<std::size_t>(channel)];
  if (const auto known = routes.find(key); known != routes.end()) {
    order_.splice(order_.begin(), order_, known->second);
    return known->second->id;
  }
  if (by_id_.size() >= capacity_) forget(order_.back().id);
  order_.push_front({PeerId{++last_id_}, channel, std::string(key)});
  by_id_.emplace(order_.front().id, order_.begin());
  routes.emplace(key, order_.begin());
  return order_.front().id;
}

const ZmqPeers::Peer* ZmqPeers::find(PeerId id) {
  const auto known = by_id_.find(id);
  if (known == by_id_.end()) return nullptr;
  order_.splice(order_.begin(), order_, known->second);
  return &*known->second;
}

void ZmqPeers::forget(PeerId id) {
  const auto known = by_id_.find(id);
  if (known == by_id_.end()) return;
  const Order::iterator peer = known->second;
  by_route_[static_cast<std::size_t>(peer->channel)].erase(peer->route);
  by_id_.erase(known);
  order_.erase(peer);
}

}  // namespace pa
