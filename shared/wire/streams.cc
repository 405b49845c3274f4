#include "shared/wire/streams.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "shared/wire/buffer_pool.h"

namespace pa {
namespace {

constexpr int kMostDoublings = 3;

/// Bytes that lie together in one buffer, from position `start` of the stream on.
struct Stretch {
  std::uint64_t start = 0;
  std::uint64_t at = 0;      ///< Where they go in the receiver's buffer.
  std::uint64_t offset = 0;  ///< Where they lie in ours.
  std::uint64_t bytes = 0;
  Buffer buffer;

  [[nodiscard]] std::uint64_t end() const { return start + bytes; }

  [[nodiscard]] bool continued_by(const Piece& piece, const Buffer& from) const {
    return buffer.data() == from.data() && buffer.owner() == from.owner() &&
           buffer.size() == from.size() && piece.offset == offset + bytes && piece.at == at + bytes;
  }
};

/// A named buffer.
class Place {
 public:
  explicit Place(Buffer buffer) : bytes_(buffer.size()), buffer_(std::move(buffer)) {}
  explicit Place(LazyBuffer lazy) : bytes_(lazy.bytes), lazy_(std::move(lazy)) {}

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  /// Empty if it cannot be mapped.
  const Buffer& map(std::uint64_t& mapped_bytes) {
    if (lazy_.map) {
      buffer_ = std::exchange(lazy_.map, nullptr)();
      mapped_bytes += buffer_.size();
    }
    return buffer_;
  }

  /// `at` and the size must fit.
  [[nodiscard]] bool write(std::uint64_t at, std::span<const std::byte> source) const {
    if (lazy_.write) return lazy_.write(at, source);
    if (buffer_.empty()) return false;
    std::memcpy(buffer_.data() + at, source.data(), source.size());
    return true;
  }

 private:
  std::uint64_t bytes_;
  Buffer buffer_;
  LazyBuffer lazy_;
};

/// The first position from `position` on that is in none of `ranges` (ascending).
std::uint64_t past(const std::vector<Range>& ranges, std::uint64_t position) {
  for (const Range& range : ranges) {
    if (position < range.offset) break;
    position = std::max(position, range.offset + range.bytes);
  }
  return position;
}

/// Whether they are as Want says, and none goes beyond `end`.
bool in_order(const std::vector<Range>& ranges, std::uint64_t end) {
  std::uint64_t upto = 0;
  for (const Range& range : ranges) {
    if (range.offset < upto || range.offset > end || range.bytes > end - range.offset) return false;
    upto = range.offset + range.bytes;
  }
  return ranges.size() <= kMostRanges;
}

/// One end of a stream: what both directions need.
struct End {
  std::optional<PeerId> peer;  ///< None: forgotten, until opened again.
  TimePoint heard;             ///< When the peer last moved this stream on, or was last reminded.
  int doublings = 0;           ///< Of `retry`, while nobody answers.
  std::optional<TimePoint> paused;  ///< The transport had no room; try again then.
  std::optional<TimePoint> timer;   ///< As set in State::timers.
};

struct Receiver : End {
  static constexpr bool kSends = false;

  std::shared_ptr<Place> place;
  std::vector<Range> places;  ///< Of it, that may be written to; empty: all.
  std::vector<Range> have;    ///< Of the stream, ascending: in the buffer from the start.
  std::uint64_t base = 0;     ///< Where the buffer begins, as the sender counts.
  std::uint64_t total = 0;
  std::uint64_t arrived = 0;            ///< Everything below is in the buffer.
  std::uint64_t expected = 0;           ///< Everything below is known to have been sent.
  std::uint64_t confirmed = 0;          ///< As the last Got or Want said.
  std::optional<std::uint64_t> gap_at;  ///< `arrived` when a gap was seen and asked for.
  bool want = false;                    ///< For the next pump to send.
  bool again = false;                   ///< With that Want.
  bool got = false;                     ///< For the next pump to send.
  bool arrival = false;                 ///< For the next pump to tell.
  bool broken = false;                  ///< For the next pump to tell.
  bool unwritable = false;              ///< Likewise.
  bool listed = false;                  ///< In State::receivers_to_do.

