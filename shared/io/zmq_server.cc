#include <array>
#include <filesystem>
#include <utility>

#include "shared/io/framing.h"
#include "shared/io/run_directory.h"
#include "shared/io/segment_socket.h"
#include "shared/io/zmq_peers.h"
#include "shared/io/zmq_transport.h"
#include "shared/wire/codec.h"

namespace pa {
namespace {

constexpr std::string_view kIpc = "ipc://";

/// Channels in the order they are asked, and how many messages each may give before the next is.
struct Turn {
  Channel channel;
  int messages;
};
constexpr std::array<Turn, 3> kTurns{
    {{Channel::kWorkerControl, 8}, {Channel::kWorkerData, 6}, {Channel::kClient, 4}}};

/// After so many messages in a row that are refused, the loop gets a turn.
constexpr int kMostRefusedAtOnce = 64;

std::string path_of(const std::string& endpoint) { return endpoint.substr(kIpc.size()); }

std::string directory_of(const std::string& endpoint) {
  return std::filesystem::path(path_of(endpoint)).parent_path().string();
}

/// The token in a message that tells how its sender shares memory; 0: none.
std::uint64_t sharing_of(const Message& message) {
  if (const auto* submit = std::get_if<Submit>(&message)) return submit->sharing;
  if (const auto* attach = std::get_if<Attach>(&message)) return attach->sharing;
  return 0;
}

Role role_of(Channel channel) {
  return channel == Channel::kClient ? Role::kClient : Role::kWorker;
}

}  // namespace

struct ZmqServer::State {
  struct Port {
    Channel channel;
    int messages;  ///< That it may give before the next is asked.
    bool curve;
    FrameLimits limits;
    ZmqSocket socket;
  };

  State(RunDirectory d, const ZmqOptions& o)
      : options(o), directory(std::move(d)), peers(o.most_peers) {}

  Status listen(const Turn& share, const std::string& endpoint, std::optional<ZmqCurve> curve) {
    const FrameLimits limits = frame_limits(share.channel, options.chunk_bytes);
    const bool control = share.channel == Channel::kWorkerControl;
    const bool secured = curve.has_value();
    PA_ASSIGN(ZmqSocket socket,
              ZmqSocket::open(context, {.router = true,
                                        .bulk = share.channel == Channel::kWorkerData,
                                        .queue_messages = control ? options.control_messages
                                                                  : options.data_messages,
                                        .largest_frame_bytes = largest_frame_bytes(limits),
                                        .curve = std::move(curve)}));
    PA_TRY(socket.bind(endpoint));
    ports.push_back({share.channel, share.messages, secured, limits, std::move(socket)});
    return {};
  }

  /// Ties the peer to the connection over which it says it shares memory.
  bool tie(ZmqPeers::Peer& peer, std::uint64_t token) const {
    if (!segments || token == 0) return false;
    segments->turn();
    if (segments->connected(token)) peer.sharing = token;
    return peer.sharing == token;
  }

  void next_turn() {
    turn = (turn + 1) % ports.size();
    taken = 0;
  }

  /// Whom the key is for, if it may speak on the port; empty on this box.
  [[nodiscard]] std::optional<std::string> who(const Port& port, std::string_view key) const {
    if (!port.curve) return std::string();
    const Identity* identity = zap->find(key);
    if (identity == nullptr || identity->role != role_of(port.channel)) return std::nullopt;
    return identity->name;
  }

