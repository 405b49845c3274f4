#pragma once

#include "coordinator/core/actions.h"
#include "coordinator/io/coordinator_metrics.h"

namespace pa {

/// Turns what the coordinator's core notes into log lines and metrics.
class CoordinatorNotes {
 public:
  explicit CoordinatorNotes(CoordinatorMetrics& metrics) : metrics_(metrics) {}

  void take(const Note& note);

 private:
  void on(const note::WorkerJoined& note);
  void on(const note::WorkerState& note);
  void on(const note::WorkerRefused& note);
  void on(const note::RequestAccepted& note);
  void on(const note::RequestRefused& note);
  void on(const note::RequestFinished& note);
  void on(const note::ShardAssigned& note);
  void on(const note::ShardKept& note);
  void on(const note::ShardLost& note);
  void on(const note::CheckpointTaken& note);
  void on(const note::SamplesFinished& note);
  void on(const note::JournalFailed& note);
  void on(const note::RequestRecovered& note);
  void on(const note::SampleMoved& note);
  void on(const note::SampleHedged& note);
  void on(const note::SampleGivenUp& note);
  void on(const note::DeviceSlow& note);
  void on(const note::ProtocolError& note);

  CoordinatorMetrics& metrics_;
};

}  // namespace pa