  [[nodiscard]] bool waits() const { return peer && arrived < expected; }

  /// Passes over what was here already.
  void pass_over() { arrived = past(have, arrived); }

  /// `at`: in the buffer.
  [[nodiscard]] bool may_write(std::uint64_t at, std::uint64_t bytes) const {
    if (at > place->bytes() || bytes > place->bytes() - at) return false;
    return places.empty() || std::any_of(places.begin(), places.end(), [&](const Range& range) {
             return at >= range.offset && at - range.offset <= range.bytes &&
                    bytes <= range.bytes - (at - range.offset);
           });
  }
};

struct Sender : End {
  static constexpr bool kSends = true;

  std::uint64_t window = 0;
  std::uint64_t acknowledged = 0;
  std::uint64_t next = 0;  ///< Position of the next byte to be sent.
  std::uint64_t end = 0;   ///< Of the bytes appended so far.
  bool last = false;
  bool told = false;               ///< StreamSent was, or is about to be.
  bool probe = false;              ///< For the next pump to send: an empty Put.
  bool queued = false;             ///< In its peer's queue.
  std::vector<Stretch> stretches;  ///< In order, without gap.
  std::vector<Range> passed_over;  ///< Of the stream, ascending: the receiver has them.

  [[nodiscard]] bool waits() const { return peer && acknowledged < next; }

  /// Bytes from `next` on that lie together and are to be sent.
  [[nodiscard]] std::uint64_t together() const {
    std::uint64_t upto = current().end();
    for (const Range& range : passed_over) {
      if (range.bytes > 0 && range.offset > next) upto = std::min(upto, range.offset);
    }
    return upto - next;
  }

  /// The stretch that holds position `next`, which is below `end`.
  [[nodiscard]] const Stretch& current() const {
    return *std::prev(std::upper_bound(
        stretches.begin(), stretches.end(), next,
        [](std::uint64_t position, const Stretch& stretch) { return position < stretch.start; }));
  }
};

struct Timer {
  TimePoint at;
  StreamId stream;
  bool sends = false;
  friend auto operator<=>(const Timer&, const Timer&) = default;
};

}  // namespace

struct Streams::State {
  explicit State(StreamOptions o) : options(o), pool(o.keep_bytes) {}

  StreamOptions options;
  BufferPool pool;
  std::map<BufferId, std::shared_ptr<Place>> buffers;
  std::uint64_t buffered_bytes = 0;
  std::uint64_t copied_bytes = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t mapped_bytes = 0;

  std::map<StreamId, Receiver> receivers;
  std::map<StreamId, Sender> senders;
  // Work for the next pump. Streams closed meanwhile stay listed, and are skipped.
  std::vector<StreamId> receivers_to_do;
  std::map<PeerId, std::deque<StreamId>> queues;
  std::vector<StreamId> finished;
  std::set<Timer>
      timers;  // At most one a stream and direction, never later than what it waits for.

  // ------------------------------------------------------------------------------------- timers

  [[nodiscard]] TimePoint patience_ends(const End& end) const {
    return end.heard + options.retry * (1 << end.doublings);
  }

  template <class T>
  void arm(const StreamId& id, T& end) {
    std::optional<TimePoint> at = end.paused;
    if (end.waits()) at = std::min(at.value_or(TimePoint::max()), patience_ends(end));
    if (!at || (end.timer && *end.timer <= *at)) return;
    disarm(id, end);
    end.timer = at;
    timers.insert({*at, id, T::kSends});
  }

  template <class T>
  void disarm(const StreamId& id, T& end) {
    if (end.timer) timers.erase({*end.timer, id, T::kSends});
    end.timer.reset();
  }

  template <class T>
  void pause(const StreamId& id, T& end, TimePoint now) {
    end.paused = now + options.pause;
    arm(id, end);
  }

  /// True if the peer has been silent for too long, which is told once.
  template <class T>
  [[nodiscard]] bool lost_patience(T& end, TimePoint now) {
    if (!end.waits() || patience_ends(end) > now) return false;
    end.heard = now;
    end.doublings = std::min(end.doublings + 1, kMostDoublings);
    return true;
  }

