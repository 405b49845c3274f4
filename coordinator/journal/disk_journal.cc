#include "coordinator/journal/disk_journal.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <new>

#include "coordinator/journal/record.h"
#include "shared/io/digest.h"
#include "shared/io/failpoint.h"

namespace pa {
namespace {

/// A request has few entries beside those of its samples, and coordinators admit a bounded number of requests.
constexpr std::size_t kQueue = std::size_t{1} << 17;
constexpr std::size_t kBatch = 256;
constexpr std::uint64_t kBatchBytes = 256u << 20;

std::int64_t seconds_since_1970() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::span<const std::byte> row_of(const JournalSamples& samples, const SampleReport& report) {
  const std::uint64_t offset = static_cast<std::uint64_t>(report.sample) * samples.row_bytes;
  return std::span<const std::byte>(samples.result.bytes()).subspan(offset, samples.row_bytes);
}

std::uint64_t bytes_of(const JournalEntry& entry) {
  if (const auto* request = std::get_if<JournalRequest>(&entry)) return request->input.size();
  if (const auto* samples = std::get_if<JournalSamples>(&entry))
    return samples->row_bytes * samples->reports.size();
  return 0;
}

}  // namespace

DiskJournal::DiskJournal(std::string folder, JournalDatabase database, std::uint64_t epoch)
    : folder_(std::move(folder)),
      epoch_(epoch),
      database_(std::move(database)),
      spool_(folder_ + "/spool"),
      entries_(kQueue),
      reports_(kQueue) {}

Result<std::unique_ptr<DiskJournal>> DiskJournal::open(const std::string& folder,
                                                       std::uint64_t first_epoch) {
  std::error_code error;
  std::filesystem::create_directories(folder + "/spool", error);
  if (error) return internal(folder + ": cannot be made: " + error.message());
  if (::chmod(folder.c_str(), 0700) != 0)
    return internal(folder + ": cannot be made private: " + std::strerror(errno));
  PA_ASSIGN(JournalDatabase database, JournalDatabase::open(folder + "/journal.db"));
  PA_ASSIGN(const std::uint64_t epoch, database.next_epoch(first_epoch));
  return std::unique_ptr<DiskJournal>(new DiskJournal(folder, std::move(database), epoch));
}

DiskJournal::~DiskJournal() {
  entries_.close();
  if (writer_.joinable()) writer_.join();
}

Recovery DiskJournal::recover() {
  PA_CHECK(!writer_.joinable());
  Recovery recovery;
  JournalDatabase::Contents contents = database_.read();
  recovery.damage = std::move(contents.damage);
  recovery.ended = std::move(contents.erased);
  std::set<RequestId> kept;
  std::vector<RequestId> dropped;
  for (const JournalDatabase::Request& stored : contents.requests) {
    if (auto request = recover(stored, recovery.damage)) {
      kept.insert(stored.id);
      recovery.requests.push_back(std::move(*request));
    } else {
      dropped.push_back(stored.id);
    }
  }
  spool_.keep_only(kept);
  erasing_.insert(dropped.begin(), dropped.end());
  writer_ = std::thread([this] { write_all(); });
  return recovery;
}

std::optional<RecoveredRequest> DiskJournal::recover(const JournalDatabase::Request& stored,
                                                     std::vector<std::string>& damage) const {
  const std::string name = "request " + to_string(stored.id) + ": ";
  Result<RequestRecord> record = unpack_request(stored.record);
  if (!record.ok()) {
    damage.push_back(name + record.error().message + "; it is dropped");
    return std::nullopt;
  }
  Result<Buffer> input = spool_.map_input(stored.id, record->input_bytes);
  if (!input.ok() || digest_of(input->bytes()) != record->input_digest) {
    damage.push_back(name +
                     (input.ok() ? "the bytes of its tensors are damaged" : input.error().message) +
                     "; it is dropped, until its client sends it again");
    return std::nullopt;
  }

  RecoveredRequest request;
  request.request = {std::move(record->submit), std::move(record->model), std::move(*input)};
  request.age =
      std::chrono::seconds{std::max<std::int64_t>(seconds_since_1970() - record->written_at, 0)};
  for (const auto& [index, bytes] : stored.samples) {
    Result<SampleRecord> sample = unpack_sample(bytes);
    Status read = sample.ok() ? Status{} : Status{sample.error()};
    if (read.ok() && !sample->report.failed) {
      if (request.result.empty() && sample->result_bytes > 0) {
        std::shared_ptr<std::byte> memory(new (std::nothrow) std::byte[sample->result_bytes],
                                          std::default_delete<std::byte[]>());
        if (memory) request.result = {std::move(memory), sample->result_bytes};
      }
      const std::uint64_t offset = static_cast<std::uint64_t>(index) * sample->row_bytes;
      if (sample->report.sample != index || offset + sample->row_bytes > request.result.size()) {
        read = internal("its record does not fit its result");
      } else {
        const auto row = request.result.bytes().subspan(offset, sample->row_bytes);
        read = spool_.read_result(stored.id, offset, row);
        if (read.ok() && digest_of(row) != sample->row_digest)
          read = internal("its bytes are damaged");
      }
    }
    if (read.ok()) {
      request.samples.push_back(std::move(sample->report));
    } else {
      damage.push_back(name + "sample " + std::to_string(index) + ": " + read.error().message +
                       "; it is made again");
    }
  }
  if (stored.outcome.empty()) return request;
  Result<Done> outcome = unpack_outcome(stored.outcome);
  const bool whole =
      outcome.ok() &&
      std::all_of(outcome->samples.begin(), outcome->samples.end(), [&](const SampleReport& told) {
        return std::any_of(request.samples.begin(), request.samples.end(),
                           [&](const SampleReport& kept) { return kept.sample == told.sample; });
      });
  if (whole) {
    request.outcome = std::move(*outcome);
  } else {
    damage.push_back(name + "it had ended, but part of its result is missing; it is run on");
  }
  return request;
}

void DiskJournal::write(JournalEntry entry) {
  std::optional<JournalReport> report = report_of(entry);
  if (entries_.try_push(entry) || !report) return;
  report->status = overloaded("the journal is too far behind");
  refused_.push_back(std::move(*report));
}

std::optional<JournalReport> DiskJournal::next() {
  if (auto report = reports_.try_pop()) return report;
  if (refused_.empty()) return std::nullopt;
  JournalReport report = std::move(refused_.front());
  refused_.pop_front();
  return report;
}

void DiskJournal::write_all() {
  while (std::optional<JournalEntry> first = entries_.pop()) {
    std::uint64_t bytes = bytes_of(*first);
    std::vector<JournalEntry> batch;
    batch.push_back(std::move(*first));
    while (batch.size() < kBatch && bytes < kBatchBytes) {
      std::optional<JournalEntry> more = entries_.try_pop();
      if (!more) break;
      bytes += bytes_of(*more);
      batch.push_back(std::move(*more));
    }
    write_batch(batch);
  }
}

void DiskJournal::write_batch(std::vector<JournalEntry>& batch) {
  std::vector<Status> statuses;
  for (const JournalEntry& entry : batch) statuses.push_back(write_tensors(entry));
  Status done = spool_.sync();
  if (done.ok()) done = commit(batch, statuses);
  if (done.ok()) {
    (void)failpoint("journal.committed");
    for (const RequestId& request : erasing_) spool_.erase(request);
    erasing_.clear();
  }
  for (std::size_t i = 0; i < batch.size(); ++i) {
    std::optional<JournalReport> report = report_of(batch[i]);
    if (!report) continue;
    report->status = statuses[i].ok() ? done : statuses[i];
    // Full only if the loop takes none: then it has stopped, and nobody waits.
    (void)reports_.try_push(*report);
  }
  batch.clear();
  reported_.signal();
}

Status DiskJournal::write_tensors(const JournalEntry& entry) {
  if (const auto* request = std::get_if<JournalRequest>(&entry)) {
    if (request->input.empty()) return {};
    return spool_.write_input(request->submit.request, request->input.bytes());
  }
  if (const auto* samples = std::get_if<JournalSamples>(&entry)) {
    for (const SampleReport& report : samples->reports) {
      if (report.failed || samples->row_bytes == 0) continue;
      const std::uint64_t offset = static_cast<std::uint64_t>(report.sample) * samples->row_bytes;
      PA_TRY(spool_.write_result(samples->request, offset, row_of(*samples, report)));
    }
  }
  if (const auto* erase = std::get_if<JournalErase>(&entry)) erasing_.insert(erase->request);
  return {};
}

Status DiskJournal::write_records(const JournalEntry& entry) {
  if (const auto* request = std::get_if<JournalRequest>(&entry)) {
    const RequestRecord record{request->submit, request->model, request->input.size(),
                               digest_of(request->input.bytes()), seconds_since_1970()};
    return database_.put_request(request->submit.request, pack(record));
  }
  if (const auto* samples = std::get_if<JournalSamples>(&entry)) {
    for (const SampleReport& report : samples->reports) {
      SampleRecord record{report, 0, samples->result.size(), {}};
      if (!report.failed) {
        record.row_bytes = samples->row_bytes;
        record.row_digest = digest_of(row_of(*samples, report));
      }
      PA_TRY(database_.put_sample(samples->request, report.sample, pack(record)));
    }
    return {};
  }
  if (const auto* outcome = std::get_if<JournalOutcome>(&entry))
    return database_.put_outcome(outcome->done.request, pack(outcome->done));
  return {};
}

Status DiskJournal::commit(const std::vector<JournalEntry>& batch,
                           const std::vector<Status>& statuses) {
  Status done = database_.begin();
  for (std::size_t i = 0; i < batch.size() && done.ok(); ++i) {
    if (statuses[i].ok()) done = write_records(batch[i]);
  }
  for (const RequestId& request : erasing_) {
    if (done.ok()) done = database_.erase(request);
  }
  if (done.ok()) done = database_.commit();
  if (!done.ok()) database_.rollback();
  return done;
}

}  // namespace pa
