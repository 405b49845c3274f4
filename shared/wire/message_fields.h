#pragma once

#include "shared/wire/messages.h"

// The members of every struct of the wire, in their order there, for the codec alone. `need`: an error
// if missing; `may`: keeps its default.

namespace pa::wire {

template <class T>
struct Fields;

template <class T>
concept Structure = requires {
  sizeof(Fields<T>);
};

template <>
struct Fields<StreamId> {
  static void visit(auto& v, auto& m) {
    v.need("kind", m.kind);
    v.need("request", m.request);
    v.may("shard", m.shard);
  }
};

template <>
struct Fields<Range> {
  static void visit(auto& v, auto& m) {
    v.need("offset", m.offset);
    v.need("bytes", m.bytes);
  }
};

template <>
struct Fields<Want> {
  static void visit(auto& v, auto& m) {
    v.need("stream", m.stream);
    v.need("from", m.from);
    v.need("window", m.window);
    v.may("again", m.again);
    v.may("have", m.have);
  }
};

template <>
struct Fields<Put> {
  static void visit(auto& v, auto& m) {
    v.need("stream", m.stream);
    v.need("offset", m.offset);
    v.need("at", m.at);
  }
};

template <>
struct Fields<Got> {
  static void visit(auto& v, auto& m) {
    v.need("stream", m.stream);
    v.need("upto", m.upto);
  }
};

template <>
struct Fields<TensorSpec> {
  static void visit(auto& v, auto& m) {
    v.need("name", m.name);
    v.need("dtype", m.dtype);
    v.need("shape", m.shape);
  }
};

template <>
struct Fields<TensorEntry> {
  static void visit(auto& v, auto& m) {
    v.need("spec", m.spec);
    v.may("digest", m.digest);
  }
};

template <>
struct Fields<Error> {
  static void visit(auto& v, auto& m) {
    v.need("code", m.code);
    v.may("message", m.message);
    v.may("field", m.field);
  }
};

template <>
struct Fields<Submit> {
  static void visit(auto& v, auto& m) {
    v.need("protocol", m.protocol);
    v.need("request", m.request);
    v.need("body", m.body);
    v.may("tensors", m.tensors);
    v.may("plan_only", m.plan_only);
    v.may("window", m.window);
    v.may("result_from", m.result_from);
    v.may("result_run", m.result_run);
    v.may("sharing", m.sharing);
    v.may("segment", m.segment);
    v.may("result_segment", m.result_segment);
  }
};

template <>
struct Fields<PlanShare> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.may("device", m.device);
    v.may("weight", m.weight);
    v.need("samples", m.samples);
    v.may("reason", m.reason);
    v.may("finish_seconds", m.finish_seconds);
  }
};

template <>
struct Fields<Accepted> {
  static void visit(auto& v, auto& m) {
    v.need("request", m.request);
    v.need("run", m.run);
    v.need("result", m.result);
    v.may("plan", m.plan);
    v.may("seconds", m.seconds);
    v.may("limit", m.limit);
    v.may("segment", m.segment);
    v.may("in_your_memory", m.in_your_memory);
  }
};

template <>
struct Fields<Refused> {
  static void visit(auto& v, auto& m) {
    v.need("request", m.request);
    v.need("error", m.error);
    v.may("retry_after_seconds", m.retry_after_seconds);
  }
};

template <>
struct Fields<DeviceProgress> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.may("device", m.device);
    v.may("assigned", m.assigned);
    v.may("done", m.done);
    v.may("steps", m.steps);
    v.may("seconds", m.seconds);
  }
};

template <>
struct Fields<RequestProgress> {
  static void visit(auto& v, auto& m) {
    v.need("request", m.request);
    v.need("samples", m.samples);
    v.need("done", m.done);
    v.may("steps", m.steps);
    v.may("steps_total", m.steps_total);
    v.may("devices", m.devices);
    v.may("waiting_for", m.waiting_for);
  }
};

template <>
struct Fields<SampleReport> {
  static void visit(auto& v, auto& m) {
    v.need("sample", m.sample);
    v.may("worker", m.worker);
    v.may("device", m.device);
    v.may("attempts", m.attempts);
    v.may("steps", m.steps);
    v.may("seconds", m.seconds);
    v.may("error", m.error);
    v.may("failed", m.failed);
    v.may("digest", m.digest);
  }
};

template <>
struct Fields<Done> {
  static void visit(auto& v, auto& m) {
    v.need("request", m.request);
    v.may("run", m.run);
    v.need("failed", m.failed);
    v.may("error", m.error);
    v.need("result_bytes", m.result_bytes);
    v.may("seconds", m.seconds);
    v.may("queue_seconds", m.queue_seconds);
    v.may("late_writers", m.late_writers);
    v.may("samples", m.samples);
    v.may("warnings", m.warnings);
  }
};

template <>
struct Fields<DoneAck> {
  static void visit(auto& v, auto& m) { v.need("request", m.request); }
};

