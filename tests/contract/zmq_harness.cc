#include <gtest/gtest.h>
#include <zmq.h>

#include <cstdlib>
#include <filesystem>

#include "shared/io/clock.h"
#include "shared/io/loop.h"
#include "shared/io/zmq_transport.h"
#include "tests/contract/harness.h"
#include "tests/support/free_tcp_address.h"

namespace pa {
namespace {

/// libzmq without our rules, as a stranger might use it; with keys, as one who has stolen them.
class RawDealer {
 public:
  RawDealer(const std::string& endpoint, const std::optional<PeerKeys>& keys)
      : context_(zmq_ctx_new()), socket_(zmq_socket(context_, ZMQ_DEALER)) {
    const int none = 0;
    zmq_setsockopt(socket_, ZMQ_LINGER, &none, sizeof(none));
    if (keys) {
      set(ZMQ_CURVE_SERVERKEY, keys->server_key);
      set(ZMQ_CURVE_PUBLICKEY, keys->own.public_key);
      set(ZMQ_CURVE_SECRETKEY, keys->own.secret_key);
    }
    EXPECT_EQ(zmq_connect(socket_, endpoint.c_str()), 0);
  }
  ~RawDealer() {
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }
  RawDealer(const RawDealer&) = delete;
  RawDealer& operator=(const RawDealer&) = delete;

  void send(const std::vector<std::string>& frames) {
    for (std::size_t i = 0; i < frames.size(); ++i) {
      const int more = i + 1 < frames.size() ? ZMQ_SNDMORE : 0;
      EXPECT_GE(zmq_send(socket_, frames[i].data(), frames[i].size(), more), 0);
    }
  }

 private:
  void set(int option, const std::string& key) {
    EXPECT_EQ(zmq_setsockopt(socket_, option, key.data(), key.size()), 0);
  }

  void* context_;
  void* socket_;
};

/// ipc:// or, with keys, TCP on loopback.
class ZmqHarness final : public Harness {
 public:
  explicit ZmqHarness(bool curve) {
    options_.control_messages = kQueueMessages;
    options_.chunk_bytes = kChunkBytes;
    std::string pattern = (std::filesystem::temp_directory_path() / "pa-contract-XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    endpoints_ = ipc_endpoints(directory_);
    std::optional<TcpListener> tcp;
    if (curve) {
      client_keys_ = worker_keys_ = PeerKeys{};
      tcp = TcpListener{free_tcp_address(), *make_curve_keys(), {}};
      for (auto* keys : {&client_keys_, &worker_keys_}) {
        (*keys)->server_key = tcp->keys.public_key;
        (*keys)->own = *make_curve_keys();
      }
      tcp->allowed.add(client_keys_->own.public_key, {Role::kClient, "tester"});
      tcp->allowed.add(worker_keys_->own.public_key, {Role::kWorker, "box:*"});
      reached_ = *tcp_endpoints(tcp->address);
    } else {
      reached_ = endpoints_;
    }
    Result<std::unique_ptr<ZmqServer>> server =
        ZmqServer::bind(endpoints_, options_, std::move(tcp));
    if (!server.ok()) {
      ADD_FAILURE() << server.error().message;
      std::abort();
    }
    server_ = std::move(*server);
    loop_.watch(*server_);
  }

  ~ZmqHarness() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  ServerTransport& server() override { return *server_; }

  std::unique_ptr<ClientTransport> connect(Channel channel) override {
    Result<std::unique_ptr<ZmqClient>> client =
        ZmqClient::connect(context_, endpoint(channel), channel, options_, keys(channel));
    EXPECT_TRUE(client.ok());
    return std::move(*client);
  }

  void pass_time() override { loop_.wait(loop_.now() + std::chrono::microseconds{200}); }

  TimePoint now() const override { return steady_now(); }

  void inject(Channel channel, std::vector<std::string> frames) override {
    strangers_.push_back(std::make_unique<RawDealer>(endpoint(channel), keys(channel)));
    strangers_.back()->send(frames);
  }

 private:
  [[nodiscard]] std::string endpoint(Channel channel) const {
    switch (channel) {
      case Channel::kClient:
        return reached_.client;
      case Channel::kWorkerControl:
        return reached_.control;
      case Channel::kWorkerData:
        break;
    }
    return reached_.data;
  }

  [[nodiscard]] const std::optional<PeerKeys>& keys(Channel channel) const {
    return channel == Channel::kClient ? client_keys_ : worker_keys_;
  }

  ZmqOptions options_;
  std::string directory_;
  Endpoints endpoints_;
  Endpoints reached_;  // By clients.
  std::optional<PeerKeys> client_keys_;
  std::optional<PeerKeys> worker_keys_;
  std::unique_ptr<ZmqServer> server_;
  ZmqContext context_;
  Loop loop_;
  std::vector<std::unique_ptr<RawDealer>> strangers_;
};

}  // namespace

std::unique_ptr<Harness> make_ipc_harness() { return std::make_unique<ZmqHarness>(false); }

std::unique_ptr<Harness> make_curve_harness() { return std::make_unique<ZmqHarness>(true); }

}  // namespace pa