  void fire_timers(TimePoint now) {
    while (!timers.empty() && timers.begin()->at <= now) {
      const Timer timer = *timers.begin();
      if (timer.sends) {
        fire(timer.stream, senders.at(timer.stream), now);
      } else {
        fire(timer.stream, receivers.at(timer.stream), now);
      }
    }
  }

  template <class T>
  void fire(const StreamId& id, T& end, TimePoint now) {
    disarm(id, end);
    if (end.paused && *end.paused <= now) end.paused.reset();
    if (lost_patience(end, now)) remind(end);
    schedule(id, end);
    arm(id, end);
  }

  static void remind(Receiver& receiver) { receiver.want = receiver.again = true; }
  static void remind(Sender& sender) { sender.probe = true; }

  // ---------------------------------------------------------------------------------- receiving

  void schedule(const StreamId& id, Receiver& receiver) {
    if (receiver.listed) return;
    if (!(receiver.want || receiver.got || receiver.arrival || receiver.broken ||
          receiver.unwritable)) {
      return;
    }
    receiver.listed = true;
    receivers_to_do.push_back(id);
  }

  void on_put(const StreamId& id, Receiver& receiver, const Put& put,
              std::span<const std::byte> payload, TimePoint now) {
    if (put.offset > receiver.total || payload.size() > receiver.total - put.offset) return;
    if (put.offset > receiver.arrived) {
      on_gap(receiver, put.offset, payload.empty());
    } else if (put.offset + payload.size() <= receiver.arrived) {
      receiver.got = true;  // Doubled, or a sender that asks where we are.
    } else {
      take(receiver, put, payload, now);
    }
    schedule(id, receiver);
    arm(id, receiver);
  }

  static void on_gap(Receiver& receiver, std::uint64_t sent, bool sender_asks) {
    receiver.expected = std::max(receiver.expected, sent);
    if (receiver.gap_at == receiver.arrived && !sender_asks) return;
    receiver.gap_at = receiver.arrived;
    receiver.want = receiver.again = true;
  }

  void take(Receiver& receiver, const Put& put, std::span<const std::byte> payload, TimePoint now) {
    if (put.at < receiver.base || !receiver.may_write(put.at - receiver.base, payload.size())) {
      receiver.broken = true;
      return;
    }
    const std::uint64_t known = receiver.arrived - put.offset;
    const std::uint64_t bytes = payload.size() - known;
    if (!receiver.place->write(put.at - receiver.base + known, payload.subspan(known))) {
      receiver.unwritable = true;
      return;
    }
    copied_bytes += bytes;
    receiver.arrived += bytes;
    receiver.pass_over();
    receiver.heard = now;
    receiver.doublings = 0;
    receiver.arrival = true;
    if (receiver.arrived == receiver.total) {
      receiver.got = true;
      receiver.want = false;
    } else if (receiver.arrived - receiver.confirmed >=
               std::max<std::uint64_t>(options.window_bytes / 4, 1)) {
      receiver.got = true;
    }
  }

  void pump_receiver(const StreamId& id, Receiver& receiver, TimePoint now,
                     std::vector<Outgoing>& out, std::vector<StreamEvent>& events) {
    receiver.listed = false;
    if (std::exchange(receiver.arrival, false)) {
      const bool whole = receiver.arrived == receiver.total;
      events.emplace_back(StreamArrived{id, receiver.arrived, whole});
    }
    if (std::exchange(receiver.broken, false)) events.emplace_back(StreamBroken{id});
    if (std::exchange(receiver.unwritable, false)) events.emplace_back(StreamUnwritable{id});
    if (!receiver.peer || receiver.paused) return;
    if (std::exchange(receiver.want, false)) {
      const bool again = std::exchange(receiver.again, false);
      out.push_back({*receiver.peer,
                     Want{id, receiver.arrived, options.window_bytes, again, receiver.have},
                     Buffer{}});
      receiver.heard = now;
    } else if (receiver.got) {
      out.push_back({*receiver.peer, Got{id, receiver.arrived}, Buffer{}});
    } else {
      return;
    }
    receiver.got = false;
    receiver.confirmed = receiver.arrived;
  }