template <>
struct Fields<Cancel> {
  static void visit(auto& v, auto& m) { v.need("request", m.request); }
};

template <>
struct Fields<StatusQuery> {
  static void visit(auto& v, auto& m) { v.may("tag", m.tag); }
};

template <>
struct Fields<InputSpec> {
  static void visit(auto& v, auto& m) {
    v.need("name", m.name);
    v.need("dtype", m.dtype);
    v.need("shape", m.shape);
    v.may("required", m.required);
  }
};

template <>
struct Fields<SamplingInfo> {
  static void visit(auto& v, auto& m) {
    v.may("prediction", m.prediction);
    v.may("type", m.type);
    v.may("shift", m.shift);
    v.may("multiplier", m.multiplier);
    v.may("zero_terminal_snr", m.zero_terminal_snr);
    v.may("sigma_min", m.sigma_min);
    v.may("sigma_max", m.sigma_max);
    v.may("sigma_data", m.sigma_data);
  }
};

template <>
struct Fields<LoraInfo> {
  static void visit(auto& v, auto& m) {
    v.need("name", m.name);
    v.need("identity", m.identity);
  }
};

template <>
struct Fields<ModelInfo> {
  static void visit(auto& v, auto& m) {
    v.need("name", m.name);
    v.need("identity", m.identity);
    v.need("family", m.family);
    v.may("sampling", m.sampling);
    v.may("latent", m.latent);
    v.may("inputs", m.inputs);
    v.may("labels", m.labels);
    v.may("pixel_min", m.pixel_min);
    v.may("pixel_max", m.pixel_max);
    v.may("colours", m.colours);
    v.may("parameters", m.parameters);
    v.may("loras", m.loras);
  }
};

template <>
struct Fields<WorkerStatus> {
  static void visit(auto& v, auto& m) {
    v.need("name", m.name);
    v.may("device", m.device);
    v.may("device_name", m.device_name);
    v.may("host", m.host);
    v.may("pid", m.pid);
    v.need("state", m.state);
    v.may("weight", m.weight);
    v.may("models", m.models);
    v.may("assigned", m.assigned);
    v.may("samples_done", m.samples_done);
    v.may("steps_done", m.steps_done);
    v.may("busy_seconds", m.busy_seconds);
    v.may("last_heard_seconds", m.last_heard_seconds);
    v.may("free_memory_bytes", m.free_memory_bytes);
    v.may("numerics_id", m.numerics_id);
    v.may("loaded", m.loaded);
  }
};

template <>
struct Fields<RequestStatus> {
  static void visit(auto& v, auto& m) {
    v.need("request", m.request);
    v.may("model", m.model);
    v.may("tag", m.tag);
    v.need("state", m.state);
    v.may("samples", m.samples);
    v.may("done", m.done);
    v.may("age_seconds", m.age_seconds);
  }
};

template <>
struct Fields<ClusterStatus> {
  static void visit(auto& v, auto& m) {
    v.may("tag", m.tag);
    v.may("epoch", m.epoch);
    v.may("version", m.version);
    v.may("journal", m.journal);
    v.may("uptime_seconds", m.uptime_seconds);
    v.may("workers", m.workers);
    v.may("requests", m.requests);
    v.may("part", m.part);
    v.may("more", m.more);
  }
};

template <>
struct Fields<Hello> {
  static void visit(auto& v, auto& m) {
    v.need("protocol", m.protocol);
    v.need("boot", m.boot);
    v.need("name", m.name);
    v.may("host", m.host);
    v.may("pid", m.pid);
    v.need("device", m.device);
    v.may("device_name", m.device_name);
    v.may("weight", m.weight);
    v.may("numerics_id", m.numerics_id);
    v.may("models", m.models);
    v.may("credit_samples", m.credit_samples);
    v.may("max_rows", m.max_rows);
    v.may("yields", m.yields);
    v.may("window", m.window);
    v.may("blob_bytes", m.blob_bytes);
  }
};

template <>
struct Fields<Welcome> {
  static void visit(auto& v, auto& m) {
    v.need("epoch", m.epoch);
    v.need("worker", m.worker);
    v.need("beat_interval", m.beat_interval);
    v.need("window", m.window);
  }
};

template <>
struct Fields<Rejected> {
  static void visit(auto& v, auto& m) { v.need("error", m.error); }
};

template <>
struct Fields<OfferedSample> {
  static void visit(auto& v, auto& m) {
    v.need("sample", m.sample);
    v.may("steps", m.steps);
    v.may("done", m.done);
  }
};

template <>
struct Fields<OfferedShard> {
  static void visit(auto& v, auto& m) {
    v.need("shard", m.shard);
    v.need("request", m.request);
    v.need("run", m.run);
    v.may("attempt", m.attempt);
    v.need("samples", m.samples);
    v.need("held", m.held);
  }
};

