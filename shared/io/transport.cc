#include "shared/io/transport.h"

namespace pa {

// What transports do that share no memory.

bool ServerTransport::share(PeerId, std::uint64_t, const Segment&) { return false; }
std::optional<Segment> ServerTransport::shared(PeerId, std::uint64_t) { return std::nullopt; }
std::optional<PeerId> ServerTransport::gone() { return std::nullopt; }

std::uint64_t ClientTransport::sharing() { return 0; }
bool ClientTransport::share(std::uint64_t, const Segment&) { return false; }
std::optional<Segment> ClientTransport::shared(std::uint64_t) { return std::nullopt; }

}  // namespace pa
