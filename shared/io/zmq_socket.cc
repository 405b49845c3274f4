#include "shared/io/zmq_socket.h"

#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "shared/io/failpoint.h"

namespace pa {
namespace {

constexpr int kIoThreads = 2;
constexpr std::uint64_t kFirstIoThread = 1;
constexpr std::uint64_t kSecondIoThread = 2;
constexpr int kReconnectMs = 100;
constexpr int kReconnectMaxMs = 1000;
constexpr int kHandshakeMs = 5000;
constexpr int kBacklog = 1024;       // Hundreds of workers may come at once, after a restart.
constexpr int kMostSockets = 65536;  // Of a context; in tests many clients share one.
constexpr int kTcpGiveUpMs = 10000;  // For a peer whose box is gone without a word.
constexpr int kKeepAliveSeconds = 10;
constexpr int kZapEnforceDomain = 93;  // In the headers only of builds with drafts, but there.
constexpr std::uint64_t kSendFromPlaceBytes = 8u << 10;

/// A frame as libzmq holds it.
class Frame {
 public:
  Frame() { zmq_msg_init(&frame_); }
  ~Frame() { zmq_msg_close(&frame_); }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

  [[nodiscard]] zmq_msg_t* get() { return &frame_; }
  [[nodiscard]] std::byte* data() { return static_cast<std::byte*>(zmq_msg_data(&frame_)); }
  [[nodiscard]] std::size_t size() const { return zmq_msg_size(&frame_); }
  [[nodiscard]] bool more() const { return zmq_msg_more(&frame_) != 0; }
  [[nodiscard]] std::span<const std::byte> bytes() { return {data(), size()}; }
  [[nodiscard]] std::string_view user() {
    const char* const id = zmq_msg_gets(&frame_, "User-Id");
    return id ? std::string_view(id) : std::string_view();
  }

 private:
  zmq_msg_t frame_;
};

Error libzmq_says(const std::string& what) { return internal(what + ": " + zmq_strerror(errno)); }

void drop_reference(void*, void* hint) noexcept {
  delete static_cast<std::shared_ptr<std::byte>*>(hint);
}

/// False, with errno, if there is no memory.
/// Where tests damage what came in. See failpoint.h.
void damage_if_asked(const char* failpoint_name, Frame& frame) {
  if (failpoint(failpoint_name) == 0 || frame.size() == 0) return;
  frame.data()[frame.size() / 2] ^= std::byte{0x10};
}

bool fill(Frame& frame, const Buffer& payload) {
  if (payload.size() < kSendFromPlaceBytes) {
    zmq_msg_close(frame.get());
    if (zmq_msg_init_size(frame.get(), payload.size()) != 0) {
      zmq_msg_init(frame.get());
      return false;
    }
    std::memcpy(frame.data(), payload.data(), payload.size());
    return true;
  }
  auto reference = std::make_unique<std::shared_ptr<std::byte>>(payload.owner());
  zmq_msg_close(frame.get());
  if (zmq_msg_init_data(frame.get(), payload.data(), payload.size(), drop_reference,
                        reference.get()) != 0) {
    zmq_msg_init(frame.get());
    return false;
  }
  reference.release();  // NOLINT(bugprone-unused-return-value): the frame's now.
  return true;
}

}  // namespace

ZmqContext::ZmqContext() {
  void* const context = zmq_ctx_new();
  PA_CHECK(context != nullptr);
  PA_CHECK(zmq_ctx_set(context, ZMQ_IO_THREADS, kIoThreads) == 0);
  zmq_ctx_set(context, ZMQ_MAX_SOCKETS,
              std::min(kMostSockets, zmq_ctx_get(context, ZMQ_SOCKET_LIMIT)));
  context_ = std::shared_ptr<void>(context, [](void* c) {
    while (zmq_ctx_term(c) != 0 && errno == EINTR) {
    }
  });
}

struct ZmqSocket::State {
  ~State() {
    if (socket) zmq_close(socket);
  }

  /// True unless there is nothing more to take now.
  [[nodiscard]] bool take(Frame& frame) const {
    while (zmq_msg_recv(frame.get(), socket, ZMQ_DONTWAIT) < 0) {
      if (errno != EINTR) return false;
    }
    return true;
  }

  template <class T>
  [[nodiscard]] bool set(int option, T value) const {
    return zmq_setsockopt(socket, option, &value, sizeof(value)) == 0;
  }

  [[nodiscard]] bool set(int option, const std::string& text) const {
    return zmq_setsockopt(socket, option, text.data(), text.size()) == 0;
  }

  [[nodiscard]] bool set_curve(const ZmqCurve& keys) const {
    const bool own =
        set(ZMQ_CURVE_PUBLICKEY, keys.public_key) && set(ZMQ_CURVE_SECRETKEY, keys.secret_key);
    if (!router) return own && set(ZMQ_CURVE_SERVERKEY, keys.server_key);
    return set(ZMQ_CURVE_SERVER, 1) && own && set(ZMQ_ZAP_DOMAIN, keys.domain) &&
           set(kZapEnforceDomain, 1);
  }