  // ------------------------------------------------------------------------------------ sending

  /// Bytes of the next Put; 0 if none may be sent. Waits for room for a whole one rather than send
  /// crumbs.
  [[nodiscard]] std::uint64_t sendable(const Sender& sender) const {
    if (sender.next >= sender.end) return 0;
    const std::uint64_t under_way = sender.next - sender.acknowledged;
    const std::uint64_t room = sender.window > under_way ? sender.window - under_way : 0;
    const std::uint64_t wanted = std::min(options.chunk_bytes, sender.together());
    if (room >= wanted) return wanted;
    return under_way == 0 ? room : 0;
  }

  void schedule(const StreamId& id, Sender& sender) {
    sender.next = past(sender.passed_over, sender.next);
    if (!sender.told && sender.last && sender.acknowledged >= sender.end) {
      sender.told = true;
      finished.push_back(id);
    }
    if (sender.queued || !sender.peer || sender.paused) return;
    if (!sender.probe && sendable(sender) == 0) return;
    sender.queued = true;
    queues[*sender.peer].push_back(id);
  }

  /// Everything below `upto` has arrived.
  static void acknowledge(Sender& sender, std::uint64_t upto, TimePoint now) {
    if (upto > sender.acknowledged) {
      sender.heard = now;
      sender.doublings = 0;
      sender.acknowledged = upto;
    }
    sender.next = std::max(sender.next, sender.acknowledged);
  }

  void pump_peer(PeerId peer, std::deque<StreamId>& turns, TimePoint now,
                 std::vector<Outgoing>& out) {
    while (!turns.empty()) {
      const StreamId id = turns.front();
      turns.pop_front();
      const auto found = senders.find(id);
      if (found == senders.end()) continue;
      Sender& sender = found->second;
      if (!sender.queued || sender.peer != peer) continue;
      sender.queued = false;
      if (sender.paused) continue;
      put(id, sender, now, out);
      schedule(id, sender);
    }
  }

