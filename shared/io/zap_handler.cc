#include "shared/io/zap_handler.h"

#include <zmq.h>

#include <array>
#include <atomic>
#include <cstring>
#include <thread>
#include <utility>

#include "shared/io/clock.h"
#include "shared/io/curve_keys.h"
#include "shared/io/mutex.h"
#include "shared/io/thread_annotations.h"

namespace pa {
namespace {

constexpr const char* kEndpoint = "inproc://zeromq.zap.01";
constexpr const char* kStop = "inproc://pa.zap.stop";
constexpr std::size_t kKeyBytes = 32;
constexpr std::size_t kRefusalsKept = 16;
constexpr std::size_t kMostFrameBytes = 255;
constexpr Duration kCheckLimit = std::chrono::seconds{5};
constexpr int kCheckStepMs = 50;

Error libzmq_says(const std::string& what) { return internal(what + ": " + zmq_strerror(errno)); }

/// A socket of libzmq, closed at the end.
class RawSocket {
 public:
  RawSocket(void* context, int type) : socket_(zmq_socket(context, type)) {}
  ~RawSocket() {
    if (socket_) zmq_close(socket_);
  }
  RawSocket(RawSocket&& other) noexcept : socket_(std::exchange(other.socket_, nullptr)) {}
  RawSocket& operator=(RawSocket&&) = delete;
  [[nodiscard]] void* get() const { return socket_; }

 private:
  void* socket_;
};

std::string z85_of(const std::string& key) {
  if (key.size() != kKeyBytes) return {};
  std::array<char, 41> text{};
  zmq_z85_encode(text.data(), reinterpret_cast<const std::uint8_t*>(key.data()), key.size());
  return text.data();
}

/// The frames of one message. False when there is no more to come from this socket.
bool receive(void* socket, std::vector<std::string>& frames) {
  frames.clear();
  int more = 1;
  while (more != 0) {
    std::array<char, kMostFrameBytes> frame{};
    const int bytes = zmq_recv(socket, frame.data(), frame.size(), 0);
    if (bytes < 0) return false;
    frames.emplace_back(frame.data(), std::min(static_cast<std::size_t>(bytes), frame.size()));
    std::size_t size = sizeof(more);
    if (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) != 0) return false;
  }
  return true;
}

/// A question of RFC 27: version, request id, domain, address, routing id, mechanism, credentials.
struct Question {
  std::string id;
  std::string domain;
  std::string address;
  std::string mechanism;
  std::string key;  ///< Z85; empty if there is none.

  static Question of(const std::vector<std::string>& frames) {
    Question question;
    if (frames.size() > 1) question.id = frames[1];
    if (frames.size() < 6 || frames[0] != "1.0") return question;
    question.domain = frames[2];
    question.address = frames[3];
    question.mechanism = frames[5];
    if (question.mechanism == "CURVE" && frames.size() == 7) question.key = z85_of(frames[6]);
    return question;
  }
};

}  // namespace

struct ZapHandler::Shared {
  explicit Shared(void* context)
      : handler(context, ZMQ_REP), stop_here(context, ZMQ_PAIR), stop_there(context, ZMQ_PAIR) {}

  RawSocket handler;  // The thread's, once it runs.
  RawSocket stop_here;
  RawSocket stop_there;  // The thread's.
  std::thread thread;
  std::atomic<std::uint64_t> refused = 0;

  Mutex mutex;
  AllowList allowed GUARDED_BY(mutex);
  std::vector<Refusal> refusals GUARDED_BY(mutex);

  void serve() {
    std::array<zmq_pollitem_t, 2> items{
        {{handler.get(), 0, ZMQ_POLLIN, 0}, {stop_there.get(), 0, ZMQ_POLLIN, 0}}};
    std::vector<std::string> frames;
    while (true) {
      if (zmq_poll(items.data(), items.size(), -1) < 0 && errno != EINTR) return;
      if ((items[1].revents & ZMQ_POLLIN) != 0) return;
      if ((items[0].revents & ZMQ_POLLIN) == 0) continue;
      if (!receive(handler.get(), frames)) return;
      answer(Question::of(frames));
    }
  }

  void answer(const Question& question) {
    const std::string why = refuse(question);
    const std::array<std::string, 6> reply{
        "1.0", question.id, why.empty() ? "200" : "400", why, why.empty() ? question.key : "", ""};
    for (std::size_t i = 0; i < reply.size(); ++i) {
      const int more = i + 1 < reply.size() ? ZMQ_SNDMORE : 0;
      (void)zmq_send(handler.get(), reply[i].data(), reply[i].size(), more);
    }
  }

  /// Why the question is answered with no; empty for yes.
  std::string refuse(const Question& question) {
    const MutexLock lock(mutex);
    std::string reason;
    const Identity* identity = question.key.empty() ? nullptr : allowed.find(question.key);
    if (question.key.empty()) {
      reason = "it has no CURVE key";
    } else if (identity == nullptr) {
      reason = "its key is not on the list";
    } else if (question.domain != name_of(identity->role)) {
      reason = "its key is for a " + std::string(name_of(identity->role)) +
               ", this port is for a " + question.domain;
    } else {
      return {};
    }
    ++refused;
    if (refusals.size() < kRefusalsKept) {
      refusals.push_back({question.address, question.key, reason});
    }
    return reason;
  }
};