  std::shared_ptr<void> context;  // Declared first: it ends after the socket.
  void* socket = nullptr;
  bool router = false;
  bool curve = false;
  int descriptor = -1;
  Frame route;
  Frame header;
};

ZmqSocket::ZmqSocket(std::unique_ptr<State> state) : state_(std::move(state)) {}
ZmqSocket::~ZmqSocket() = default;
ZmqSocket::ZmqSocket(ZmqSocket&&) noexcept = default;
ZmqSocket& ZmqSocket::operator=(ZmqSocket&&) noexcept = default;

Result<ZmqSocket> ZmqSocket::open(const ZmqContext& context, const ZmqSocketOptions& options) {
  auto state = std::make_unique<State>();
  state->context = context.context_;
  state->router = options.router;
  state->curve = options.curve.has_value();
  state->socket = zmq_socket(context.context_.get(), options.router ? ZMQ_ROUTER : ZMQ_DEALER);
  if (!state->socket) return libzmq_says("cannot make a socket");
  // Not here: ZMQ_HEARTBEAT_IVL, which aborts the process when a slow reader's pipe is full.
  const bool set =
      state->set(ZMQ_AFFINITY, options.bulk ? kSecondIoThread : kFirstIoThread) &&
      state->set(ZMQ_LINGER, 0) && state->set(ZMQ_SNDHWM, options.queue_messages) &&
      state->set(ZMQ_RCVHWM, options.queue_messages) &&
      state->set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(options.largest_frame_bytes)) &&
      state->set(ZMQ_HANDSHAKE_IVL, kHandshakeMs) && state->set(ZMQ_BACKLOG, kBacklog) &&
      state->set(ZMQ_IPV6, 1) && state->set(ZMQ_TCP_KEEPALIVE, 1) &&
      state->set(ZMQ_TCP_KEEPALIVE_IDLE, kKeepAliveSeconds) &&
      state->set(ZMQ_TCP_MAXRT, kTcpGiveUpMs) &&
      (!options.curve || state->set_curve(*options.curve)) &&
      (options.router
           ? state->set(ZMQ_ROUTER_MANDATORY, 1)
           : state->set(ZMQ_IMMEDIATE, 1) && state->set(ZMQ_RECONNECT_IVL, kReconnectMs) &&
                 state->set(ZMQ_RECONNECT_IVL_MAX, kReconnectMaxMs));
  std::size_t size = sizeof(state->descriptor);
  if (!set || zmq_getsockopt(state->socket, ZMQ_FD, &state->descriptor, &size) != 0) {
    return libzmq_says("cannot set up a socket");
  }
  return ZmqSocket(std::move(state));
}

Status ZmqSocket::bind(const std::string& endpoint) {
  if (zmq_bind(state_->socket, endpoint.c_str()) != 0) {
    return libzmq_says("cannot listen at " + endpoint);
  }
  return {};
}

Status ZmqSocket::connect(const std::string& endpoint) {
  if (zmq_connect(state_->socket, endpoint.c_str()) != 0) {
    return libzmq_says("cannot connect to " + endpoint);
  }
  return {};
}

ZmqSocket::Sent ZmqSocket::send(std::span<const std::byte> route, std::string_view header,
                                const Buffer& payload) {
  Frame last;
  if (!payload.empty() && !fill(last, payload)) return Sent::kFull;

  const auto put = [&](const void* data, std::size_t size, bool more) {
    const int flags = ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0);
    while (zmq_send(state_->socket, data, size, flags) < 0) {
      if (errno != EINTR) return false;
    }
    return true;
  };
  // The first frame decides. Once it is taken the others are, or are dropped with the connection.
  bool begun = false;
  if (state_->router) {
    if (!put(route.data(), route.size(), true))
      return errno == EHOSTUNREACH ? Sent::kGone : Sent::kFull;
    begun = true;
  }
  if (!put(header.data(), header.size(), !payload.empty()))
    return begun ? Sent::kGone : Sent::kFull;
  if (payload.empty()) return Sent::kDone;
  while (zmq_msg_send(last.get(), state_->socket, ZMQ_DONTWAIT) < 0) {
    if (errno != EINTR) return Sent::kGone;
  }
  return Sent::kDone;
}

std::optional<ZmqMessage> ZmqSocket::receive() {
  ZmqMessage message;
  if (state_->router) {
    if (!state_->take(state_->route)) return std::nullopt;
    message.route = state_->route.bytes();
    if (!state_->route.more()) return message;
  }
  if (!state_->take(state_->header)) return state_->router ? std::optional(message) : std::nullopt;
  damage_if_asked("frame.header", state_->header);
  message.header = state_->header.bytes();
  message.frames = 1;
  // Not of the first frame, the route: libzmq 4.3.4 leaves it out there after a poll.
  if (state_->curve) message.user = state_->header.user();
  bool more = state_->header.more();
  if (more) {
    auto frame = std::make_shared<Frame>();
    if (!state_->take(*frame)) return message;
    damage_if_asked("frame.payload", *frame);
    message.frames = 2;
    more = frame->more();
    message.payload = Buffer(std::shared_ptr<std::byte>(frame, frame->data()), frame->size());
  }
  for (Frame extra; more && state_->take(extra); more = extra.more()) ++message.frames;
  return message;
}

bool ZmqSocket::readable() {
  int events = 0;
  std::size_t size = sizeof(events);
  return zmq_getsockopt(state_->socket, ZMQ_EVENTS, &events, &size) == 0 &&
         (events & ZMQ_POLLIN) != 0;
}

int ZmqSocket::descriptor() const { return state_->descriptor; }

}  // namespace pa