  void put(const StreamId& id, Sender& sender, TimePoint now, std::vector<Outgoing>& out) {
    const std::uint64_t bytes = sendable(sender);
    if (bytes > 0) {
      const Stretch& stretch = sender.current();
      const std::uint64_t within = sender.next - stretch.start;
      out.push_back({*sender.peer, Put{id, sender.next, stretch.at + within},
                     stretch.buffer.slice(stretch.offset + within, bytes)});
      if (!sender.waits()) sender.heard = now;
      sender.next += bytes;
      sent_bytes += bytes;
      arm(id, sender);
    } else if (sender.probe) {
      out.push_back({*sender.peer, Put{id, sender.next, 0}, Buffer{}});
    }
    sender.probe = false;
  }
};

Streams::Streams(StreamOptions options) : state_(std::make_unique<State>(options)) {
  PA_CHECK(options.chunk_bytes > 0);
}

Streams::~Streams() = default;

// ---------------------------------------------------------------------------------------- buffers

Status Streams::allocate(BufferId id, std::uint64_t bytes) {
  Buffer buffer = state_->pool.allocate(bytes);
  if (buffer.size() != bytes) {
    return overloaded("no memory for a buffer of " + std::to_string(bytes) + " bytes");
  }
  adopt(id, std::move(buffer));
  return {};
}

void Streams::adopt(BufferId id, Buffer buffer) {
  release(id);
  state_->buffered_bytes += buffer.size();
  state_->buffers.emplace(id, std::make_shared<Place>(std::move(buffer)));
}

void Streams::adopt(BufferId id, LazyBuffer buffer) {
  release(id);
  state_->buffered_bytes += buffer.bytes;
  state_->buffers.emplace(id, std::make_shared<Place>(std::move(buffer)));
}

Buffer Streams::buffer(BufferId id) const {
  const auto found = state_->buffers.find(id);
  return found == state_->buffers.end() ? Buffer{} : found->second->map(state_->mapped_bytes);
}

bool Streams::write(BufferId id, std::uint64_t at, std::span<const std::byte> source) {
  const auto found = state_->buffers.find(id);
  if (found == state_->buffers.end()) return false;
  const Place& place = *found->second;
  if (at > place.bytes() || source.size() > place.bytes() - at) return false;
  return place.write(at, source);
}

void Streams::release(BufferId id) {
  const auto found = state_->buffers.find(id);
  if (found == state_->buffers.end()) return;
  state_->buffered_bytes -= found->second->bytes();
  state_->buffers.erase(found);
}

std::uint64_t Streams::buffered_bytes() const { return state_->buffered_bytes; }
std::uint64_t Streams::copied_bytes() const { return state_->copied_bytes; }
std::uint64_t Streams::sent_bytes() const { return state_->sent_bytes; }
std::uint64_t Streams::mapped_bytes() const { return state_->mapped_bytes; }

// ---------------------------------------------------------------------------------------- streams

void Streams::receive(const StreamId& id, PeerId peer, BufferId buffer, std::uint64_t total,
                      bool ask, TimePoint now, std::vector<Range> places, std::vector<Range> have,
                      std::uint64_t base) {
  PA_CHECK(in_order(have, total));
  const auto known = state_->buffers.find(buffer);
  if (known == state_->buffers.end()) return;
  auto [found, fresh] = state_->receivers.try_emplace(id);
  Receiver& receiver = found->second;
  if (!fresh && (receiver.total != total || receiver.place != known->second)) {
    state_->disarm(id, receiver);
    receiver = Receiver{};
    fresh = true;
  }
  if (fresh) {
    receiver.place = known->second;
    receiver.places = std::move(places);
    receiver.total = total;
    receiver.have = std::move(have);
    receiver.base = base;
    receiver.pass_over();
    receiver.arrival = receiver.arrived == total;
  }
  const bool whole = receiver.arrived == total;
  receiver.peer = peer;
  receiver.heard = now;
  receiver.doublings = 0;
  receiver.paused.reset();
  receiver.gap_at.reset();
  receiver.want = ask && !whole;
  receiver.again = false;
  receiver.got = whole && (!fresh || total > 0);
  if (ask) receiver.expected = total;
  state_->schedule(id, receiver);
  state_->arm(id, receiver);
}

void Streams::expect(const StreamId& id, std::uint64_t upto, TimePoint now) {
  const auto found = state_->receivers.find(id);
  if (found == state_->receivers.end()) return;
  Receiver& receiver = found->second;
  if (!receiver.waits()) receiver.heard = now;
  receiver.expected = std::max(receiver.expected, std::min(upto, receiver.total));
  state_->arm(id, receiver);
}

void Streams::send(const StreamId& id, PeerId peer, std::uint64_t window, std::uint64_t from,
                   TimePoint now) {
  Sender& sender = state_->senders[id];
  sender.peer = peer;
  sender.heard = now;
  sender.doublings = 0;
  sender.paused.reset();
  sender.window = window;
  sender.acknowledged = sender.next = from;
  sender.told = sender.probe = sender.queued = false;
  state_->schedule(id, sender);
}

bool Streams::sends(const StreamId& id) const { return state_->senders.contains(id); }

bool Streams::append(const StreamId& id, const Piece& piece, bool last) {
  const auto found = state_->senders.find(id);
  if (found == state_->senders.end()) return true;
  Sender& sender = found->second;
  if (piece.bytes > 0) {
    Buffer whole = buffer(piece.buffer);
    if (whole.empty() && state_->buffers.contains(piece.buffer)) return false;
    PA_CHECK(piece.offset <= whole.size() && piece.bytes <= whole.size() - piece.offset);
    if (!sender.stretches.empty() && sender.stretches.back().continued_by(piece, whole)) {
      sender.stretches.back().bytes += piece.bytes;
    } else {
      sender.stretches.push_back(
          {sender.end, piece.at, piece.offset, piece.bytes, std::move(whole)});
    }
    sender.end += piece.bytes;
  }
  sender.last = sender.last || last;
  state_->schedule(id, sender);
  return true;
}

void Streams::close(const StreamId& id) {
  if (const auto found = state_->receivers.find(id); found != state_->receivers.end()) {
    state_->disarm(id, found->second);
    state_->receivers.erase(found);
  }
  if (const auto found = state_->senders.find(id); found != state_->senders.end()) {
    state_->disarm(id, found->second);
    state_->senders.erase(found);
  }
}

void Streams::forget_peer(PeerId peer) {
  for (auto& [id, receiver] : state_->receivers) {
    if (receiver.peer == peer) receiver.peer.reset();
  }
  for (auto& [id, sender] : state_->senders) {
    if (sender.peer != peer) continue;
    sender.peer.reset();
    sender.queued = false;
  }
  state_->queues.erase(peer);
}

// ------------------------------------------------------------------------------------------ turns

void Streams::on(PeerId peer, const Put& put, std::span<const std::byte> payload, TimePoint now) {
  const auto found = state_->receivers.find(put.stream);
  if (found == state_->receivers.end() || found->second.peer != peer) return;
  state_->on_put(put.stream, found->second, put, payload, now);
}

void Streams::on(PeerId peer, const Got& got, TimePoint now) {
  const auto found = state_->senders.find(got.stream);
  if (found == state_->senders.end() || found->second.peer != peer) return;
  Sender& sender = found->second;
  if (got.upto > sender.end) return;
  State::acknowledge(sender, got.upto, now);
  state_->schedule(got.stream, sender);
}

void Streams::on(PeerId peer, const Want& want, TimePoint now) {
  const auto found = state_->senders.find(want.stream);
  if (found == state_->senders.end() || found->second.peer != peer) return;
  Sender& sender = found->second;
  if (want.from > sender.end || !in_order(want.have, sender.end)) return;
  sender.window = want.window;
  sender.passed_over = want.have;
  if (want.again) {
    sender.acknowledged = sender.next = want.from;
    sender.heard = now;
    sender.doublings = 0;
    sender.told = false;
  } else {
    State::acknowledge(sender, want.from, now);
  }
  state_->schedule(want.stream, sender);
  state_->arm(want.stream, sender);
}

void Streams::pump(TimePoint now, std::vector<Outgoing>& out, std::vector<StreamEvent>& events) {
  state_->fire_timers(now);
  for (const StreamId& id : std::exchange(state_->receivers_to_do, {})) {
    const auto found = state_->receivers.find(id);
    if (found == state_->receivers.end() || !found->second.listed) continue;
    state_->pump_receiver(id, found->second, now, out, events);
  }
  for (auto& [peer, turns] : state_->queues) state_->pump_peer(peer, turns, now, out);
  state_->queues.clear();
  for (const StreamId& id : std::exchange(state_->finished, {})) {
    const auto found = state_->senders.find(id);
    if (found != state_->senders.end() && found->second.told) events.emplace_back(StreamSent{id});
  }
}

void Streams::unsent(const Outgoing& outgoing, TimePoint now) {
  if (const auto* put = std::get_if<Put>(&outgoing.message)) {
    const auto found = state_->senders.find(put->stream);
    if (found == state_->senders.end() || found->second.peer != outgoing.peer) return;
    Sender& sender = found->second;
    sender.next = std::max(sender.acknowledged, std::min(sender.next, put->offset));
    sender.probe = sender.probe || outgoing.payload.empty();
    state_->pause(put->stream, sender, now);
    return;
  }
  const auto take_back = [&](const StreamId& id, bool want, bool again) {
    const auto found = state_->receivers.find(id);
    if (found == state_->receivers.end() || found->second.peer != outgoing.peer) return;
    Receiver& receiver = found->second;
    receiver.want = receiver.want || want;
    receiver.again = receiver.again || again;
    receiver.got = receiver.got || !want;
    state_->pause(id, receiver, now);
  };
  if (const auto* want = std::get_if<Want>(&outgoing.message)) {
    take_back(want->stream, true, want->again);
  } else if (const auto* got = std::get_if<Got>(&outgoing.message)) {
    take_back(got->stream, false, false);
  }
}

std::optional<TimePoint> Streams::next_deadline() const {
  if (state_->timers.empty()) return std::nullopt;
  return state_->timers.begin()->at;
}

}  // namespace pa
