#include "tests/support/sim_cluster.h"

#include <algorithm>
#include <cstring>

#include "shared/io/request_json.h"

namespace pa {
namespace {

constexpr Duration kRestart = std::chrono::seconds{1};  // A supervisor's patience.
constexpr std::size_t kMostHeld = 3;      // Results that their user looks at for a while.
constexpr int kTurnsWithoutTime = 10000;  // A cluster that never comes to rest is broken.

Buffer zeroed(std::uint64_t bytes) {
  return {std::shared_ptr<std::byte>(new std::byte[bytes](), std::default_delete<std::byte[]>()),
          bytes};
}

/// Of a forward request's input, and of its result.
float forward_value(const RequestId& request, std::int64_t index) {
  const auto shift = static_cast<std::int64_t>(request.low % 4096) * 7919;
  return static_cast<float>((index + shift) % 65536);
}

InputTensor conditioning_of(const SimCluster::Job& job) {
  InputTensor tensor{{"cond.0.text", DType::kF32, {1, job.condition_floats}}, {}};
  tensor.bytes = zeroed(*byte_size(tensor.spec));
  for (std::int64_t i = 0; i < job.condition_floats; ++i) {
    const float value = condition_value(job.seed, i);
    std::memcpy(tensor.bytes.data() + i * 4, &value, sizeof value);
  }
  return tensor;
}

}  // namespace

struct SimCluster::Worker {
  std::string name;
  double weight = 1;
  SimCompute::Speed speed;
  bool stopped = false;
  std::optional<TimePoint> again;  ///< When its supervisor starts it.
  std::unique_ptr<ClientTransport> control;
  std::unique_ptr<ClientTransport> data;
  std::unique_ptr<SimCompute> compute;
  std::unique_ptr<WorkerNode> node;
};

struct SimCluster::Client {
  SimCluster::Job job;
  RequestId request;
  std::unique_ptr<ClientTransport> transport;
  std::unique_ptr<Streams> streams;
  std::unique_ptr<ClientJob> run;
  std::vector<Outgoing> unsent;
  Buffer result;
  std::optional<RequestProgress> progress;
  bool acknowledged = false;
  bool dead = false;
};

SimCluster::SimCluster(Options options) : options_(std::move(options)) {
  network_ = std::make_unique<SimNetwork>(options_.seed, options_.network);
  start_coordinator();
  for (std::size_t i = 0; i < options_.workers; ++i) add_worker(1, options_.speed);
}

SimCluster::~SimCluster() = default;

void SimCluster::start_coordinator() {
  CoordinatorOptions options = options_.coordinator;
  options.epoch = ++epoch_;
  coordinator_.reset();
  if (!journal_ || !options_.durable_journal)
    journal_ = std::make_unique<MemoryJournal>(options_.durable_journal);
  options.durable = options_.durable_journal;
  coordinator_ =
      std::make_unique<CoordinatorNode>(options, options_.streams, network_->server(), *journal_,
                                        [this](const Note& note) { notes_.push_back(note); });
  coordinator_->check_always();
  coordinator_->recover(now_, journal_->recover());
}

void SimCluster::restart_coordinator() {
  network_->restart_server();
  start_coordinator();
}

std::size_t SimCluster::add_worker(double weight, SimCompute::Speed speed) {
  auto worker = std::make_unique<Worker>();
  worker->name = "w" + std::to_string(workers_.size());
  worker->weight = weight;
  worker->speed = speed;
  start_worker(*worker);
  workers_.push_back(std::move(worker));
  return workers_.size() - 1;
}

void SimCluster::start_worker(Worker& worker) {
  WorkerOptions options = options_.worker;
  options.hello.boot = ++boots_;
  options.hello.name = worker.name;
  options.hello.device = "sim";
  options.hello.weight = worker.weight;
  options.hello.credit_samples = options_.credit_samples;
  options.hello.max_rows = worker.speed.max_rows;
  options.hello.yields = options_.yields;
  options.hello.window = options_.streams.window_bytes;
  options.hello.blob_bytes = options_.worker_blob_bytes;
  ModelInfo model;
  model.family = "noop";
  model.identity = "sha256:0";
  model.inputs = {{"text", DType::kF32, {-1}, false}};
  // Of which the coordinator takes it to load for so long.
  model.parameters = static_cast<std::int64_t>(5e8 * to_seconds(worker.speed.load));
  for (const std::string& name : options_.models) {
    model.name = name;
    options.hello.models.push_back(model);
  }
  worker.stopped = false;
  worker.again.reset();
  worker.control = network_->connect(Channel::kWorkerControl);
  worker.data = network_->connect(Channel::kWorkerData);
  worker.compute = std::make_unique<SimCompute>(worker.speed, options_.seed * 1000 + boots_);
  worker.compute->advance_to(now_);
  worker.node = std::make_unique<WorkerNode>(options, options_.streams, *worker.control,
                                             *worker.data, *worker.compute, WorkerNode::NoteSink{});
  worker.node->check_always();
  worker.node->tell(worker_event::Ready{}, now_);
}

void SimCluster::kill_worker(std::size_t index) { end(*workers_.at(index)); }

void SimCluster::end(Worker& worker) {
  if (worker.compute) steps_of_killed_ += worker.compute->steps_done();
  worker.node.reset();
  worker.control.reset();
  worker.data.reset();
  worker.compute.reset();
}

void SimCluster::restart_worker(std::size_t index) {
  kill_worker(index);
  start_worker(*workers_.at(index));
}

void SimCluster::stop_worker(std::size_t index, bool stopped) {
  workers_.at(index)->stopped = stopped;
}

void SimCluster::cut_worker(std::size_t index, bool is_cut) {
  network_->cut(*workers_.at(index)->control, is_cut);
  network_->cut(*workers_.at(index)->data, is_cut);
}

std::int64_t SimCluster::steps_done() const {
  std::int64_t steps = steps_of_killed_;
  for (const auto& worker : workers_) steps += worker->compute ? worker->compute->steps_done() : 0;
  return steps;
}

std::int64_t SimCluster::loads() const {
  std::int64_t loads = 0;
  for (const auto& worker : workers_) loads += worker->compute ? worker->compute->loads() : 0;
  return loads;
}

std::vector<std::string> SimCluster::prefetched(std::size_t index) const {
  const Worker& worker = *workers_.at(index);
  return worker.compute ? worker.compute->prefetched() : std::vector<std::string>{};
}

void SimCluster::set_speed(std::size_t index, SimCompute::Speed speed) {
  Worker& worker = *workers_.at(index);
  worker.speed = speed;
  if (worker.compute) worker.compute->set_speed(speed);
}

void SimCluster::stall_worker(std::size_t index, Duration by) {
  Worker& worker = *workers_.at(index);
  if (worker.compute) worker.compute->stall(by);
}

void SimCluster::drain_worker(std::size_t index) {
  Worker& worker = *workers_.at(index);
  if (worker.node) worker.node->tell(worker_event::Drain{}, now_);
}

bool SimCluster::worker_lives(std::size_t index) const {
  return workers_.at(index)->node != nullptr;
}

RequestId SimCluster::submit(const Job& job) {
  auto client = std::make_unique<Client>();
  client->job = job;
  client->request = RequestId{options_.seed, ++requests_};
  client->transport = network_->connect(Channel::kClient);
  client->streams = std::make_unique<Streams>(options_.streams);

  Request request;
  request.op = job.op;
  request.model = job.model;
  request.workers = job.workers;
  request.samples = job.samples;
  request.deadline_seconds = job.deadline_seconds;
  request.priority = job.priority;
  request.scheduling = job.scheduling;
  Submission submission;
  submission.id = client->request;
  if (job.op == Operation::kForward) {
    const TensorSpec spec{"x", DType::kF32, {job.samples, job.row_floats}};
    const Buffer x = zeroed(*byte_size(spec));
    for (std::int64_t i = 0; i < job.samples * job.row_floats; ++i) {
      const float value = forward_value(client->request, i);
      std::memcpy(x.data() + i * 4, &value, sizeof value);
    }
    submission.tensors.push_back({spec, x});
  } else {
    request.latent_shape = {1, 1, job.row_floats};
    request.schedule = ScheduleSpec{"simple", job.steps, 1.0};
    request.seed = job.seed;
    if (job.condition_floats > 0) {
      request.positive = {Condition{"cond.0", 1.0, {}, {}, 0.0, 1.0}};
      submission.tensors.push_back(conditioning_of(job));
    }
  }
  submission.body = to_json(request);

  JobOptions options;
  options.endpoint = "the simulator";
  options.memory = &client_memory_;
  options.first_answer = std::chrono::seconds{60};
  options.window_bytes = options_.streams.window_bytes;
  JobCallbacks callbacks;
  Client* raw = client.get();
  callbacks.on_accepted = [raw](const Accepted& accepted) -> Result<Buffer> {
    raw->result = zeroed(*byte_size(accepted.result));
    return raw->result;
  };
  if (options_.network.sharing > 0) {
    callbacks.on_shared_result = [this, raw](const Accepted&, Buffer result) {
      raw->result = zeroed(result.size());
      std::memcpy(raw->result.data(), result.data(), result.size());
      hold(std::move(result), raw->result);
    };
  }
  callbacks.on_progress = [raw](const RequestProgress& progress) { raw->progress = progress; };
  client->run = std::make_unique<ClientJob>(*client->streams, BufferId{1}, std::move(submission),
                                            options, callbacks);
  const RequestId id = client->request;
  clients_.emplace(id, std::move(client));
  turn(*clients_.at(id));
  return id;
}

/// For as long as later ones take to come; then the memory may serve them.
void SimCluster::hold(Buffer result, const Buffer& was) {
  held_.push_back({std::move(result), was});
  for (const Held& held : held_)
    PA_CHECK(std::memcmp(held.result.data(), held.was.data(), held.was.size()) == 0);
  if (held_.size() > kMostHeld) held_.pop_front();
}

void SimCluster::cancel(const RequestId& request) {
  Client& client = *clients_.at(request);
  connection_.use(client.transport.get());
  client.run->cancel(now_, client.unsent);
  turn(client);
}

void SimCluster::cut_client(const RequestId& request, bool is_cut) {
  network_->cut(*clients_.at(request)->transport, is_cut);
}

void SimCluster::kill_client(const RequestId& request) {
  Client& client = *clients_.at(request);
  client.transport.reset();
  client.dead = true;
}

void SimCluster::turn(Client& client) {
  if (client.dead) return;
  connection_.use(client.transport.get());
  while (std::optional<Incoming> incoming = client.transport->receive()) {
    if (const auto* put = std::get_if<Put>(&incoming->message)) {
      client.streams->on(PeerId{0}, *put, incoming->payload.bytes(), now_);
    } else if (const auto* got = std::get_if<Got>(&incoming->message)) {
      client.streams->on(PeerId{0}, *got, now_);
    } else if (const auto* want = std::get_if<Want>(&incoming->message)) {
      client.streams->on(PeerId{0}, *want, now_);
    }
    client.run->on(incoming->message, now_, client.unsent);
  }
  if (const auto due = client.run->next_deadline(); due && *due <= now_)
    client.run->tick(now_, client.unsent);
  if (client.run->take_reconnect()) (void)client.transport->reconnect().ok();
  std::vector<StreamEvent> events;
  client.streams->pump(now_, client.unsent, events);
  for (const StreamEvent& event : events) client.run->on(event, now_);
  if (client.run->end() && client.run->end()->ok() && !client.acknowledged) {
    client.run->acknowledge(client.unsent);
    client.acknowledged = true;
  }
  for (const Outgoing& out : client.unsent)
    (void)client.transport->send(out.message, out.payload).ok();
  client.unsent.clear();
}

void SimCluster::turn_all() {
  for (int turns = 0;; ++turns) {
    PA_CHECK(turns < kTurnsWithoutTime);
    network_->advance_to(now_);
    bool more = coordinator_->turn(now_);
    for (const std::unique_ptr<Worker>& worker : workers_) {
      if (worker->again && now_ >= *worker->again) start_worker(*worker);
      if (!worker->node || worker->stopped) continue;
      worker->compute->advance_to(now_);
      more = worker->node->turn(now_) || more;
      const auto& exited = worker->node->exited();
      if (!exited && !worker->compute->died()) continue;
      if (!exited || exited->status != 0) worker->again = now_ + kRestart;
      end(*worker);
    }
    for (const auto& [id, client] : clients_) turn(*client);
    if (more) continue;
    const std::optional<TimePoint> next = next_event();
    if (!next || *next > now_) return;
  }
}

std::optional<TimePoint> SimCluster::next_event() const {
  std::optional<TimePoint> next = network_->next_event();
  const auto consider = [&](std::optional<TimePoint> at) {
    if (at && (!next || *at < *next)) next = at;
  };
  consider(coordinator_->next_deadline());
  for (const std::unique_ptr<Worker>& worker : workers_) {
    consider(worker->again);
    if (!worker->node || worker->stopped) continue;
    consider(worker->node->next_deadline());
    consider(worker->compute->next_event());
  }
  for (const auto& [id, client] : clients_) {
    if (client->dead) continue;
    consider(client->run->next_deadline());
    consider(client->streams->next_deadline());
  }
  return next;
}

bool SimCluster::idle() const {
  return std::all_of(clients_.begin(), clients_.end(), [](const auto& entry) {
    return entry.second->dead || entry.second->run->end().has_value();
  });
}

void SimCluster::run_until(TimePoint end, bool stop_when_idle) {
  turn_all();
  while (now_ < end && !(stop_when_idle && idle())) {
    const std::optional<TimePoint> next = next_event();
    now_ = next ? std::clamp(*next, now_, end) : end;
    turn_all();
  }
}

void SimCluster::advance(Duration by) { run_until(now_ + by, false); }

bool SimCluster::run_until_idle(Duration limit) {
  run_until(now_ + limit, true);
  return idle();
}

const Result<Outcome>* SimCluster::reply(const RequestId& request) const {
  const std::optional<Result<Outcome>>& end = clients_.at(request)->run->end();
  return end ? &*end : nullptr;
}

const RequestProgress* SimCluster::progress(const RequestId& request) const {
  const Client& client = *clients_.at(request);
  return client.progress ? &*client.progress : nullptr;
}

bool SimCluster::result_is_right(const RequestId& request) const {
  const Client& client = *clients_.at(request);
  const std::int64_t row = client.job.row_floats;
  if (client.result.size() != static_cast<std::uint64_t>(client.job.samples * row) * 4)
    return false;
  const auto value = [&](std::int64_t i) {
    float got = 0;
    std::memcpy(&got, client.result.data() + i * 4, sizeof got);
    return got;
  };
  for (std::int64_t i = 0; i < client.job.samples * row; ++i) {
    const bool is_forward = client.job.op == Operation::kForward;
    const bool is_accent = !is_forward && i % row % 2 == 1;
    const float want = is_forward  ? forward_value(request, i)
                       : is_accent ? value(i - i % row + 1)
                                   : sample_mark(request, i / row);
    if (value(i) != want) return false;
  }
  return true;
}

std::string SimCluster::describe() const {
  std::string text = "at " + std::to_string(to_seconds(now_.time_since_epoch())) + " s\n";
  const ClusterStatus status = coordinator_->core().status(now_);
  for (const WorkerStatus& worker : status.workers) {
    text += "worker " + worker.name + " " + worker.state + ", holds " +
            std::to_string(worker.assigned) + "\n";
  }
  for (const RequestStatus& request : status.requests) {
    text += "request " + std::to_string(request.request.low) + " " + request.state + ", " +
            std::to_string(request.done) + " of " + std::to_string(request.samples) + "\n";
  }
  for (const auto& [id, client] : clients_) {
    if (client->dead || client->run->end()) continue;
    text += "client " + std::to_string(id.low) + " waits for " +
            std::to_string(client->job.samples) + " samples, op " +
            (client->job.op == Operation::kForward ? "forward" : "sample") + "\n";
  }
  return text;
}

const Coordinator& SimCluster::coordinator() const { return coordinator_->core(); }

std::uint64_t SimCluster::coordinator_bytes() const { return coordinator_->buffered_bytes(); }

std::uint64_t SimCluster::coordinator_mapped_bytes() const {
  return coordinator_->streams().mapped_bytes();
}

std::uint64_t SimCluster::sent_by_coordinator() const {
  return coordinator_->streams().sent_bytes();
}

std::uint64_t SimCluster::received_by_coordinator() const {
  return coordinator_->streams().copied_bytes();
}

std::uint64_t SimCluster::copied_bytes() const {
  std::uint64_t bytes = coordinator_->streams().copied_bytes();
  for (const auto& worker : workers_) {
    if (worker->node) bytes += worker->node->streams().copied_bytes();
  }
  for (const auto& [id, client] : clients_) {
    bytes += client->streams->copied_bytes();
  }
  return bytes + client_memory_.copied_bytes();
}

}  // namespace pa
