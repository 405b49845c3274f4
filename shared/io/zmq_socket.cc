#include "shared/io/zmq_socket.h"

#include <unistd.h>
#include <zmq.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace pa {
namespace {

constexpr int kIoThreads = 2;
constexpr std::uint64_t kFirstIoThread = 1;
constexpr std::uint64_t kSecondIoThread = 2;
constexpr int kReconnectMs = 100;
constexpr int kReconnectMaxMs = 1000;
constexpr int kHandshakeMs = 5000;
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

 private:
  zmq_msg_t frame_;
};

Error libzmq_says(const std::string& what) { return internal(what + ": " + zmq_strerror(errno)); }

void drop_reference(void*, void* hint) noexcept {
  delete static_cast<std::shared_ptr<std::byte>*>(hint);
}

/// False, with errno, if there is no memory.
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

  std::shared_ptr<void> context;  // Declared first: it ends after the socket.
  void* socket = nullptr;
  bool router = false;
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
  state->socket = zmq_socket(context.context_.get(), options.router ? ZMQ_ROUTER : ZMQ_DEALER);
  if (!state->socket) return libzmq_says("cannot make a socket");
  // Not here: ZMQ_HEARTBEAT_IVL, which aborts the process when a slow reader's pipe is full.
  const bool set =
      state->set(ZMQ_AFFINITY, options.bulk ? kSecondIoThread : kFirstIoThread) &&
      state->set(ZMQ_LINGER, 0) && state->set(ZMQ_SNDHWM, options.queue_messages) &&
      state->set(ZMQ_RCVHWM, options.queue_messages) &&
      state->set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(options.largest_frame_bytes)) &&
      state->set(ZMQ_HANDSHAKE_IVL, kHandshakeMs) &&
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
  message.header = state_->header.bytes();
  message.frames = 1;
  bool more = state_->header.more();
  if (more) {
    auto frame = std::make_shared<Frame>();
    if (!state_->take(*frame)) return message;
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
