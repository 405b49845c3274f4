#include "coordinator/journal/database.h"

#include <sqlite3.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <span>

#include "shared/io/digest.h"
#include "shared/io/failpoint.h"

namespace pa {
namespace {

constexpr int kSchemaVersion = 1;
constexpr int kApplicationId = 0x50414a31;  // "PAJ1"
constexpr int kIdBytes = 16;

// One statement each.
constexpr const char* kSchema[] = {
    "CREATE TABLE epoch (value INTEGER NOT NULL)",
    "CREATE TABLE request (sequence INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE,"
    " record BLOB NOT NULL, digest BLOB NOT NULL)",
    "CREATE TABLE sample (id BLOB NOT NULL, sample INTEGER NOT NULL, record BLOB NOT NULL,"
    " digest BLOB NOT NULL, PRIMARY KEY (id, sample))",
    "CREATE TABLE outcome (id BLOB PRIMARY KEY NOT NULL, record BLOB NOT NULL,"
    " digest BLOB NOT NULL)",
    "CREATE TABLE erased (sequence INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL)",
};

std::string bytes_of(const RequestId& id) {
  std::string bytes(kIdBytes, '\0');
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<char>(id.high >> (56 - 8 * i));
    bytes[8 + i] = static_cast<char>(id.low >> (56 - 8 * i));
  }
  return bytes;
}

RequestId id_of(std::string_view bytes) {
  RequestId id;
  if (bytes.size() != kIdBytes) return id;
  for (std::size_t i = 0; i < 8; ++i) {
    id.high = id.high << 8 | static_cast<unsigned char>(bytes[i]);
    id.low = id.low << 8 | static_cast<unsigned char>(bytes[8 + i]);
  }
  return id;
}

/// Of the record and of what it belongs to, so that records cannot change places.
std::string digest_for(std::string_view key, std::string_view record) {
  std::string all(key);
  all += record;
  const Digest digest = digest_of(std::as_bytes(std::span(all.data(), all.size())));
  return bytes_of({digest.high, digest.low});
}

std::string sample_key(const RequestId& id, std::int64_t sample) {
  return bytes_of(id) + std::to_string(sample);
}

}  // namespace

/// An open file. SQLite is not told from other threads; results are its codes.
struct JournalDatabase::Connection {
  std::string path;
  sqlite3* db = nullptr;
  std::map<std::string, sqlite3_stmt*, std::less<>> prepared;
  std::vector<std::string> damage;  ///< Found while opening.

