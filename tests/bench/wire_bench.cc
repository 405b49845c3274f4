/// What the wire costs: the codec, streams without a transport, and messages and streams over ipc://
/// between two threads that have a context each, as two processes do.

#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "shared/io/allocator.h"
#include "shared/io/loop.h"
#include "shared/io/wakeup.h"
#include "shared/io/zmq_transport.h"
#include "shared/wire/buffer_pool.h"
#include "shared/wire/codec.h"
#include "shared/wire/streams.h"

namespace pa {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;
constexpr BufferId kSource{1};
constexpr BufferId kTarget{2};
const StreamId kStream{StreamKind::kRequestInput, RequestId{1, 2}, ShardId{3}};

std::vector<Message> examples() {
  Assign assign;
  assign.body = std::string(400, 'b');
  for (std::int64_t i = 0; i < 21; ++i) assign.samples.push_back(i);
  assign.tensors = {{"latent", DType::kF32, {21, 16, 128, 128}},
                    {"cond.0.context", DType::kBF16, {1, 512, 4096}}};
  Done done;
  for (std::int64_t i = 0; i < 21; ++i)
    done.samples.push_back({i, "box:cuda:0", "cuda:0", 1, 20, 1.5});
  return {Put{kStream, 1u << 30, 1u << 30}, Heartbeat{WorkerId{1}, 1000, 5000}, assign, done};
}

void encode_message(benchmark::State& state) {
  const Message message = examples()[static_cast<std::size_t>(state.range(0))];
  std::string out;
  for (auto _ : state) {
    out.clear();
    encode(message, out);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetLabel(std::string(name_of(message)) + ", " + std::to_string(out.size()) + " bytes");
}
BENCHMARK(encode_message)->DenseRange(0, 3);

void decode_message(benchmark::State& state) {
  const std::string header = encode(examples()[static_cast<std::size_t>(state.range(0))]);
  for (auto _ : state) {
    Result<Message> message = decode(std::as_bytes(std::span(header)));
    benchmark::DoNotOptimize(message);
  }
  state.SetLabel(std::to_string(header.size()) + " bytes");
}
BENCHMARK(decode_message)->DenseRange(0, 3);

/// A whole stream of `range` bytes from one Streams to another, with nothing between: one copy.
void stream_in_memory(benchmark::State& state) {
  const auto bytes = static_cast<std::uint64_t>(state.range(0));
  Streams sender{StreamOptions{}};
  Streams receiver{StreamOptions{}};
  if (!sender.allocate(kSource, bytes).ok()) std::abort();
  std::vector<Outgoing> out;
  std::vector<StreamEvent> events;
  for (auto _ : state) {
    if (!receiver.allocate(kTarget, bytes).ok()) std::abort();
    receiver.receive(kStream, PeerId{1}, kTarget, bytes, false, {});
    sender.send(kStream, PeerId{1}, 8 * kMiB, 0, {});
    sender.append(kStream, {kSource, 0, bytes, 0}, true);
    do {
      out.clear();
      events.clear();
      sender.pump({}, out, events);
      for (const Outgoing& o : out) {
        receiver.on(PeerId{1}, std::get<Put>(o.message), o.payload.bytes(), {});
      }
      out.clear();
      receiver.pump({}, out, events);
      for (const Outgoing& o : out) sender.on(PeerId{1}, std::get<Got>(o.message), {});
    } while (!out.empty());
    sender.close(kStream);
    receiver.close(kStream);
    receiver.release(kTarget);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes) * state.iterations());
}
BENCHMARK(stream_in_memory)->Arg(256 << 10)->Arg(8 << 20)->Arg(64 << 20);

/// A server in a thread of its own, which answers every message with itself, or takes streams.
class Echo {
 public:
  explicit Echo(bool takes_streams) : takes_streams_(takes_streams) {
    std::string pattern = (std::filesystem::temp_directory_path() / "pa-bench-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) std::abort();
    directory_ = pattern;
    thread_ = std::thread([this] { serve(); });
    while (!serving_) std::this_thread::yield();
  }
  ~Echo() {
    stop_ = true;
    wakeup_.signal();
    thread_.join();
    std::filesystem::remove_all(directory_);
  }
  Echo(const Echo&) = delete;
  Echo& operator=(const Echo&) = delete;

  [[nodiscard]] std::unique_ptr<ZmqClient> connect() const {
    auto client =
        ZmqClient::connect(ZmqContext(), ipc_endpoints(directory_).data, Channel::kWorkerData);
    if (!client.ok()) std::abort();
    return std::move(*client);
  }

 private:
  void serve() {
    auto server = ZmqServer::bind(ipc_endpoints(directory_));
    if (!server.ok()) std::abort();
    serving_ = true;
    Loop loop;
    loop.watch(**server);
    loop.watch(wakeup_);
    Streams streams{StreamOptions{}};
    std::vector<Outgoing> out;
    std::vector<StreamEvent> events;
    while (!stop_) {
      loop.wait(std::nullopt);
      for (int i = 0; i < 16; ++i) {
        std::optional<Incoming> came = (*server)->receive();
        if (!came) break;
        if (!takes_streams_) {
          (void)(*server)->send(came->peer, came->message, came->payload).ok();
        } else if (const auto* put = std::get_if<Put>(&came->message)) {
          streams.on(came->peer, *put, came->payload.bytes(), loop.now());
        } else if (const auto* submit = std::get_if<Submit>(&came->message)) {
          streams.close(kStream);
          streams.release(kTarget);
          if (!streams.allocate(kTarget, submit->window).ok()) std::abort();
          streams.receive(kStream, came->peer, kTarget, submit->window, true, loop.now());
        }
      }
      out.clear();
      events.clear();
      streams.pump(loop.now(), out, events);
      for (const Outgoing& o : out) (void)(*server)->send(o.peer, o.message, o.payload).ok();
    }
  }

  const bool takes_streams_;
  std::string directory_;
  Wakeup wakeup_;
  std::atomic<bool> serving_ = false;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

void send(ZmqClient& client, Loop& loop, const Message& message, const Buffer& payload) {
  while (!client.send(message, payload).ok()) loop.wait(loop.now() + std::chrono::milliseconds{1});
}

Incoming receive(ZmqClient& client, Loop& loop) {
  std::optional<Incoming> came;
  while (!(came = client.receive())) loop.wait(std::nullopt);
  return std::move(*came);
}

void ipc_round_trip(benchmark::State& state) {
  const Echo echo(false);
  const auto client = echo.connect();
  Loop loop;
  loop.watch(*client);
  BufferPool pool(0);
  const Buffer payload = pool.allocate(static_cast<std::uint64_t>(state.range(0)));
  for (auto _ : state) {
    send(*client, loop, Put{kStream, 1, 2}, payload);
    receive(*client, loop);
  }
}
BENCHMARK(ipc_round_trip)
    ->Arg(64)
    ->Arg(256 << 10)
    ->Arg(1 << 20)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

/// A stream of `range` bytes to the server, from Submit until it has it all.
void ipc_stream(benchmark::State& state) {
  const auto bytes = static_cast<std::uint64_t>(state.range(0));
  const Echo echo(true);
  const auto client = echo.connect();
  Loop loop;
  loop.watch(*client);
  Streams streams{StreamOptions{}};
  if (!streams.allocate(kSource, bytes).ok()) std::abort();
  std::vector<Outgoing> out;
  std::vector<StreamEvent> events;
  Submit submit;
  submit.window = bytes;
  for (auto _ : state) {
    send(*client, loop, submit, {});
    streams.send(kStream, PeerId{0}, kEagerBytes, 0, loop.now());
    streams.append(kStream, {kSource, 0, bytes, 0}, true);
    events.clear();
    while (true) {
      out.clear();
      streams.pump(loop.now(), out, events);
      for (const Outgoing& o : out) send(*client, loop, o.message, o.payload);
      if (!events.empty()) break;
      const Incoming came = receive(*client, loop);
      if (const auto* got = std::get_if<Got>(&came.message))
        streams.on(PeerId{0}, *got, loop.now());
      if (const auto* want = std::get_if<Want>(&came.message)) {
        streams.on(PeerId{0}, *want, loop.now());
      }
    }
    streams.close(kStream);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes) * state.iterations());
}
BENCHMARK(ipc_stream)
    ->Arg(256 << 10)
    ->Arg(8 << 20)
    ->Arg(64 << 20)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace pa

int main(int argc, char** argv) {
  pa::tune_allocator();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
