#include "tests/support/sim_network.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <random>
#include <utility>

#include "shared/io/framing.h"
#include "shared/io/segment_socket.h"
#include "shared/wire/codec.h"

namespace pa {
namespace {

/// A message under way: encoded, or as it is if the codec is left out.
struct Letter {
  std::string header;
  std::optional<Message> message;
  Buffer payload;
  std::size_t frames = 1;

  [[nodiscard]] std::uint64_t bytes() const { return header.size() + payload.size(); }
};

struct Direction {
  std::size_t under_way = 0;  ///< Sent, and not yet taken.
  TimePoint last_due;
  TimePoint free_at;  ///< When the bytes sent so far have left.
};

/// From a client's start, or its reconnection, to its end.
struct Connection {
  Channel channel = Channel::kClient;
  std::optional<PeerId> peer;
  bool cut = false;
  bool closing = false;  ///< By the client; the server has yet to notice.
  Direction up;
  Direction down;
  std::deque<Incoming> inbox;  ///< Of the client.
  SegmentInbox shared_up;
  SegmentInbox shared_down;
};

using ConnectionId = std::uint64_t;

struct Arrival {
  ConnectionId connection = 0;
  bool up = false;
  bool end = false;  ///< Of the connection, instead of a letter.
  Letter letter;
};

Buffer copy_of(const std::string& bytes) {
  auto memory = std::make_shared<std::string>(bytes);
  return {std::shared_ptr<std::byte>(memory, reinterpret_cast<std::byte*>(memory->data())),
          memory->size()};
}

}  // namespace

struct SimNetwork::State {
  State(std::uint64_t seed, const SimNetworkOptions& o) : options(o), random(seed) {}

  SimNetworkOptions options;
  std::mt19937_64 random;
  TimePoint now;
  std::uint64_t last_sequence = 0;
  std::uint64_t last_peer = 0;
  ConnectionId last_connection = 0;
  std::map<ConnectionId, Connection> connections;
  std::map<PeerId, ConnectionId> peers;
  std::map<std::pair<TimePoint, std::uint64_t>, Arrival>
      arrivals;                                         // By time, then order of sending.
  std::deque<std::pair<ConnectionId, Incoming>> inbox;  // Of the server.
  std::uint64_t rejected = 0;
  std::vector<Client*> clients;

  /// Uniform in [0, 1).
  double chance() { return static_cast<double>(random() >> 11) * 0x1p-53; }

  bool share(ConnectionId id, bool up, std::uint64_t number, const Segment& segment) {
    const auto found = connections.find(id);
    if (options.sharing <= 0 || found == connections.end() || found->second.cut) return false;
    if (chance() >= options.sharing) return false;
    (up ? found->second.shared_up : found->second.shared_down).put(number, segment);
    return true;
  }

  std::optional<Segment> shared(ConnectionId id, bool up, std::uint64_t number) {
    const auto found = connections.find(id);
    if (found == connections.end()) return std::nullopt;
    return (up ? found->second.shared_up : found->second.shared_down).take(number);
  }

  ConnectionId open(Channel channel) {
    connections[++last_connection].channel = channel;
    return last_connection;
  }

  /// Checks a message and makes it a letter.
  Result<Letter> write(Channel channel, const Message& message, const Buffer& payload) const {
    Letter letter;
    if (options.codec) {
      letter.header = encode(message);
    } else {
      letter.message = message;
    }
    PA_TRY(check_frames(frame_limits(channel, options.chunk_bytes), message, letter.header.size(),
                        payload.size()));
    letter.payload = payload;
    letter.frames = payload.empty() ? 1 : 2;
    return letter;
  }

  Result<Message> read(Channel channel, Letter& letter) const {
    if (letter.message) return std::move(*letter.message);
    return read_frames(frame_limits(channel, options.chunk_bytes),
                       std::as_bytes(std::span(letter.header)), letter.payload.size(),
                       letter.frames);
  }

