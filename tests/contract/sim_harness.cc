#include "tests/contract/harness.h"
#include "tests/support/sim_network.h"

namespace pa {
namespace {

class SimHarness final : public Harness {
 public:
  SimHarness(std::uint64_t seed, const SimNetworkOptions& options) : network_(seed, options) {}

  ServerTransport& server() override { return network_.server(); }

  std::unique_ptr<ClientTransport> connect(Channel channel) override {
    return network_.connect(channel);
  }

  void pass_time() override {
    now_ += std::chrono::microseconds{50};
    network_.advance_to(now_);
  }

  TimePoint now() const override { return now_; }

  void inject(Channel channel, std::vector<std::string> frames) override {
    injectors_.push_back(network_.connect(channel));
    network_.inject(*injectors_.back(), std::move(frames));
  }

 private:
  SimNetwork network_;
  TimePoint now_;
  std::vector<std::unique_ptr<ClientTransport>> injectors_;
};

}  // namespace

std::unique_ptr<Harness> make_sim_harness() {
  SimNetworkOptions options;
  options.queue_messages = Harness::kQueueMessages;
  options.jitter = std::chrono::microseconds{30};
  return std::make_unique<SimHarness>(1, options);
}

std::unique_ptr<Harness> make_sharing_sim_harness() {
  SimNetworkOptions options;
  options.sharing = 1;
  return std::make_unique<SimHarness>(1, options);
}

std::unique_ptr<Harness> make_bad_sim_harness(std::uint64_t seed) {
  SimNetworkOptions options;
  options.loss = 0.05;
  options.doubling = 0.05;
  options.reordering = true;
  options.jitter = std::chrono::microseconds{500};
  return std::make_unique<SimHarness>(seed, options);
}

}  // namespace pa
