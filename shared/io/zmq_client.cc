#include <filesystem>
#include <string_view>
#include <utility>

#include "shared/io/framing.h"
#include "shared/io/run_directory.h"
#include "shared/io/segment_socket.h"
#include "shared/io/zmq_transport.h"
#include "shared/wire/codec.h"

namespace pa {
namespace {

constexpr std::string_view kIpc = "ipc://";

/// After so many messages in a row that are refused, the loop gets a turn.
constexpr int kMostRefusedAtOnce = 64;

template <class T>
Status status_of(const Result<T>& result) {
  return result.ok() ? Status{} : result.error();
}

}  // namespace

struct ZmqClient::State {
  ZmqContext context;
  std::string endpoint;
  Channel channel;
  FrameLimits limits;
  ZmqSocketOptions options;
  std::optional<ZmqSocket> socket;          // None while there is no run directory.
  std::unique_ptr<SegmentClient> segments;  // On this box only.
  bool share_memory = true;
  std::string header;  // Scratch.

  /// A fresh socket. kUnavailable while there is no run directory.
  [[nodiscard]] Status connect() {
    socket.reset();
    if (!is_tcp(endpoint)) {
      const std::filesystem::path path(endpoint.substr(kIpc.size()));
      PA_TRY(check_run_directory(path.parent_path().string()));
    }
    PA_ASSIGN(ZmqSocket fresh, ZmqSocket::open(context, options));
    PA_TRY(fresh.connect(endpoint));
    socket = std::move(fresh);
    return {};
  }
};

ZmqClient::ZmqClient(std::unique_ptr<State> state) : state_(std::move(state)) {}
ZmqClient::~ZmqClient() = default;

Result<std::unique_ptr<ZmqClient>> ZmqClient::connect(const ZmqContext& context,
                                                      const std::string& endpoint, Channel channel,
                                                      const ZmqOptions& options,
                                                      std::optional<PeerKeys> keys) {
  const bool tcp = is_tcp(endpoint);
  const Status good = tcp ? status_of(tcp_endpoints(endpoint)) : check_endpoint(endpoint);
  if (!good.ok()) return invalid(endpoint + ": " + good.error().message);
  if (tcp && !keys) return invalid(endpoint + ": TCP is spoken with CURVE keys only; give some");
  const FrameLimits limits = frame_limits(channel, options.chunk_bytes);
  const bool control = channel == Channel::kWorkerControl;
  std::optional<ZmqCurve> curve;
  if (tcp) curve = ZmqCurve{keys->own.public_key, keys->own.secret_key, keys->server_key, {}};
  const ZmqSocketOptions socket_options{
      .router = false,
      .bulk = channel == Channel::kWorkerData,
      .queue_messages = control ? options.control_messages : options.data_messages,
      .largest_frame_bytes = largest_frame_bytes(limits),
      .curve = std::move(curve)};
  auto state = std::make_unique<State>(State{context,
                                             endpoint,
                                             channel,
                                             limits,
                                             socket_options,
                                             std::nullopt,
                                             nullptr,
                                             options.share_memory && !tcp,
                                             {}});
  std::unique_ptr<ZmqClient> client(new ZmqClient(std::move(state)));
  PA_TRY(client->reconnect());
  return client;
}

std::uint64_t ZmqClient::sharing() {
  if (!state_->share_memory) return 0;
  if (!state_->segments || !state_->segments->alive()) {
    const std::filesystem::path path(state_->endpoint.substr(kIpc.size()));
    auto fresh = SegmentClient::connect(share_path(path.parent_path().string()));
    state_->segments = fresh.ok() ? std::move(*fresh) : nullptr;
  }
  return state_->segments ? state_->segments->token() : 0;
}

bool ZmqClient::share(std::uint64_t id, const Segment& segment) {
  return state_->segments && state_->segments->send(id, segment);
}

std::optional<Segment> ZmqClient::shared(std::uint64_t id) {
  return state_->segments ? state_->segments->take(id) : std::nullopt;
}

Status ZmqClient::reconnect() {
  state_->segments.reset();
  const Status connected = state_->connect();
  if (!connected.ok() && connected.error().code != Code::kUnavailable) return connected;
  return {};
}

Status ZmqClient::send(const Message& message, const Buffer& payload) {
  state_->header.clear();
  encode(message, state_->header);
  PA_TRY(check_frames(state_->limits, message, state_->header.size(), payload.size()));
  if (!state_->socket) {
    if (const Status connected = state_->connect(); !connected.ok()) {
      return overloaded(connected.error().message);
    }
  }
  if (state_->socket->send({}, state_->header, payload) != ZmqSocket::Sent::kDone) {
    return overloaded("not connected to " + state_->endpoint + ", or its queue is full");
  }
  return {};
}

std::optional<Incoming> ZmqClient::receive() {
  for (int refused = 0; state_->socket && refused < kMostRefusedAtOnce; ++refused) {
    std::optional<ZmqMessage> came = state_->socket->receive();
    if (!came) return std::nullopt;
    Result<Message> message =
        read_frames(state_->limits, came->header, came->payload.size(), came->frames);
    if (message.ok()) {
      return Incoming{
          PeerId{0}, state_->channel, std::move(*message), std::move(came->payload), {}};
    }
  }
  return std::nullopt;
}

void ZmqClient::descriptors(std::vector<int>& out) const {
  if (state_->socket) out.push_back(state_->socket->descriptor());
}

bool ZmqClient::ready() { return state_->socket && state_->socket->readable(); }

}  // namespace pa