  Status post(ConnectionId id, bool up, Letter letter) {
    Connection& connection = connections.at(id);
    Direction& direction = up ? connection.up : connection.down;
    if (direction.under_way >= options.queue_messages) return overloaded("the queue is full");
    if (options.bytes_per_second > 0) {
      direction.free_at =
          std::max(direction.free_at, now) +
          from_seconds(static_cast<double>(letter.bytes()) / options.bytes_per_second);
    }
    const bool lost = chance() < options.loss;
    const bool doubled = chance() < options.doubling;
    if (lost || connection.cut) return {};
    if (doubled) schedule(id, up, letter);
    schedule(id, up, std::move(letter));
    return {};
  }

  void schedule(ConnectionId id, bool up, Letter letter) {
    Connection& connection = connections.at(id);
    Direction& direction = up ? connection.up : connection.down;
    TimePoint due = std::max(direction.free_at, now) + options.latency +
                    Duration(static_cast<Duration::rep>(
                        static_cast<double>(options.jitter.count()) * chance()));
    if (!options.reordering) due = std::max(due, direction.last_due);
    direction.last_due = std::max(direction.last_due, due);
    ++direction.under_way;
    arrivals.emplace(std::pair(due, ++last_sequence), Arrival{id, up, false, std::move(letter)});
  }

  /// The client is gone; what it sent before arrives, and then the server notices.
  void close(ConnectionId id) {
    Connection& connection = connections.at(id);
    connection.closing = true;
    const TimePoint due = std::max(now + options.latency, connection.up.last_due);
    arrivals.emplace(std::pair(due, ++last_sequence), Arrival{id, true, true, {}});
  }

  void arrive(Arrival arrival) {
    const auto found = connections.find(arrival.connection);
    if (found == connections.end()) return;
    Connection& connection = found->second;
    if (arrival.end) {
      if (connection.peer) peers.erase(*connection.peer);
      connections.erase(found);
      return;
    }
    Direction& direction = arrival.up ? connection.up : connection.down;
    if (connection.cut || (connection.closing && !arrival.up)) {
      --direction.under_way;
      return;
    }
    Result<Message> message = read(connection.channel, arrival.letter);
    if (!message.ok()) {
      --direction.under_way;
      if (arrival.up) ++rejected;
      return;
    }
    Incoming incoming{
        PeerId{0}, connection.channel, std::move(*message), std::move(arrival.letter.payload),
        {},        options.sharing > 0};
    if (!arrival.up) {
      connection.inbox.push_back(std::move(incoming));
      return;
    }
    if (!connection.peer) {
      connection.peer = PeerId{++last_peer};
      peers[*connection.peer] = arrival.connection;
    }
    incoming.peer = *connection.peer;
    inbox.emplace_back(arrival.connection, std::move(incoming));
  }
};

class SimNetwork::Server final : public ServerTransport {
 public:
  explicit Server(State& state) : state_(state) {}

  Status send(PeerId peer, const Message& message, const Buffer& payload) override {
    const auto known = state_.peers.find(peer);
    if (known == state_.peers.end()) return unavailable("the peer is gone");
    PA_ASSIGN(Letter letter,
              state_.write(state_.connections.at(known->second).channel, message, payload));
    return state_.post(known->second, false, std::move(letter));
  }

  std::optional<Incoming> receive() override {
    if (state_.inbox.empty()) return std::nullopt;
    auto [id, incoming] = std::move(state_.inbox.front());
    state_.inbox.pop_front();
    if (const auto from = state_.connections.find(id); from != state_.connections.end()) {
      --from->second.up.under_way;
    }
    return std::move(incoming);
  }

  std::uint64_t rejected() const override { return state_.rejected; }

  bool share(PeerId peer, std::uint64_t id, const Segment& segment) override {
    const auto known = state_.peers.find(peer);
    return known != state_.peers.end() && state_.share(known->second, false, id, segment);
  }

  std::optional<Segment> shared(PeerId peer, std::uint64_t id) override {
    const auto known = state_.peers.find(peer);
    if (known == state_.peers.end()) return std::nullopt;
    return state_.shared(known->second, true, id);
  }

