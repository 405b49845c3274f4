#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "shared/io/clock.h"
#include "shared/io/loop.h"
#include "shared/io/zmq_transport.h"
#include "tests/contract/harness.h"
#include "tests/contract/raw_dealer.h"
#include "tests/support/free_tcp_address.h"
#include "tests/support/tcp_proxy.h"

namespace pa {
namespace {

enum class Path { kIpc, kCurve, kCurveByProxy };

/// ipc://, or TCP on loopback with keys.
class ZmqHarness final : public Harness {
 public:
  explicit ZmqHarness(Path path) {
    options_.control_messages = kQueueMessages;
    options_.chunk_bytes = kChunkBytes;
    std::string pattern = (std::filesystem::temp_directory_path() / "pa-contract-XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    endpoints_ = ipc_endpoints(directory_);
    std::optional<TcpListener> tcp;
    if (path != Path::kIpc) {
      client_keys_ = worker_keys_ = PeerKeys{};
      tcp = TcpListener{free_tcp_address(), *make_curve_keys(), {}};
      for (auto* keys : {&client_keys_, &worker_keys_}) {
        (*keys)->server_key = tcp->keys.public_key;
        (*keys)->own = *make_curve_keys();
      }
      tcp->allowed.add(client_keys_->own.public_key, {Role::kClient, "tester"});
      tcp->allowed.add(worker_keys_->own.public_key, {Role::kWorker, "box:*"});
      if (path == Path::kCurveByProxy) proxy_ = std::make_unique<TcpProxy>(tcp->address, 1);
      reached_ = *tcp_endpoints(proxy_ ? proxy_->address() : tcp->address);
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
  std::unique_ptr<TcpProxy> proxy_;
  std::unique_ptr<ZmqServer> server_;
  ZmqContext context_;
  Loop loop_;
  std::vector<std::unique_ptr<RawDealer>> strangers_;
};

}  // namespace

std::unique_ptr<Harness> make_ipc_harness() { return std::make_unique<ZmqHarness>(Path::kIpc); }

std::unique_ptr<Harness> make_curve_harness() { return std::make_unique<ZmqHarness>(Path::kCurve); }

std::unique_ptr<Harness> make_proxy_harness() {
  return std::make_unique<ZmqHarness>(Path::kCurveByProxy);
}

}  // namespace pa
