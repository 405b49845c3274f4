#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "shared/core/result.h"
#include "shared/io/descriptor.h"
#include "shared/io/segment.h"

/// How segments go from process to process: as descriptors over a Unix socket, "share.sock" beside the
/// ipc sockets of a run directory. Messages over ZeroMQ tell what they are for, by number; what was
/// sent here before such a message is here when the message is.
///
/// Nothing blocks; thread: the loop's only. A segment that is never taken makes room for later ones.
namespace pa {

/// "RUN_DIR/share.sock".
[[nodiscard]] std::string share_path(const std::string& run_dir);

/// Segments that came over one connection and were not taken yet.
class SegmentInbox {
 public:
  static constexpr std::size_t kMost = 64;

  void put(std::uint64_t id, Segment segment);
  [[nodiscard]] std::optional<Segment> take(std::uint64_t id);

 private:
  std::deque<std::pair<std::uint64_t, Segment>> segments_;  // Oldest first.
};

/// The coordinator's end: many connections, each known by the token that its process chose.
class SegmentServer {
 public:
  /// A socket that a dead process left must be gone already. kInternal if the system refuses.
  [[nodiscard]] static Result<std::unique_ptr<SegmentServer>> listen(const std::string& path);

  /// Readable when turn() has something to do.
  [[nodiscard]] int descriptor() const { return epoll_.get(); }
  /// Takes what came: connections, segments, ends.
  void turn();

  [[nodiscard]] bool connected(std::uint64_t token) const { return connections_.contains(token); }

  /// False if the connection is gone or takes no more now.
  [[nodiscard]] bool send(std::uint64_t token, std::uint64_t id, const Segment& segment);
  /// nullopt if it did not come, or is none that can be trusted not to shrink.
  [[nodiscard]] std::optional<Segment> take(std::uint64_t token, std::uint64_t id);

  /// Tokens of connections that ended since the last call.
  [[nodiscard]] std::vector<std::uint64_t> take_ended() { return std::exchange(ended_, {}); }

 private:
  struct Connection {
    Descriptor socket;
    SegmentInbox inbox;
  };

  SegmentServer(Descriptor listener, Descriptor epoll)
      : listener_(std::move(listener)), epoll_(std::move(epoll)) {}
  void accept();
  void read(int socket);
  void end(int socket);

  Descriptor listener_;
  Descriptor epoll_;
  std::map<int, Descriptor> strangers_;  // Connected, no token yet. By descriptor.
  std::map<std::uint64_t, Connection> connections_;
  std::map<int, std::uint64_t> tokens_;  // By descriptor.
  std::vector<std::uint64_t> ended_;
};

/// A client's or worker's end.
class SegmentClient {
 public:
  /// kUnavailable if nobody listens there.
  [[nodiscard]] static Result<std::unique_ptr<SegmentClient>> connect(const std::string& path);

  /// Random, never 0. Tells the coordinator which of its connections this is.
  [[nodiscard]] std::uint64_t token() const { return token_; }
  /// False once the other end is known to be gone.
  [[nodiscard]] bool alive();
  [[nodiscard]] bool send(std::uint64_t id, const Segment& segment);
  [[nodiscard]] std::optional<Segment> take(std::uint64_t id);

 private:
  SegmentClient(Descriptor socket, std::uint64_t token)
      : socket_(std::move(socket)), token_(token) {}
  void read();

  Descriptor socket_;
  std::uint64_t token_ = 0;
  bool alive_ = true;
  SegmentInbox inbox_;
};

}  // namespace pa
