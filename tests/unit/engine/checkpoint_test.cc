#include "worker/engine/checkpoint.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <msgpack.hpp>

#include "tests/support/shards.h"
#include "worker/engine/engine.h"
#include "worker/models/analytic.h"
#include "worker/models/model_store.h"
#include "worker/models/replica.h"

namespace pa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Shape kRow{2, 3, 4};

Program two_steps() {
  Program program;
  program.slots = 3;
  program.stages.push_back({0, 0, 2.0, 1, -1, {}, {{0, {{0, 0.5}, {1, 0.5}}}}});
  program.stages.push_back({1, 0, 1.0, 2, -1, {}, {{0, {{1, 0.25}, {2, 0.75}}}}});
  return program;
}

Checkpoint some_checkpoint() {
  Checkpoint checkpoint;
  checkpoint.request = {7, 8};
  checkpoint.sample = 3;
  checkpoint.program = fingerprint(two_steps());
  checkpoint.stage = 1;
  checkpoint.steps = 1;
  checkpoint.seconds = 0.5;
  checkpoint.row = kRow;
  checkpoint.slots = {0, 1};
  checkpoint.values = at::randn({2, 2, 3, 4});
  return checkpoint;
}

/// A Buffer of its own, which can be spoiled.
std::vector<std::byte> bytes_of(const Buffer& buffer) {
  return {buffer.bytes().begin(), buffer.bytes().end()};
}

TEST(Checkpoint, ComesBackAsItWas) {
  const Checkpoint saved = some_checkpoint();
  const Buffer bytes = encode(saved);
  EXPECT_LE(bytes.size(), saved.values.nbytes() + 256);
  const Checkpoint read = decode_checkpoint(bytes.bytes()).value();
  EXPECT_EQ(read.request, saved.request);
  EXPECT_EQ(read.sample, saved.sample);
  EXPECT_EQ(read.program, saved.program);
  EXPECT_EQ(read.stage, saved.stage);
  EXPECT_EQ(read.steps, saved.steps);
  EXPECT_EQ(read.seconds, saved.seconds);
  EXPECT_EQ(read.row, saved.row);
  EXPECT_EQ(read.slots, saved.slots);
  EXPECT_TRUE(at::equal(read.values, saved.values));
  EXPECT_TRUE(check_checkpoint(read, {7, 8}, 3, two_steps(), kRow).ok());
}

TEST(Checkpoint, AnySpoiltByteIsFound) {
  const std::vector<std::byte> good = bytes_of(encode(some_checkpoint()));
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::vector<std::byte> bad = good;
    bad[i] ^= std::byte{0x10};
    EXPECT_FALSE(decode_checkpoint(bad).ok()) << "byte " << i;
    bad.resize(i);
    EXPECT_FALSE(decode_checkpoint(bad).ok()) << "cut at " << i;
  }
  std::vector<std::byte> last = good;
  last.back() ^= std::byte{1};
  EXPECT_THAT(decode_checkpoint(last).error().message, HasSubstr("damaged"));
}

TEST(Checkpoint, AnotherVersionIsRefusedByName) {
  msgpack::sbuffer bytes;
  msgpack::packer<msgpack::sbuffer> packer(bytes);
  packer.pack_map(2).pack("checkpoint").pack(9).pack("news").pack("of another form");
  const auto* data = reinterpret_cast<const std::byte*>(bytes.data());
  EXPECT_THAT(decode_checkpoint({data, bytes.size()}).error().message, HasSubstr("version 9"));
}

