#include <array>
#include <filesystem>
#include <utility>

#include "shared/io/framing.h"
#include "shared/io/run_directory.h"
#include "shared/io/zmq_peers.h"
#include "shared/io/zmq_transport.h"
#include "shared/wire/codec.h"

namespace pa {
namespace {

constexpr std::string_view kIpc = "ipc://";

/// Sockets in the order they are asked, and how many messages each may give before the next is.
struct Turn {
  Channel channel;
  int messages;
};
constexpr std::array<Turn, 3> kTurns{
    {{Channel::kWorkerControl, 8}, {Channel::kClient, 4}, {Channel::kWorkerData, 4}}};

/// After so many messages in a row that are refused, the loop gets a turn.
constexpr int kMostRefusedAtOnce = 64;

std::string path_of(const std::string& endpoint) { return endpoint.substr(kIpc.size()); }

std::string directory_of(const std::string& endpoint) {
  return std::filesystem::path(path_of(endpoint)).parent_path().string();
}

}  // namespace

struct ZmqServer::State {
  struct Port {
    FrameLimits limits;
    ZmqSocket socket;
  };

  State(RunDirectory d, std::size_t most_peers) : directory(std::move(d)), peers(most_peers) {}

  void next_turn() {
    turn = (turn + 1) % kTurns.size();
    taken = 0;
  }

  [[nodiscard]] Port& port(Channel channel) { return ports[static_cast<std::size_t>(channel)]; }

  // In this order: libzmq removes the sockets' paths as late as when the context ends, and until then
  // the directory must not be another's.
  RunDirectory directory;
  ZmqContext context;
  std::vector<Port> ports;  // By Channel.
  ZmqPeers peers;
  std::uint64_t rejected = 0;
  std::string header;  // Scratch.
  std::size_t turn = 0;
  int taken = 0;  // In this turn.
};

ZmqServer::ZmqServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
ZmqServer::~ZmqServer() = default;

Result<std::unique_ptr<ZmqServer>> ZmqServer::bind(const Endpoints& endpoints,
                                                   const ZmqOptions& options) {
  const std::array<std::string, 3> by_channel{endpoints.client, endpoints.control, endpoints.data};
  for (const std::string& endpoint : by_channel) {
    if (const Status good = check_endpoint(endpoint); !good.ok()) {
      return invalid(endpoint + ": " + good.error().message);
    }
    if (directory_of(endpoint) != directory_of(endpoints.client)) {
      return invalid("the three sockets must be in one directory: " + endpoints.client + ", " +
                     endpoint);
    }
  }
  PA_ASSIGN(RunDirectory directory, RunDirectory::take(directory_of(endpoints.client)));
  auto state = std::make_unique<State>(std::move(directory), options.most_peers);
  for (const Channel channel : {Channel::kClient, Channel::kWorkerControl, Channel::kWorkerData}) {
    const std::string& endpoint = by_channel[static_cast<std::size_t>(channel)];
    const FrameLimits limits = frame_limits(channel, options.chunk_bytes);
    const bool control = channel == Channel::kWorkerControl;
    PA_TRY(state->directory.remove_stale(path_of(endpoint)));
    PA_ASSIGN(ZmqSocket socket,
              ZmqSocket::open(
                  state->context,
                  {.router = true,
                   .bulk = channel == Channel::kWorkerData,
                   .queue_messages = control ? options.control_messages : options.data_messages,
                   .largest_frame_bytes = largest_frame_bytes(limits)}));
    PA_TRY(socket.bind(endpoint));
    state->ports.push_back({limits, std::move(socket)});
  }
  return std::unique_ptr<ZmqServer>(new ZmqServer(std::move(state)));
}

Status ZmqServer::send(PeerId peer, const Message& message, const Buffer& payload) {
  const ZmqPeers::Peer* known = state_->peers.find(peer);
  if (!known) return unavailable("no connection to peer " + std::to_string(peer.value));
  State::Port& port = state_->port(known->channel);
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
  for (std::size_t looks = 0; looks <= kTurns.size() && refused < kMostRefusedAtOnce;) {
    const Turn& turn = kTurns[state.turn];
    State::Port& port = state.port(turn.channel);
    std::optional<ZmqMessage> came;
    if (state.taken < turn.messages) came = port.socket.receive();
    if (!came) {
      ++looks;
      state.next_turn();
      continue;
    }
    ++state.taken;
    Result<Message> message =
        read_frames(port.limits, came->header, came->payload.size(), came->frames);
    if (message.ok()) {
      return Incoming{state.peers.meet(turn.channel, came->route), turn.channel,
                      std::move(*message), std::move(came->payload)};
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
}

bool ZmqServer::ready() {
  bool ready = false;
  for (State::Port& port : state_->ports) ready = port.socket.readable() || ready;
  return ready;
}

}  // namespace pa
