#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "shared/core/result.h"
#include "shared/io/allow_list.h"
#include "shared/io/zmq_socket.h"

namespace pa {

/// A connection that was not let in.
struct Refusal {
  std::string address;  ///< Of the peer.
  std::string key;      ///< Its public key; empty if it came without CURVE.
  std::string reason;
};

/// Decides for libzmq who may connect to a context's CURVE sockets (ZAP, RFC 27), in a thread of its
/// own. A socket's domain is the role that it is for; a key that is not on the list, or there for
/// another role, is refused before any of its messages are read.
///
/// Without one, libzmq lets every key in: start it before the first bind(), and ask check().
class ZapHandler {
 public:
  /// Errors: kInternal, the context has a handler already or libzmq refuses.
  [[nodiscard]] static Result<std::unique_ptr<ZapHandler>> start(const ZmqContext& context,
                                                                 AllowList allowed);

  /// Ends the thread. Sockets with CURVE let nobody in from then on.
  ~ZapHandler();
  ZapHandler(const ZapHandler&) = delete;
  ZapHandler& operator=(const ZapHandler&) = delete;

  /// That a listed key comes in and a key made up just now does not, tried at a socket in `folder`,
  /// which must be a run directory. Takes some milliseconds, at most 5 s.
  ///
  /// Errors: kInternal, in words: this process must not listen.
  [[nodiscard]] Status check(const std::string& folder);

  /// Whom a key belongs to; nullptr if it is not, or no longer, allowed. For every message: libzmq
  /// keeps those connected who were let in once. Thread: the one that calls replace().
  [[nodiscard]] const Identity* find(std::string_view public_key) const {
    return allowed_.find(public_key);
  }

  /// From now on this list counts. Any one thread.
  void replace(AllowList allowed);

  /// Connections refused since the last call; of many the first few.
  [[nodiscard]] std::vector<Refusal> take_refusals();
  [[nodiscard]] std::uint64_t refused() const;

 private:
  struct Shared;
  ZapHandler(const ZmqContext& context, AllowList allowed);

  ZmqContext context_;
  AllowList allowed_;  ///< As the thread has it, for find() without a lock.
  std::unique_ptr<Shared> shared_;
};

}  // namespace pa