 private:
  State& state_;
};

class SimNetwork::Client final : public ClientTransport {
 public:
  Client(std::shared_ptr<State> state, Channel channel)
      : state_(std::move(state)), channel_(channel), connection_(state_->open(channel)) {
    state_->clients.push_back(this);
  }
  ~Client() override {
    std::erase(state_->clients, this);
    state_->close(connection_);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  Status send(const Message& message, const Buffer& payload) override {
    PA_ASSIGN(Letter letter, state_->write(channel_, message, payload));
    return state_->post(connection_, true, std::move(letter));
  }

  std::optional<Incoming> receive() override {
    Connection& connection = state_->connections.at(connection_);
    if (connection.inbox.empty()) return std::nullopt;
    Incoming incoming = std::move(connection.inbox.front());
    connection.inbox.pop_front();
    --connection.down.under_way;
    return incoming;
  }

  Status reconnect() override {
    state_->close(connection_);
    reopen();
    return {};
  }

  std::uint64_t sharing() override { return state_->options.sharing > 0 ? connection_ : 0; }
  bool share(std::uint64_t id, const Segment& segment) override {
    return state_->share(connection_, true, id, segment);
  }
  std::optional<Segment> shared(std::uint64_t id) override {
    return state_->shared(connection_, false, id);
  }

  /// A new connection over the same link.
  void reopen() {
    const bool cut =
        state_->connections.contains(connection_) && state_->connections.at(connection_).cut;
    connection_ = state_->open(channel_);
    state_->connections.at(connection_).cut = cut;
  }

  [[nodiscard]] ConnectionId connection() const { return connection_; }

 private:
  std::shared_ptr<State> state_;
  Channel channel_;
  ConnectionId connection_;
};

SimNetwork::SimNetwork(std::uint64_t seed, const SimNetworkOptions& options)
    : state_(std::make_shared<State>(seed, options)), server_(std::make_unique<Server>(*state_)) {}
SimNetwork::~SimNetwork() = default;

ServerTransport& SimNetwork::server() { return *server_; }

std::unique_ptr<ClientTransport> SimNetwork::connect(Channel channel) {
  return std::make_unique<Client>(state_, channel);
}

void SimNetwork::advance_to(TimePoint now) {
  PA_CHECK(now >= state_->now);
  while (!state_->arrivals.empty() && state_->arrivals.begin()->first.first <= now) {
    auto next = state_->arrivals.extract(state_->arrivals.begin());
    state_->now = next.key().first;
    state_->arrive(std::move(next.mapped()));
  }
  state_->now = now;
}

std::optional<TimePoint> SimNetwork::next_event() const {
  if (state_->arrivals.empty()) return std::nullopt;
  return state_->arrivals.begin()->first.first;
}

void SimNetwork::cut(const ClientTransport& client, bool is_cut) {
  state_->connections.at(dynamic_cast<const Client&>(client).connection()).cut = is_cut;
}

void SimNetwork::restart_server() {
  state_->arrivals.clear();
  state_->inbox.clear();
  state_->peers.clear();
  std::map<ConnectionId, Connection> before = std::exchange(state_->connections, {});
  for (Client* client : state_->clients) {
    const Connection& old = before.at(client->connection());
    state_->connections[client->connection()].cut = old.cut;
    const ConnectionId gone = client->connection();
    client->reopen();
    state_->connections.erase(gone);
  }
}

void SimNetwork::inject(const ClientTransport& client, std::vector<std::string> frames) {
  Letter letter;
  letter.frames = frames.size();
  if (!frames.empty()) letter.header = std::move(frames[0]);
  if (frames.size() > 1) letter.payload = copy_of(frames[1]);
  state_->schedule(dynamic_cast<const Client&>(client).connection(), true, std::move(letter));
}

std::optional<PeerId> SimNetwork::peer_of(const ClientTransport& client) const {
  return state_->connections.at(dynamic_cast<const Client&>(client).connection()).peer;
}

}  // namespace pa