TEST(Checkpoint, BelongsToOneSampleOfOneRequestAndProgram) {
  const auto why = [](auto change) {
    Checkpoint checkpoint = some_checkpoint();
    Program program = two_steps();
    change(checkpoint, program);
    const Status status = check_checkpoint(checkpoint, {7, 8}, 3, program, kRow);
    return status.ok() ? "" : status.error().message;
  };
  EXPECT_EQ(why([](auto&, auto&) {}), "");
  EXPECT_THAT(why([](auto& c, auto&) { c.request.low = 9; }), HasSubstr("of request"));
  EXPECT_THAT(why([](auto& c, auto&) { c.sample = 4; }), HasSubstr("of sample 4"));
  EXPECT_THAT(why([](auto&, auto& p) { p.stages[0].updates[0].terms[0].weight = 0.4; }),
              HasSubstr("another program"));
  EXPECT_THAT(why([](auto& c, auto&) { c.stage = 2; }), HasSubstr("does not fit"));
  EXPECT_THAT(why([](auto& c, auto&) { c.row = {1}; }), HasSubstr("does not fit"));
  EXPECT_THAT(why([](auto& c, auto&) { c.slots = {0}; }), HasSubstr("does not fit"));
}

TEST(LiveSlots, AreThoseReadAgain) {
  const Program program = two_steps();
  EXPECT_THAT(live_slots(program, 0), ElementsAre(0));
  EXPECT_THAT(live_slots(program, 1), ElementsAre(0, 1));
  EXPECT_THAT(live_slots(program, 2), ElementsAre(0));
}

TEST(Resuming, ASavedSampleGoesOnHereAndCouldElsewhere) {
  ModelStore store;
  Replica replica;
  replica.info.name = "m";
  replica.network = make_analytic({{1.0}, {0.0}, {0.25}}, {});
  store.add(std::move(replica));
  Request body;
  body.model = "m";
  body.samples = 6;
  body.sampler.name = "dpmpp_2m";
  body.deterministic = true;
  body.schedule = ScheduleSpec{"simple", 8, 1.0};
  Engine engine(store, {});
  engine.add(test::make_job(1, body, kRow, {5}, {}));
  std::vector<EngineReport> reports;
  engine.save({1}, 5);
  EXPECT_TRUE(reports.empty()) << "it has not begun";
  for (int i = 0; i < 3; ++i) {
    engine.settle(reports);
    engine.pass(reports);
  }
  engine.save({1}, 5);
  engine.save({2}, 5);
  engine.save({1}, 6);
  while (!engine.idle()) engine.pass(reports);
  std::vector<SampleSaved> saved;
  std::string failure;
  for (const EngineReport& report : reports) {
    if (const auto* found = std::get_if<SampleSaved>(&report)) saved.push_back(*found);
    if (const auto* ended = std::get_if<RowsFinished>(&report)) {
      failure = ended->samples.at(0).error.message;
    }
  }
  ASSERT_EQ(saved.size(), 1u) << (failure.empty() ? "nothing failed" : failure);
  EXPECT_EQ(saved[0].sample, 5);
  EXPECT_EQ(saved[0].steps, 3);
  EXPECT_GT(saved[0].cost_seconds, 0);
  test::Outcome whole;
  whole.take(reports);

  at::Tensor bytes = at::empty({static_cast<std::int64_t>(saved[0].checkpoint.size())}, at::kByte);
  std::memcpy(bytes.mutable_data_ptr(), saved[0].checkpoint.data(), saved[0].checkpoint.size());
  Engine other(store, {});
  other.add(test::make_job(1, body, kRow, {5}, {{"checkpoint.5", bytes}}));
  const test::Outcome resumed = test::run(other);
  EXPECT_EQ(resumed.passes.size(), 5u);
  EXPECT_TRUE(at::equal(resumed.shards.at(1).rows.at(0), whole.shards.at(1).rows.at(0)));
}

TEST(Resuming, RefusesASpoiltCheckpointByName) {
  ModelStore store;
  Replica replica;
  replica.info.name = "m";
  replica.network = make_analytic({{1.0}, {0.0}, {0.25}}, {});
  store.add(std::move(replica));
  Request body;
  body.model = "m";
  body.schedule = ScheduleSpec{};
  Engine engine(store, {});
  engine.add(test::make_job(1, body, kRow, {0}, {{"checkpoint.0", at::zeros({40}, at::kByte)}}));
  const SampleReport report = test::run(engine).shards.at(1).samples.at(0);
  EXPECT_TRUE(report.failed);
  EXPECT_EQ(report.error.field, "/tensors/checkpoint.0");
}

}  // namespace
}  // namespace pa