  // In this order: libzmq removes the sockets' paths as late as when the context ends, and until then
  // the directory must not be another's.
  ZmqOptions options;
  RunDirectory directory;
  ZmqContext context;
  std::unique_ptr<ZapHandler> zap;  // With TCP only.
  std::vector<Port> ports;          // In the order they are asked.
  ZmqPeers peers;
  std::unique_ptr<SegmentServer> segments;  // If memory is shared.
  std::vector<PeerId> gone;
  std::uint64_t rejected = 0;
  std::string header;  // Scratch.
  std::size_t turn = 0;
  int taken = 0;  // In this turn.
};

ZmqServer::ZmqServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
ZmqServer::~ZmqServer() = default;

Result<std::unique_ptr<ZmqServer>> ZmqServer::bind(const Endpoints& endpoints,
                                                   const ZmqOptions& options,
                                                   std::optional<TcpListener> tcp) {
  const auto by_channel = [](const Endpoints& all, Channel channel) -> const std::string& {
    return channel == Channel::kClient       ? all.client
           : channel == Channel::kWorkerData ? all.data
                                             : all.control;
  };
  for (const Turn& turn : kTurns) {
    const std::string& endpoint = by_channel(endpoints, turn.channel);
    if (const Status good = check_endpoint(endpoint); !good.ok()) {
      return invalid(endpoint + ": " + good.error().message);
    }
    if (directory_of(endpoint) != directory_of(endpoints.client)) {
      return invalid("the three sockets must be in one directory: " + endpoints.client + ", " +
                     endpoint);
    }
  }
  if (tcp) PA_TRY(check_listen_address(tcp->address));
  const std::string folder = directory_of(endpoints.client);
  PA_ASSIGN(RunDirectory directory, RunDirectory::take(folder));
  auto state = std::make_unique<State>(std::move(directory), options);
  Endpoints remote;
  if (tcp) {
    PA_ASSIGN(remote, tcp_endpoints(tcp->address));
    PA_ASSIGN(state->zap, ZapHandler::start(state->context, std::move(tcp->allowed)));
    PA_TRY(state->directory.remove_stale(folder + "/check.sock"));
    if (const Status safe = state->zap->check(folder); !safe.ok()) {
      return internal("not listening at " + tcp->address + ": " + safe.error().message);
    }
  }
  for (const Turn& turn : kTurns) {
    const std::string& endpoint = by_channel(endpoints, turn.channel);
    PA_TRY(state->directory.remove_stale(path_of(endpoint)));
    PA_TRY(state->listen(turn, endpoint, std::nullopt));
    if (!tcp) continue;
    const std::string domain(name_of(role_of(turn.channel)));
    PA_TRY(state->listen(turn, by_channel(remote, turn.channel),
                         ZmqCurve{tcp->keys.public_key, tcp->keys.secret_key, {}, domain}));
  }
  if (options.share_memory) {
    PA_TRY(state->directory.remove_stale(share_path(folder)));
    PA_ASSIGN(state->segments, SegmentServer::listen(share_path(folder)));
  }
  return std::unique_ptr<ZmqServer>(new ZmqServer(std::move(state)));
}

bool ZmqServer::share(PeerId peer, std::uint64_t id, const Segment& segment) {
  const ZmqPeers::Peer* known = state_->peers.find(peer);
  return known && known->sharing != 0 && state_->segments->send(known->sharing, id, segment);
}

std::optional<Segment> ZmqServer::shared(PeerId peer, std::uint64_t id) {
  const ZmqPeers::Peer* known = state_->peers.find(peer);
  if (!known || known->sharing == 0) return std::nullopt;
  return state_->segments->take(known->sharing, id);
}

std::optional<PeerId> ZmqServer::gone() {
  if (state_->segments) {
    for (const std::uint64_t token : state_->segments->take_ended()) {
      for (const PeerId peer : state_->peers.sharing(token)) {
        state_->peers.forget(peer);
        state_->gone.push_back(peer);
      }
    }
  }
  if (state_->gone.empty()) return std::nullopt;
  const PeerId peer = state_->gone.back();
  state_->gone.pop_back();
  return peer;
}

void ZmqServer::allow(AllowList allowed) {
  if (state_->zap) state_->zap->replace(std::move(allowed));
}

std::vector<Refusal> ZmqServer::take_refusals() {
  return state_->zap ? state_->zap->take_refusals() : std::vector<Refusal>();
}

Status ZmqServer::send(PeerId peer, const Message& message, const Buffer& payload) {
  const ZmqPeers::Peer* known = state_->peers.find(peer);
  if (!known) return unavailable("no connection to peer " + std::to_string(peer.value));
  State::Port& port = state_->ports[known->socket];
  if (!state_->who(port, known->key)) {
    state_->peers.forget(peer);
    return unavailable("the key of peer " + std::to_string(peer.value) + " is no longer allowed");
  }
  state_->header.clear();
  encode(message, state_->header);
  PA_TRY(check_frames(port.limits, message, state_->header.size(), payload.size()));
  switch (port.socket.send(std::as_bytes(std::span(known->route)), state_->header, payload)) {
    case ZmqSocket::Sent::kDone:
      return {};
    case ZmqSocket::Sent::kFull:
      return overloaded("the queue to peer " + std::to_string(peer.value) + " is full");
    case ZmqSocket::Sent::kGone:
      break;
  }
  state_->peers.forget(peer);
  return unavailable("peer " + std::to_string(peer.value) + " is gone");
}

std::optional<Incoming> ZmqServer::receive() {
  State& state = *state_;
  int refused = 0;
  // One look more than there are sockets, since the first may have had its share already.
  for (std::size_t looks = 0; looks <= state.ports.size() && refused < kMostRefusedAtOnce;) {
    State::Port& port = state.ports[state.turn];
    std::optional<ZmqMessage> came;
    if (state.taken < port.messages) came = port.socket.receive();
    if (!came) {
      ++looks;
      state.next_turn();
      continue;
    }
    ++state.taken;
    if (std::optional<std::string> who = state.who(port, came->user)) {
      Result<Message> message =
          read_frames(port.limits, came->header, came->payload.size(), came->frames);
      if (message.ok()) {
        ZmqPeers::Peer& peer = state.peers.meet(state.turn, came->route, came->user);
        const bool shares = !port.curve && state.tie(peer, sharing_of(*message));
        return Incoming{
            peer.id,         port.channel, std::move(*message), std::move(came->payload),
            std::move(*who), shares};
      }
    }
    ++state.rejected;
    ++refused;
    looks = 0;
  }
  state.turn = 0;
  state.taken = 0;
  return std::nullopt;
}

std::uint64_t ZmqServer::rejected() const { return state_->rejected; }

void ZmqServer::descriptors(std::vector<int>& out) const {
  for (const State::Port& port : state_->ports) out.push_back(port.socket.descriptor());
  if (state_->segments) out.push_back(state_->segments->descriptor());
}

void ZmqServer::woken() {
  if (state_->segments) state_->segments->turn();
}

bool ZmqServer::ready() {
  bool ready = false;
  for (State::Port& port : state_->ports) ready = port.socket.readable() || ready;
  return ready;
}

}  // namespace pa
