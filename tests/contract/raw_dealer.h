#pragma once

#include <gtest/gtest.h>
#include <zmq.h>

#include <optional>
#include <string>
#include <vector>

#include "shared/io/curve_keys.h"

namespace pa {

/// libzmq without our rules, as a stranger might use it; with keys, as one who has stolen them.
class RawDealer {
 public:
  /// With a routing id of its own choice, unless that is empty.
  RawDealer(const std::string& endpoint, const std::optional<PeerKeys>& keys,
            const std::string& routing_id = {})
      : context_(zmq_ctx_new()), socket_(zmq_socket(context_, ZMQ_DEALER)) {
    const int none = 0;
    zmq_setsockopt(socket_, ZMQ_LINGER, &none, sizeof(none));
    if (!routing_id.empty()) set(ZMQ_ROUTING_ID, routing_id);
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
    for (std::size_t i = 0; i < frames.size(); ++i) send(frames[i], i + 1 < frames.size());
  }
  void send(const std::string& frame, bool more) {
    EXPECT_GE(zmq_send(socket_, frame.data(), frame.size(), more ? ZMQ_SNDMORE : 0), 0);
  }

 private:
  void set(int option, const std::string& key) {
    EXPECT_EQ(zmq_setsockopt(socket_, option, key.data(), key.size()), 0);
  }

  void* context_;
  void* socket_;
};

}  // namespace pa
