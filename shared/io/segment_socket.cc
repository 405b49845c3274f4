#include "shared/io/segment_socket.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <random>

namespace pa {
namespace {

constexpr std::uint32_t kMagic = 0x50417331;  // Changes with the packets' layout.
constexpr int kBacklog = 1024;
constexpr std::size_t kMostStrangers = 1024;
constexpr int kMostPacketsAtOnce = 64;

/// Everything that is sent, with a descriptor if it is a segment. Both ends are on one box.
struct Packet {
  std::uint32_t magic = kMagic;
  std::uint32_t is_segment = 0;
  std::uint64_t number = 0;  ///< The segment's id, or else the sender's token.
};

std::string system_says(const std::string& what) {
  return what + ": " + std::strerror(errno);  // NOLINT(concurrency-mt-unsafe)
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof(address.sun_path) - 1));
  return address;
}

Descriptor make_socket() {
  return Descriptor(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

/// Room for the control message that carries one descriptor.
union Control {
  cmsghdr header;
  std::array<char, CMSG_SPACE(sizeof(int))> bytes;
};

bool send_packet(int socket, Packet packet, const Segment& segment) {
  iovec part{&packet, sizeof(packet)};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  Control control{};
  if (segment) {
    message.msg_control = control.bytes.data();
    message.msg_controllen = control.bytes.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int descriptor = segment.descriptor();
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof(descriptor));
  }
  while (true) {
    const ssize_t sent = ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0 || errno != EINTR) return sent == sizeof(packet);
  }
}

enum class Read : std::uint8_t { kPacket, kNothing, kEnd };

/// One packet and what came with it.
Read receive_packet(int socket, Packet& packet, Descriptor& descriptor) {
  iovec part{&packet, sizeof(packet)};
  Control control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = control.bytes.size();
  ssize_t bytes = -1;
  do {
    bytes = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (bytes < 0 && errno == EINTR);
  if (bytes < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? Read::kNothing : Read::kEnd;
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
      header->cmsg_len == CMSG_LEN(sizeof(int))) {
    int received = -1;
    std::memcpy(&received, CMSG_DATA(header), sizeof(received));
    descriptor = Descriptor(received);
  }
  const bool whole = bytes == sizeof(packet) && (message.msg_flags & MSG_TRUNC) == 0;
  return whole && packet.magic == kMagic ? Read::kPacket : Read::kEnd;
}

/// Whether the process at the other end is this user's, or root's.
bool is_ours(int socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == ::geteuid() || peer.uid == 0 || ::geteuid() == 0);
}

std::uint64_t random_token() {
  std::random_device random;
  const std::uint64_t token = (std::uint64_t{random()} << 32) | random();
  return std::max<std::uint64_t>(token, 1);
}

}  // namespace

std::string share_path(const std::string& run_dir) { return run_dir + "/share.sock"; }

void SegmentInbox::put(std::uint64_t id, Segment segment) {
  (void)take(id);
  if (segments_.size() >= kMost) segments_.pop_front();
  segments_.emplace_back(id, std::move(segment));
}

std::optional<Segment> SegmentInbox::take(std::uint64_t id) {
  const auto found = std::find_if(segments_.begin(), segments_.end(),
                                  [&](const auto& entry) { return entry.first == id; });
  if (found == segments_.end()) return std::nullopt;
  Segment segment = std::move(found->second);
  segments_.erase(found);
  return segment;
}

// ------------------------------------------------------------------------------------------ server

Result<std::unique_ptr<SegmentServer>> SegmentServer::listen(const std::string& path) {
  const sockaddr_un address = address_of(path);
  Descriptor listener = make_socket();
  Descriptor epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = listener.get();
  const auto* const raw = reinterpret_cast<const sockaddr*>(&address);
  if (listener.get() < 0 || epoll.get() < 0 || ::bind(listener.get(), raw, sizeof(address)) != 0 ||
      ::listen(listener.get(), kBacklog) != 0 ||
      ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, listener.get(), &event) != 0) {
    return internal(system_says("cannot listen at " + path));
  }
  return std::unique_ptr<SegmentServer>(new SegmentServer(std::move(listener), std::move(epoll)));
}