  explicit Connection(std::string file) : path(std::move(file)) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    for (const auto& [sql, statement] : prepared) sqlite3_finalize(statement);
    sqlite3_close(db);
  }

  [[nodiscard]] Error failed(int code) const {
    const std::string text = path + ": " + (db != nullptr ? sqlite3_errmsg(db) : "cannot open");
    switch (code & 0xff) {
      case SQLITE_FULL:
        return overloaded(text);
      case SQLITE_BUSY:
      case SQLITE_LOCKED:
        return unavailable(path + ": another coordinator has this journal open");
      default:
        return internal(text);
    }
  }

  int execute(const char* sql) const { return sqlite3_exec(db, sql, nullptr, nullptr, nullptr); }

  [[nodiscard]] Status run(const char* sql) const {
    const int code = execute(sql);
    if (code != SQLITE_OK) return failed(code);
    return {};
  }

  /// A statement ready to be bound, or nullptr.
  sqlite3_stmt* prepare(const char* sql) {
    auto found = prepared.find(sql);
    if (found == prepared.end()) {
      sqlite3_stmt* statement = nullptr;
      if (sqlite3_prepare_v2(db, sql, -1, &statement, nullptr) != SQLITE_OK) return nullptr;
      found = prepared.emplace(sql, statement).first;
    }
    sqlite3_reset(found->second);
    sqlite3_clear_bindings(found->second);
    return found->second;
  }

  static void bind(sqlite3_stmt* statement, int index, std::string_view blob) {
    sqlite3_bind_blob64(statement, index, blob.data(), blob.size(), SQLITE_TRANSIENT);
  }
  static void bind(sqlite3_stmt* statement, int index, std::int64_t value) {
    sqlite3_bind_int64(statement, index, value);
  }

  /// Runs a statement that returns nothing.
  template <class... Values>
  [[nodiscard]] Status write(const char* sql, const Values&... values) {
    sqlite3_stmt* const statement = prepare(sql);
    if (statement == nullptr) return failed(sqlite3_errcode(db));
    int index = 0;
    (bind(statement, ++index, values), ...);
    const int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    if (code != SQLITE_DONE) return failed(code);
    return {};
  }

  /// Calls `row(statement)` for each row. SQLITE_DONE, or why it stopped.
  template <class Row>
  int each(const char* sql, Row row) {
    sqlite3_stmt* const statement = prepare(sql);
    if (statement == nullptr) return sqlite3_errcode(db);
    int code = SQLITE_OK;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) row(statement);
    sqlite3_reset(statement);
    return code;
  }

  static std::string blob(sqlite3_stmt* statement, int column) {
    const void* const data = sqlite3_column_blob(statement, column);
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, column));
    return data == nullptr ? std::string{} : std::string(static_cast<const char*>(data), size);
  }

  [[nodiscard]] std::int64_t number(const char* sql, std::int64_t otherwise) {
    std::int64_t value = otherwise;
    each(sql, [&](sqlite3_stmt* row) { value = sqlite3_column_int64(row, 0); });
    return value;
  }

  /// Opens the file and makes sure that it is ours. kInternal: it is damaged.
  [[nodiscard]] Status connect() {
    const int opened =
        sqlite3_open_v2(path.c_str(), &db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
    if (opened != SQLITE_OK) return failed(opened);
    PA_TRY(run("PRAGMA locking_mode = EXCLUSIVE"));
    PA_TRY(run("PRAGMA journal_mode = WAL"));
    PA_TRY(run("PRAGMA synchronous = FULL"));
    const std::int64_t schema = number("PRAGMA user_version", 0);
    if (schema > kSchemaVersion) {
      return unavailable(path + ": was written by a newer version (schema " +
                         std::to_string(schema) + ", this program knows " +
                         std::to_string(kSchemaVersion) +
                         "); run that version, or give another folder");
    }
    if (schema == 0) return make();
    bool sound = false;
    each("PRAGMA quick_check(1)", [&](sqlite3_stmt* row) { sound = blob(row, 0) == "ok"; });
    if (!sound) return internal(path + ": the file is damaged");
    return {};
  }

  [[nodiscard]] Status make() const {
    PA_TRY(run("BEGIN"));
    for (const char* const statement : kSchema) PA_TRY(run(statement));
    PA_TRY(run(("PRAGMA application_id = " + std::to_string(kApplicationId)).c_str()));
    PA_TRY(run(("PRAGMA user_version = " + std::to_string(kSchemaVersion)).c_str()));
    return run("COMMIT");
  }

  void note(int code, const char* what) {
    if (code != SQLITE_DONE)
      damage.push_back(path + ": some " + what + " cannot be read: " + sqlite3_errmsg(db));
  }

  Contents read() {
    Contents contents;
    std::map<RequestId, std::size_t> places;
    const int requests =
        each("SELECT id, record, digest FROM request ORDER BY sequence", [&](sqlite3_stmt* row) {
          const RequestId id = id_of(blob(row, 0));
          std::string record = blob(row, 1);
          if (digest_for(bytes_of(id), record) != blob(row, 2)) {
            damage.push_back("request " + to_string(id) + ": its record is damaged; it is dropped");
            return;
          }
          places[id] = contents.requests.size();
          contents.requests.push_back({id, std::move(record), {}, {}});
        });
    note(requests, "requests");
    const int samples =
        each("SELECT id, sample, record, digest FROM sample", [&](sqlite3_stmt* row) {
          const RequestId id = id_of(blob(row, 0));
          const std::int64_t sample = sqlite3_column_int64(row, 1);
          std::string record = blob(row, 2);
          const auto place = places.find(id);
          if (place == places.end()) return;
          if (digest_for(sample_key(id, sample), record) != blob(row, 3)) {
            damage.push_back("request " + to_string(id) + ": the record of sample " +
                             std::to_string(sample) + " is damaged; it is made again");
            return;
          }
          contents.requests[place->second].samples.emplace_back(sample, std::move(record));
        });
    note(samples, "samples");
    const int outcomes = each("SELECT id, record, digest FROM outcome", [&](sqlite3_stmt* row) {
      const RequestId id = id_of(blob(row, 0));
      std::string record = blob(row, 1);
      const auto place = places.find(id);
      if (place == places.end()) return;
      if (digest_for(bytes_of(id), record) == blob(row, 2)) {
        contents.requests[place->second].outcome = std::move(record);
      } else {
        damage.push_back("request " + to_string(id) + ": its outcome is damaged; it is run on");
      }
    });
    note(outcomes, "outcomes");
    each("SELECT id FROM erased ORDER BY sequence",
         [&](sqlite3_stmt* row) { contents.erased.push_back(id_of(blob(row, 0))); });
    contents.damage = std::move(damage);
    damage.clear();
    return contents;
  }
};

JournalDatabase::JournalDatabase(std::unique_ptr<Connection> connection)
    : connection_(std::move(connection)) {}
JournalDatabase::~JournalDatabase() = default;
JournalDatabase::JournalDatabase(JournalDatabase&&) noexcept = default;
JournalDatabase& JournalDatabase::operator=(JournalDatabase&&) noexcept = default;