template <>
struct Fields<KeptShard> {
  static void visit(auto& v, auto& m) {
    v.need("shard", m.shard);
    v.need("samples", m.samples);
  }
};

template <>
struct Fields<Attach> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.need("boot", m.boot);
    v.may("sharing", m.sharing);
    v.may("offers", m.offers);
  }
};

template <>
struct Fields<Attached> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.may("kept", m.kept);
  }
};

template <>
struct Fields<Rehello> {
  static void visit(auto&, auto&) {}
};

template <>
struct Fields<LoadedModel> {
  static void visit(auto& v, auto& m) {
    v.need("model", m.model);
    v.may("loras", m.loras);
    v.may("load_seconds", m.load_seconds);
    v.may("switch_seconds", m.switch_seconds);
  }
};

template <>
struct Fields<Heartbeat> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.need("sequence", m.sequence);
    v.may("passes", m.passes);
    v.may("free_memory_bytes", m.free_memory_bytes);
    v.may("busy_for", m.busy_for);
    v.may("shards", m.shards);
    v.may("loaded", m.loaded);
  }
};

template <>
struct Fields<HeartbeatAck> {
  static void visit(auto& v, auto& m) { v.need("sequence", m.sequence); }
};

template <>
struct Fields<Source> {
  static void visit(auto& v, auto& m) {
    v.need("offset", m.offset);
    v.need("bytes", m.bytes);
    v.need("at", m.at);
  }
};

template <>
struct Fields<Assign> {
  static void visit(auto& v, auto& m) {
    v.need("shard", m.shard);
    v.need("request", m.request);
    v.need("body", m.body);
    v.need("samples", m.samples);
    v.may("tensors", m.tensors);
    v.need("result", m.result);
    v.may("attempt", m.attempt);
    v.may("segment", m.segment);
    v.may("sources", m.sources);
    v.may("result_segment", m.result_segment);
    v.may("run", m.run);
    v.may("digests", m.digests);
    v.may("blob_scope", m.blob_scope);
  }
};

template <>
struct Fields<Revoke> {
  static void visit(auto& v, auto& m) { v.need("shard", m.shard); }
};

template <>
struct Fields<Yield> {
  static void visit(auto& v, auto& m) {
    v.need("shard", m.shard);
    v.need("sample", m.sample);
    v.need("move", m.move);
  }
};

template <>
struct Fields<SendRows> {
  static void visit(auto& v, auto& m) { v.need("shard", m.shard); }
};

template <>
struct Fields<Prefetch> {
  static void visit(auto& v, auto& m) { v.need("model", m.model); }
};

template <>
struct Fields<Yielded> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.need("shard", m.shard);
    v.need("move", m.move);
    v.need("sample", m.sample);
    v.need("steps", m.steps);
    v.need("bytes", m.bytes);
  }
};

template <>
struct Fields<Save> {
  static void visit(auto& v, auto& m) {
    v.need("shard", m.shard);
    v.need("sample", m.sample);
    v.need("save", m.save);
  }
};

template <>
struct Fields<Saved> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.need("shard", m.shard);
    v.need("save", m.save);
    v.need("sample", m.sample);
    v.need("steps", m.steps);
    v.may("cost_seconds", m.cost_seconds);
    v.need("bytes", m.bytes);
  }
};

template <>
struct Fields<ShardProgress> {
  static void visit(auto& v, auto& m) {
    v.need("shard", m.shard);
    v.need("steps", m.steps);
    v.may("seconds", m.seconds);
    v.may("sample_steps", m.sample_steps);
  }
};

template <>
struct Fields<PassReport> {
  static void visit(auto& v, auto& m) {
    v.need("model", m.model);
    v.may("row", m.row);
    v.need("rows", m.rows);
    v.may("passes", m.passes);
    v.need("seconds", m.seconds);
    v.may("fits", m.fits);
  }
};

template <>
struct Fields<WorkerProgress> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.may("shards", m.shards);
    v.may("passes", m.passes);
    v.may("busy_for", m.busy_for);
  }
};

template <>
struct Fields<SamplesDone> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.need("shard", m.shard);
    v.need("stream_upto", m.stream_upto);
    v.need("samples", m.samples);
    v.may("in_place", m.in_place);
  }
};

template <>
struct Fields<SamplePreview> {
  static void visit(auto& v, auto& m) {
    v.need("request", m.request);
    v.may("shard", m.shard);
    v.need("sample", m.sample);
    v.need("step", m.step);
    v.need("width", m.width);
    v.need("height", m.height);
    v.need("rgb", m.rgb);
  }
};

template <>
struct Fields<Draining> {
  static void visit(auto& v, auto& m) { v.need("worker", m.worker); }
};

template <>
struct Fields<Bye> {
  static void visit(auto& v, auto& m) {
    v.need("worker", m.worker);
    v.may("fault", m.fault);
  }
};

}  // namespace pa::wire
