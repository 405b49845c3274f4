#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clients/cpp/client_memory.h"
#include "shared/core/buffer.h"
#include "shared/core/id.h"
#include "shared/core/result.h"
#include "shared/core/tensor_spec.h"
#include "shared/core/time.h"
#include "shared/wire/messages.h"
#include "shared/wire/streams.h"

namespace pa {

/// A tensor of a request, with its bytes.
struct InputTensor {
  TensorSpec spec;
  Buffer bytes;  ///< byte_size(spec) of them; not written to.
};

/// What is to be run.
struct Submission {
  RequestId id;
  std::string body;  ///< The request as JSON (docs/request.schema.json).
  std::vector<InputTensor> tensors;
  bool plan_only = false;  ///< Only ask who would do what.
};

/// How a request that was not refused ended well. The result's bytes are where on_accepted said.
struct Outcome {
  Accepted accepted;
  Done done;  ///< Empty if plan_only.
};

/// What a client learns on the way. Each may be empty, but for on_accepted unless plan_only.
struct JobCallbacks {
  /// If there is one, a result of a coordinator on this box may come in memory shared with it, which
  /// this is told of when it is whole: on_accepted is not called then. That memory may not be written
  /// to, and may serve a later request once all copies of the Buffer are gone.
  std::function<void(const Accepted&, Buffer result)> on_shared_result;
  /// The coordinator promises a result of this shape. Returns where its bytes go: byte_size(result)
  /// of them. An error ends the request. Called once.
  std::function<Result<Buffer>(const Accepted&)> on_accepted;
  std::function<void(const RequestProgress&)> on_progress;
  std::function<void(const SamplePreview&)> on_preview;
  /// Something a person who waits would like to know, in words.
  std::function<void(std::string_view)> on_notice;
};

struct JobOptions {
  std::string endpoint;  ///< Named in errors.
  /// Silence after which a coordinator that never answered counts as absent.
  Duration first_answer = std::chrono::seconds{10};
  /// Silence after which one that did answer is given up; nullopt: never.
  std::optional<Duration> patience;
  std::uint64_t window_bytes = 8u << 20;            ///< Of the result, that may be under way.
  Duration first_resend = std::chrono::seconds{1};  ///< Of an unanswered Submit; doubles each time,
  Duration last_resend = std::chrono::seconds{30};  ///< up to this.
  Duration cancel_limit = std::chrono::seconds{5};  ///< How long a cancel waits for its answer.
  ClientMemory* memory = nullptr;  ///< Shared with the coordinator; must outlive the job.
};

/// One request as its client sees it, from Submit to Done. No socket, thread or clock.
///
/// The Submit is sent again until Done comes, so lost messages and a restarted coordinator cost time
/// only. A coordinator that runs the request anew starts the result anew, into the same buffer. One
/// that was accepted before is not given up because the next coordinator has no workers yet.
///
/// Thread: the one that owns `streams`.
class ClientJob {
 public:
  /// `streams` must outlive it. The job names its buffers from `first_buffer` on: one a tensor, and
  /// one for the result. Starts at the first tick().
  ClientJob(Streams& streams, BufferId first_buffer, Submission submission, JobOptions options,
            JobCallbacks callbacks);
  ~ClientJob();
  ClientJob(const ClientJob&) = delete;
  ClientJob& operator=(const ClientJob&) = delete;

  /// A message for this request came: Accepted, Refused, RequestProgress, Done; or, of a stream, Put,
  /// Got or Want, which Streams takes care of.
  void on(const Message& message, TimePoint now, std::vector<Outgoing>& out);
  /// Something happened on one of this request's streams.
  void on(const StreamEvent& event, TimePoint now);

  /// Sends what is due. Call after every turn, and at next_deadline().
  void tick(TimePoint now, std::vector<Outgoing>& out);

  /// Asks the coordinator to stop. The job ends with kCancelled, or as it would if that was faster.
  void cancel(TimePoint now, std::vector<Outgoing>& out);
  [[nodiscard]] bool cancelling() const { return cancelled_.has_value(); }

  /// When tick() has something to do; nullopt once ended.
  [[nodiscard]] std::optional<TimePoint> next_deadline() const;

  /// Whether the connection seems dead: drop it and make a new one before the next tick. Reading
  /// clears it.
  [[nodiscard]] bool take_reconnect();

  /// Set when the job is over.
  [[nodiscard]] const std::optional<Result<Outcome>>& end() const { return end_; }

  /// Tells the coordinator to forget the result, which the caller has made safe. Only after a good
  /// end; bad ends acknowledge by themselves.
  void acknowledge(std::vector<Outgoing>& out) const;

 private:
  void start(TimePoint now, std::vector<Outgoing>& out);
  [[nodiscard]] bool share_inputs(const InputLayout& layout);
  void offer_memory();
  void take_segment(const Accepted& accepted, std::uint64_t bytes);
  [[nodiscard]] Result<Buffer> place_for(const Accepted& accepted, std::uint64_t bytes);
  void take_result();
  [[nodiscard]] std::uint64_t stream_bytes() const;
  [[nodiscard]] Status map_result();
  [[nodiscard]] Status check_row(const SampleReport& report, std::uint64_t bytes);
  [[nodiscard]] Status check_rows();
  void deliver();
  void send_submit(TimePoint now, std::vector<Outgoing>& out);
  void heard(TimePoint now);
  void on_accepted(const Accepted& accepted, TimePoint now, std::vector<Outgoing>& out);
  void on_refused(const Refused& refused, TimePoint now);
  void on_done(const Done& done, TimePoint now, std::vector<Outgoing>& out);
  void check_complete(TimePoint now);
  void finish(Result<Outcome> end);
  [[nodiscard]] StreamId input_stream() const;
  [[nodiscard]] StreamId result_stream() const;

  Streams& streams_;
  const BufferId first_buffer_;
  const Submission submission_;
  const JobOptions options_;
  const JobCallbacks callbacks_;

  Submit submit_;
  std::optional<TimePoint> started_;
  std::optional<TimePoint> last_heard_;
  TimePoint next_submit_;
  Duration resend_;
  int unanswered_ = 0;    ///< Submits since something was heard.
  bool noticed_ = false;  ///< The person who waits knows of the silence.
  bool reconnect_ = false;
  bool eager_ = false;     ///< The tensors are sent without being asked for.
  Mapped inputs_;          ///< The tensors in shared memory; none if they are sent.
  Segment shared_result_;  ///< The result in shared memory; none if it is sent.
  Mapped offered_;  ///< Memory for the result, as the first Submit says; none if it does not.
  Buffer place_;    ///< Where the result goes: where on_accepted wants it, or a map of the first
                    ///< shared memory that was promised.
  bool in_ours_ = false;     ///< The latter.
  bool in_offered_ = false;  ///< The result is in offered_, which no other run has written to.
  bool read_only_ = false;   ///< `place_` is a map that must not be written to.
  bool refused_ = false;  ///< Accepted once, by a coordinator that is no more; not by this one yet.

  std::optional<Accepted> accepted_;
  std::optional<Done> done_;
  std::uint64_t result_bytes_ = 0;  ///< Of the whole result.
  std::uint64_t arrived_ = 0;       ///< Of the result stream.
  std::int64_t steps_ = 0;          ///< Reported last.

  std::optional<TimePoint> cancelled_;
  TimePoint next_cancel_;
  std::optional<Result<Outcome>> end_;
};

}  // namespace pa