ZapHandler::ZapHandler(const ZmqContext& context, AllowList allowed)
    : context_(context),
      allowed_(std::move(allowed)),
      shared_(std::make_unique<Shared>(context.context_.get())) {
  const MutexLock lock(shared_->mutex);
  shared_->allowed = allowed_;
}

Result<std::unique_ptr<ZapHandler>> ZapHandler::start(const ZmqContext& context,
                                                      AllowList allowed) {
  std::unique_ptr<ZapHandler> zap(new ZapHandler(context, std::move(allowed)));
  Shared& shared = *zap->shared_;
  const bool made = shared.handler.get() && shared.stop_here.get() && shared.stop_there.get();
  if (!made || zmq_bind(shared.handler.get(), kEndpoint) != 0 ||
      zmq_bind(shared.stop_there.get(), kStop) != 0 ||
      zmq_connect(shared.stop_here.get(), kStop) != 0) {
    return libzmq_says("cannot decide who may connect");
  }
  shared.thread = std::thread([&shared] { shared.serve(); });
  return zap;
}

ZapHandler::~ZapHandler() {
  if (!shared_->thread.joinable()) return;
  zmq_send(shared_->stop_here.get(), "", 0, 0);
  shared_->thread.join();
}

void ZapHandler::replace(AllowList allowed) {
  const MutexLock lock(shared_->mutex);
  shared_->allowed = allowed;
  allowed_ = std::move(allowed);
}

std::vector<Refusal> ZapHandler::take_refusals() {
  const MutexLock lock(shared_->mutex);
  return std::exchange(shared_->refusals, {});
}

std::uint64_t ZapHandler::refused() const { return shared_->refused; }

namespace {

enum class Handshake : std::uint8_t { kPassed, kRefused, kNoAnswer };

/// Connects with `keys` and tells how the handshake went.
Handshake try_handshake(const std::string& endpoint, const CurveKeys& keys,
                        const std::string& server_key) {
  constexpr const char* kEvents = "inproc://pa.zap.check";
  void* const context = zmq_ctx_new();
  Handshake outcome = Handshake::kNoAnswer;
  {
    const RawSocket dealer(context, ZMQ_DEALER);
    const int none = 0;
    zmq_setsockopt(dealer.get(), ZMQ_LINGER, &none, sizeof(none));
    zmq_setsockopt(dealer.get(), ZMQ_CURVE_SERVERKEY, server_key.data(), server_key.size());
    zmq_setsockopt(dealer.get(), ZMQ_CURVE_PUBLICKEY, keys.public_key.data(),
                   keys.public_key.size());
    zmq_setsockopt(dealer.get(), ZMQ_CURVE_SECRETKEY, keys.secret_key.data(),
                   keys.secret_key.size());
    zmq_socket_monitor(dealer.get(), kEvents,
                       ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
    const RawSocket events(context, ZMQ_PAIR);
    zmq_connect(events.get(), kEvents);
    zmq_setsockopt(events.get(), ZMQ_RCVTIMEO, &kCheckStepMs, sizeof(kCheckStepMs));
    zmq_connect(dealer.get(), endpoint.c_str());
    const TimePoint end = steady_now() + kCheckLimit / 2;
    std::vector<std::string> frames;
    while (outcome == Handshake::kNoAnswer && steady_now() < end) {
      if (!receive(events.get(), frames) || frames[0].size() < sizeof(std::uint16_t)) continue;
      std::uint16_t event = 0;
      std::memcpy(&event, frames[0].data(), sizeof(event));
      outcome = event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED ? Handshake::kPassed : Handshake::kRefused;
    }
    zmq_socket_monitor(dealer.get(), nullptr, 0);
  }
  zmq_ctx_term(context);
  return outcome;
}

}  // namespace

Status ZapHandler::check(const std::string& folder) {
  PA_ASSIGN(const CurveKeys server, make_curve_keys());
  PA_ASSIGN(const CurveKeys listed, make_curve_keys());
  PA_ASSIGN(const CurveKeys stranger, make_curve_keys());
  ZmqSocketOptions options;
  options.router = true;
  options.curve = ZmqCurve{server.public_key, server.secret_key, {}, "client"};
  PA_ASSIGN(ZmqSocket socket, ZmqSocket::open(context_, options));
  const std::string endpoint = "ipc://" + folder + "/check.sock";
  PA_TRY(socket.bind(endpoint));

  const AllowList real = allowed_;
  AllowList with_listed = allowed_;
  with_listed.add(listed.public_key, {Role::kClient, "check"});
  replace(std::move(with_listed));
  const Handshake good = try_handshake(endpoint, listed, server.public_key);
  replace(real);
  const Handshake bad = try_handshake(endpoint, stranger, server.public_key);
  (void)take_refusals();
  if (good != Handshake::kPassed) return internal("a key on the list was not let in");
  if (bad == Handshake::kPassed) return internal("a key that is not on the list was let in");
  if (bad != Handshake::kRefused) return internal("a key that is not on the list got no answer");
  return {};
}

}  // namespace pa
