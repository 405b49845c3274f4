#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clients/cpp/client_job.h"
#include "coordinator/io/coordinator_node.h"
#include "coordinator/journal/memory_journal.h"
#include "tests/support/sim_compute.h"
#include "tests/support/sim_network.h"
#include "worker/io/worker_node.h"

namespace pa {

/// A whole cluster in one process on simulated time: the real cores, nodes, codec and streams, on a simulated network
/// and simulated devices. Equal options and calls give equal runs.
///
/// A worker that dies of a sample, or ends with an error, is started again a second later.
///
/// Invariants of all cores are checked at every event.
class SimCluster {
 public:
  struct Options {
    std::uint64_t seed = 1;
    std::size_t workers = 2;
    SimNetworkOptions network;
    SimCompute::Speed speed;  ///< Of every worker; add_worker() makes others.
    CoordinatorOptions coordinator;
    WorkerOptions worker;  ///< hello is filled in.
    StreamOptions streams;
    std::int64_t credit_samples = 16;
    bool durable_journal = true;
    bool yields = true;  ///< Running samples can leave a worker.
    std::uint64_t worker_blob_bytes = 0;
    std::vector<std::string> models{"sim"};  ///< All alike; devices may have memory for one.
  };

  /// What a client asks for: the model "sim", which echoes `forward` rows and marks `sample` rows.
  struct Job {
    std::int64_t samples = 1;
    Operation op = Operation::kSample;
    int steps = 4;
    std::int64_t row_floats = 16;
    double deadline_seconds = 0;
    int priority = 0;
    Scheduling scheduling = Scheduling::kMeasured;
    /// Of the conditioning of every sample; 0: there is none. Requests of one seed have the same.
    std::int64_t condition_floats = 0;
    std::uint64_t seed = 0;
    std::string model = "sim";
    std::vector<std::string> workers = {};  ///< Names: "w0", ...; empty: all.
  };

  explicit SimCluster(Options options);
  ~SimCluster();

  /// Returns its index. It joins by itself.
  std::size_t add_worker(double weight, SimCompute::Speed speed);
  /// kill -9: its connections vanish, nothing is said.
  void kill_worker(std::size_t index);
  /// A new process of the same name.
  void restart_worker(std::size_t index);
  /// SIGSTOP and SIGCONT: a stopped worker takes no turn.
  void stop_worker(std::size_t index, bool stopped);
  /// While its links are cut, the worker and the coordinator hear nothing of each other.
  void cut_worker(std::size_t index, bool is_cut);
  /// Sampler steps that all devices have done, those of killed workers included.
  [[nodiscard]] std::int64_t steps_done() const;
  /// How often devices of workers that live loaded another model.
  [[nodiscard]] std::int64_t loads() const;
  /// Models that a worker was told to read ahead.
  [[nodiscard]] std::vector<std::string> prefetched(std::size_t index) const;
  /// It is as fast as that from its next pass on.
  void set_speed(std::size_t index, SimCompute::Speed speed);
  /// Its running pass takes so much longer: its driver hangs, or another process has the device.
  void stall_worker(std::size_t index, Duration by);
  /// SIGTERM.
  void drain_worker(std::size_t index);
  [[nodiscard]] bool worker_lives(std::size_t index) const;
  /// kill -9 and start again: its memory is gone. What is in its journal is not, if that is durable.
  void restart_coordinator();

  /// An event that comes from neither network nor time.
  void tell(const Event& event) { coordinator_->tell(event, now_); }

  /// Sends a request from a client of its own.
  RequestId submit(const Job& job);
  void cancel(const RequestId& request);
  /// While its link is cut, the client and the coordinator hear nothing of each other.
  void cut_client(const RequestId& request, bool is_cut);
  /// The client's process dies.
  void kill_client(const RequestId& request);

  void advance(Duration by);
  /// Until no client waits any more; false if simulated `limit` passed first.
  [[nodiscard]] bool run_until_idle(Duration limit);

  /// How the request ended for its client; nullptr if it has not.
  [[nodiscard]] const Result<Outcome>* reply(const RequestId& request) const;
  /// Whether every row of the result is what the model makes of it, on one device.
  [[nodiscard]] bool result_is_right(const RequestId& request) const;
  [[nodiscard]] const RequestProgress* progress(const RequestId& request) const;

  /// Who waits for what, for failure messages.
  [[nodiscard]] std::string describe() const;

  [[nodiscard]] TimePoint now() const { return now_; }
  [[nodiscard]] const Coordinator& coordinator() const;
  [[nodiscard]] std::uint64_t coordinator_bytes() const;
  [[nodiscard]] SimNetwork& network() { return *network_; }
  /// Bytes that the coordinator mapped of shared memory.
  [[nodiscard]] std::uint64_t coordinator_mapped_bytes() const;
  /// Bytes of inputs and results copied by streams, and into shared memory by clients; what workers
  /// write to results in shared memory is one more copy of each byte.
  [[nodiscard]] std::uint64_t copied_bytes() const;
  /// Bytes of tensors in messages of the coordinator to workers and clients, and in those to it that
  /// brought something new.
  [[nodiscard]] std::uint64_t sent_by_coordinator() const;
  [[nodiscard]] std::uint64_t received_by_coordinator() const;
  /// What the coordinator noted of this kind so far.
  template <class T>
  [[nodiscard]] std::vector<T> notes() const {
    std::vector<T> found;
    for (const Note& note : notes_) {
      if (const T* typed = std::get_if<T>(&note)) found.push_back(*typed);
    }
    return found;
  }

 private:
  struct Worker;
  struct Client;

  /// The connection of whichever client has its turn: all clients are of one process here, which has
  /// one ClientMemory.
  class Connection final : public ClientTransport {
   public:
    void use(ClientTransport* transport) { transport_ = transport; }
    Status send(const Message& message, const Buffer& payload) override {
      return transport_->send(message, payload);
    }
    std::optional<Incoming> receive() override { return transport_->receive(); }
    Status reconnect() override { return transport_->reconnect(); }
    std::uint64_t sharing() override { return transport_->sharing(); }
    bool share(std::uint64_t id, const Segment& segment) override {
      return transport_->share(id, segment);
    }
    std::optional<Segment> shared(std::uint64_t id) override { return transport_->shared(id); }

   private:
    ClientTransport* transport_ = nullptr;
  };

  /// A result in shared memory, and what it was when it came: nobody may write to it any more.
  struct Held {
    Buffer result;
    Buffer was;
  };

  void hold(Buffer result, const Buffer& was);
  void start_coordinator();
  void start_worker(Worker& worker);
  void end(Worker& worker);
  void turn_all();
  void turn(Client& client);
  [[nodiscard]] std::optional<TimePoint> next_event() const;
  void run_until(TimePoint end, bool stop_when_idle);
  [[nodiscard]] bool idle() const;

  Options options_;
  TimePoint now_;
  std::unique_ptr<SimNetwork> network_;
  std::unique_ptr<MemoryJournal> journal_;
  std::unique_ptr<CoordinatorNode> coordinator_;
  std::vector<std::unique_ptr<Worker>> workers_;
  Connection connection_;
  ClientMemory client_memory_{connection_};
  std::map<RequestId, std::unique_ptr<Client>> clients_;
  std::deque<Held> held_;  // Oldest first.
  std::vector<Note> notes_;
  std::int64_t steps_of_killed_ = 0;
  std::uint64_t epoch_ = 0;
  std::uint64_t boots_ = 0;
  std::uint64_t requests_ = 0;
};

}  // namespace pa