void SegmentServer::turn() {
  std::array<epoll_event, 64> events{};
  const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    const int socket = events[static_cast<std::size_t>(i)].data.fd;
    if (socket == listener_.get()) {
      accept();
    } else {
      read(socket);
    }
  }
}

void SegmentServer::accept() {
  while (true) {
    Descriptor socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.get() < 0) return;
    if (!is_ours(socket.get()) || strangers_.size() >= kMostStrangers) continue;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = socket.get();
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket.get(), &event) != 0) continue;
    const int number = socket.get();
    strangers_.emplace(number, std::move(socket));
    read(number);  // The token is there, as a rule.
  }
}

void SegmentServer::read(int socket) {
  for (int i = 0; i < kMostPacketsAtOnce; ++i) {
    Packet packet;
    Descriptor descriptor;
    const Read outcome = receive_packet(socket, packet, descriptor);
    if (outcome == Read::kNothing) return;
    if (outcome == Read::kEnd) return end(socket);
    const auto known = tokens_.find(socket);
    if (known != tokens_.end() && packet.is_segment != 0) {
      Result<Segment> segment = Segment::adopt(std::move(descriptor));
      if (segment.ok()) connections_.at(known->second).inbox.put(packet.number, *segment);
      continue;
    }
    const auto stranger = strangers_.find(socket);
    if (stranger == strangers_.end() || packet.is_segment != 0 || packet.number == 0 ||
        connections_.contains(packet.number)) {
      return end(socket);
    }
    connections_.emplace(packet.number, Connection{std::move(stranger->second), {}});
    tokens_.emplace(socket, packet.number);
    strangers_.erase(stranger);
  }
}

void SegmentServer::end(int socket) {
  strangers_.erase(socket);
  const auto known = tokens_.find(socket);
  if (known == tokens_.end()) return;
  ended_.push_back(known->second);
  connections_.erase(known->second);
  tokens_.erase(known);
}

bool SegmentServer::send(std::uint64_t token, std::uint64_t id, const Segment& segment) {
  const auto found = connections_.find(token);
  return found != connections_.end() &&
         send_packet(found->second.socket.get(), {kMagic, 1, id}, segment);
}

std::optional<Segment> SegmentServer::take(std::uint64_t token, std::uint64_t id) {
  turn();
  auto found = connections_.find(token);
  if (found == connections_.end()) return std::nullopt;
  read(found->second.socket.get());  // A turn reads from so many at most.
  found = connections_.find(token);
  if (found == connections_.end()) return std::nullopt;
  return found->second.inbox.take(id);
}

// ------------------------------------------------------------------------------------------ client

Result<std::unique_ptr<SegmentClient>> SegmentClient::connect(const std::string& path) {
  const sockaddr_un address = address_of(path);
  Descriptor socket = make_socket();
  if (socket.get() < 0 ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return unavailable(system_says(path));
  }
  if (!is_ours(socket.get())) return unavailable(path + " is another user's");
  const std::uint64_t token = random_token();
  if (!send_packet(socket.get(), {kMagic, 0, token}, {})) return unavailable(system_says(path));
  return std::unique_ptr<SegmentClient>(new SegmentClient(std::move(socket), token));
}

void SegmentClient::read() {
  for (int i = 0; alive_ && i < kMostPacketsAtOnce; ++i) {
    Packet packet;
    Descriptor descriptor;
    const Read outcome = receive_packet(socket_.get(), packet, descriptor);
    if (outcome == Read::kNothing) return;
    alive_ = outcome == Read::kPacket;
    if (!alive_ || packet.is_segment == 0) continue;
    Result<Segment> segment = Segment::adopt(std::move(descriptor));
    if (segment.ok()) inbox_.put(packet.number, *segment);
  }
}

bool SegmentClient::alive() {
  read();
  return alive_;
}

bool SegmentClient::send(std::uint64_t id, const Segment& segment) {
  return alive_ && send_packet(socket_.get(), {kMagic, 1, id}, segment);
}

std::optional<Segment> SegmentClient::take(std::uint64_t id) {
  read();
  return inbox_.take(id);
}

}  // namespace pa
