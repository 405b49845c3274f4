#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clients/cpp/client_job.h"
#include "shared/core/result.h"
#include "shared/core/time.h"
#include "shared/io/loop.h"
#include "shared/io/pollable.h"
#include "shared/io/transport.h"
#include "shared/wire/messages.h"
#include "shared/wire/streams.h"

namespace pa {

/// A fresh request id, from the system's random numbers.
[[nodiscard]] RequestId make_request_id();

struct ClientOptions {
  Duration first_answer = std::chrono::seconds{10};  ///< As JobOptions.
  std::optional<Duration> patience;                  ///< As JobOptions.
  std::uint64_t window_bytes = 8u << 20;             ///< As JobOptions.
  std::string keys;  ///< For tcp://: where this client's keys are, as read_peer_keys().
};

/// A connection to a coordinator that runs one request after the other.
///
/// Thread: one at a time. Calls block until they have an answer.
class Client {
 public:
  /// Does not wait for the coordinator to be there: the first request does.
  ///
  /// `endpoint` is "ipc:///PATH" of a client socket or a coordinator's "tcp://HOST:PORT".
  ///
  /// Errors: kInvalid, the endpoint is none, or the keys for it; kInternal, no socket could be made.
  [[nodiscard]] static Result<std::unique_ptr<Client>> connect(const std::string& endpoint,
                                                               ClientOptions options);

  /// Over a connection made elsewhere, of which `source` tells when it has something. `endpoint` is
  /// for messages.
  Client(std::unique_ptr<ClientTransport> transport, Pollable& source, std::string endpoint,
         ClientOptions options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Ends the sleep of calls when `pollable` has something, so that they look at `cancelled` again.
  void watch(Pollable& pollable) { loop_.watch(pollable); }

  /// Runs a request. The result's bytes are where callbacks.on_accepted said; call acknowledge() once
  /// they are safe, or the coordinator keeps its copy until it tires of it. `cancelled`, if given, is
  /// asked every now and then: once true, the coordinator is told to stop.
  ///
  /// Errors: those of the coordinator; kUnavailable, it did not answer in time; kCancelled.
  [[nodiscard]] Result<Outcome> run(Submission submission, JobCallbacks callbacks,
                                    const std::function<bool()>& cancelled = {});

  void acknowledge(const RequestId& request);

  /// Waits until the coordinator has read what was sent so far, or for `limit`. Before the process
  /// ends, since what a socket still holds goes with it.
  void settle(Duration limit);

  /// Bytes of inputs and results copied so far.
  [[nodiscard]] std::uint64_t copied_bytes() const {
    return memory_.copied_bytes() + streams_.copied_bytes();
  }

  /// Who would do what if the request were run now. Sends no tensor.
  [[nodiscard]] Result<Accepted> plan(Submission submission);

  /// What the cluster is doing. kUnavailable if no answer comes within `limit`.
  [[nodiscard]] Result<ClusterStatus> status(Duration limit);

  /// Asks that a request be stopped, whoever sent it; its own client learns of it.
  ///
  /// Errors: kInvalid, no such request; kUnavailable as status().
  [[nodiscard]] Status cancel(const RequestId& request, Duration limit);

 private:
  using Handler = std::function<void(Incoming&, TimePoint now)>;
  using Answer = std::function<bool(Message&)>;  ///< Whether that was it.

  /// Errors: kInvalid, a message is too large ever to be sent; it is dropped.
  [[nodiscard]] Status flush();
  /// Sleeps until something came, or `until`; not for long while the outbox is stuck.
  void wait(TimePoint until);
  void receive_all(const Handler& handler);
  [[nodiscard]] Status ask(const Message& question, Duration limit, const Answer& answered);

  std::unique_ptr<ClientTransport> transport_;
  ClientMemory memory_;
  Loop loop_;
  std::string endpoint_;
  ClientOptions options_;
  Streams streams_;
  std::deque<Outgoing> outbox_;  ///< In order; holds what the connection would not take yet.
  std::uint64_t next_buffer_ = 1;
  std::uint64_t next_tag_ = 1;
};

}  // namespace pa
