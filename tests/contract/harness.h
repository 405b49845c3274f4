#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "shared/core/time.h"
#include "shared/io/transport.h"

namespace pa {

/// What a test asks of a transport's environment, so that one suite runs over all of them.
class Harness {
 public:
  static constexpr std::uint64_t kChunkBytes = 1u << 20;
  static constexpr int kQueueMessages = 64;  ///< On control, a side.

  virtual ~Harness() = default;

  [[nodiscard]] virtual ServerTransport& server() = 0;
  [[nodiscard]] virtual std::unique_ptr<ClientTransport> connect(Channel channel) = 0;

  /// Lets a little time pass, in which messages may move.
  virtual void pass_time() = 0;
  [[nodiscard]] virtual TimePoint now() const = 0;

  /// Sends frames as they are to the server, from a connection of its own.
  virtual void inject(Channel channel, std::vector<std::string> frames) = 0;

  /// Lets time pass until `condition`, for some seconds. Returns whether it came true.
  bool wait_until(const std::function<bool()>& condition) {
    const TimePoint end = now() + std::chrono::seconds{120};
    while (!condition()) {
      if (now() >= end) return false;
      pass_time();
    }
    return true;
  }
};

/// A transport by name.
struct Environment {
  std::string name;
  std::function<std::unique_ptr<Harness>()> make;

  friend void PrintTo(const Environment& environment, std::ostream* out) {
    *out << environment.name;
  }
};

[[nodiscard]] std::unique_ptr<Harness> make_sim_harness();
/// Where memory is shared.
[[nodiscard]] std::unique_ptr<Harness> make_sharing_sim_harness();
/// With loss, doubling and overtaking.
[[nodiscard]] std::unique_ptr<Harness> make_bad_sim_harness(std::uint64_t seed);
[[nodiscard]] std::unique_ptr<Harness> make_ipc_harness();
/// TCP on loopback, with CURVE.
[[nodiscard]] std::unique_ptr<Harness> make_curve_harness();
/// That, through a proxy that splits and delays what it carries.
[[nodiscard]] std::unique_ptr<Harness> make_proxy_harness();

}  // namespace pa