Result<JournalDatabase> JournalDatabase::open(const std::string& path) {
  auto connection = std::make_unique<Connection>(path);
  const Status connected = connection->connect();
  if (connected.ok()) return JournalDatabase(std::move(connection));
  if (connected.error().code != Code::kInternal) return connected.error();

  // Damaged: save what can be read, and begin a new file with it.
  Contents saved;
  std::int64_t epoch = 0;
  if (connection->db != nullptr) {
    saved = connection->read();
    epoch = connection->number("SELECT max(value) FROM epoch", 0);
  }
  connection.reset();
  std::error_code error;
  std::filesystem::rename(path, path + ".damaged", error);
  if (error) return internal(path + ": is damaged and cannot be moved aside: " + error.message());
  for (const char* const suffix : {"-wal", "-shm"}) std::filesystem::remove(path + suffix, error);

  connection = std::make_unique<Connection>(path);
  PA_TRY(connection->connect());
  JournalDatabase fresh(std::move(connection));
  PA_TRY(fresh.begin());
  for (const Request& request : saved.requests) {
    PA_TRY(fresh.put_request(request.id, request.record));
    for (const auto& [sample, record] : request.samples)
      PA_TRY(fresh.put_sample(request.id, sample, record));
    if (!request.outcome.empty()) PA_TRY(fresh.put_outcome(request.id, request.outcome));
  }
  for (const RequestId& id : saved.erased)
    PA_TRY(fresh.connection_->write("INSERT INTO erased (id) VALUES (?)", bytes_of(id)));
  if (epoch > 0) PA_TRY(fresh.connection_->write("INSERT INTO epoch VALUES (?)", epoch));
  PA_TRY(fresh.commit());
  std::vector<std::string>& damage = fresh.connection_->damage;
  damage = std::move(saved.damage);
  damage.insert(damage.begin(), path + ": is damaged; it was moved to " + path + ".damaged, and " +
                                    std::to_string(saved.requests.size()) +
                                    " requests were read from it");
  return fresh;
}

Result<std::uint64_t> JournalDatabase::next_epoch(std::uint64_t first) {
  const std::int64_t last = connection_->number("SELECT max(value) FROM epoch", 0);
  const std::int64_t next = last > 0 ? last + 1 : static_cast<std::int64_t>(first);
  PA_TRY(begin());
  PA_TRY(connection_->write("DELETE FROM epoch"));
  PA_TRY(connection_->write("INSERT INTO epoch VALUES (?)", next));
  PA_TRY(commit());
  return static_cast<std::uint64_t>(next);
}

Status JournalDatabase::begin() { return connection_->run("BEGIN IMMEDIATE"); }

Status JournalDatabase::put_request(const RequestId& request, std::string_view record) {
  const std::string id = bytes_of(request);
  return connection_->write("INSERT OR REPLACE INTO request (id, record, digest) VALUES (?, ?, ?)",
                            id, record, digest_for(id, record));
}

Status JournalDatabase::put_sample(const RequestId& request, std::int64_t sample,
                                   std::string_view record) {
  return connection_->write("INSERT OR REPLACE INTO sample VALUES (?, ?, ?, ?)", bytes_of(request),
                            sample, record, digest_for(sample_key(request, sample), record));
}

Status JournalDatabase::put_outcome(const RequestId& request, std::string_view record) {
  const std::string id = bytes_of(request);
  return connection_->write("INSERT OR REPLACE INTO outcome VALUES (?, ?, ?)", id, record,
                            digest_for(id, record));
}

Status JournalDatabase::erase(const RequestId& request) {
  const std::string id = bytes_of(request);
  PA_TRY(connection_->write("DELETE FROM request WHERE id = ?", id));
  if (sqlite3_changes(connection_->db) == 0) return {};
  PA_TRY(connection_->write("DELETE FROM sample WHERE id = ?", id));
  PA_TRY(connection_->write("DELETE FROM outcome WHERE id = ?", id));
  PA_TRY(connection_->write("INSERT INTO erased (id) VALUES (?)", id));
  return connection_->write(
      "DELETE FROM erased WHERE sequence <= (SELECT max(sequence) FROM erased) - ?",
      std::int64_t{kTombstones});
}

Status JournalDatabase::commit() {
  if (const int wanted = failpoint("journal.commit"))
    return wanted == ENOSPC ? overloaded(connection_->path + ": database or disk is full")
                            : internal(connection_->path + ": disk I/O error");
  return connection_->run("COMMIT");
}

void JournalDatabase::rollback() { connection_->execute("ROLLBACK"); }

JournalDatabase::Contents JournalDatabase::read() { return connection_->read(); }

}  // namespace pa
