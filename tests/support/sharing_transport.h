#pragma once

#include <map>
#include <optional>

#include "shared/io/transport.h"

namespace pa::test {

/// A connection that shares memory and carries nothing else. What is shared is here to see.
class SharingTransport final : public ClientTransport {
 public:
  Status send(const Message&, const Buffer&) override { return {}; }
  std::optional<Incoming> receive() override { return std::nullopt; }
  Status reconnect() override { return {}; }
  std::uint64_t sharing() override { return 1; }
  bool share(std::uint64_t id, const Segment& segment) override {
    ++shares;
    given.insert_or_assign(id, segment);
    return true;
  }
  std::optional<Segment> shared(std::uint64_t id) override {
    const auto found = offered.find(id);
    return found == offered.end() ? std::nullopt : std::optional(found->second);
  }

  int shares = 0;
  std::map<std::uint64_t, Segment> given;    ///< By the client.
  std::map<std::uint64_t, Segment> offered;  ///< To the client.
};

}  // namespace pa::test
