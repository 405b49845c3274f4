// What a journal on a disk does with damage, and with other versions and processes.

#include "coordinator/journal/disk_journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/support/journal_entries.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_files.h"

namespace pa::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class DiskJournalTest : public ::testing::Test {
 protected:
  std::string folder() const { return root_.path() + "/journal"; }
  std::string file(std::uint64_t n, const std::string& kind) const {
    return folder() + "/spool/" + to_string(request_id(n)) + "." + kind;
  }
  std::string database() const { return folder() + "/journal.db"; }

  /// Two requests; the first has ended, with samples 0 and 1; of the second, sample 1 is finished.
  void fill() {
    auto journal = DiskJournal::open(folder(), 1);
    ASSERT_TRUE(journal.ok()) << journal.error().message;
    (void)(*journal)->recover();
    (*journal)->write(a_request(1));
    (*journal)->write(some_samples(1, {0, 1}, 2));
    (*journal)->write(an_outcome(1, {0, 1}));
    (*journal)->write(a_request(2));
    (*journal)->write(some_samples(2, {1}, 2));
  }
  Recovery recover() {
    auto journal = DiskJournal::open(folder(), 1);
    EXPECT_TRUE(journal.ok()) << journal.error().message;
    return journal.ok() ? (*journal)->recover() : Recovery{};
  }
  /// Runs SQL on the database, which no journal has open.
  void sql(const std::string& text) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(database().c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, text.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(db);
    sqlite3_close(db);
  }
  static void flip(const std::string& path, std::streamoff at) {
    std::fstream stream(path, std::ios::in | std::ios::out | std::ios::binary);
    ASSERT_TRUE(stream.good()) << path;
    stream.seekg(at);
    const char byte = static_cast<char>(stream.get());
    stream.seekp(at);
    stream.put(static_cast<char>(byte ^ 1));
  }

  TemporaryFolder root_;
};

TEST_F(DiskJournalTest, CountsItsLives) {
  for (std::uint64_t life = 41; life < 44; ++life) {
    const auto journal = DiskJournal::open(folder(), 41);
    ASSERT_TRUE(journal.ok());
    EXPECT_EQ((*journal)->epoch(), life);
  }
}

TEST_F(DiskJournalTest, IsPrivate) {
  fill();
  struct stat info {};
  ASSERT_EQ(::stat(folder().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777u, 0700u);
}

TEST_F(DiskJournalTest, ServesOneProcess) {
  const auto first = DiskJournal::open(folder(), 1);
  ASSERT_TRUE(first.ok());
  const auto second = DiskJournal::open(folder(), 1);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::kUnavailable);
  EXPECT_THAT(second.error().message, HasSubstr("another coordinator has this journal open"));
}

TEST_F(DiskJournalTest, RefusesANewerVersion) {
  fill();
  sql("PRAGMA user_version = 9");
  const auto journal = DiskJournal::open(folder(), 1);
  ASSERT_FALSE(journal.ok());
  EXPECT_THAT(journal.error().message, HasSubstr("newer version (schema 9"));
}

TEST_F(DiskJournalTest, RemovesWhatNoRecordSpeaksOf) {
  fill();
  std::ofstream(file(77, "input")) << "left over";
  EXPECT_EQ(recover().requests.size(), 2u);
  EXPECT_FALSE(std::filesystem::exists(file(77, "input")));
  EXPECT_TRUE(std::filesystem::exists(file(1, "input")));
}

TEST_F(DiskJournalTest, RemovesTheFilesOfErasedRequests) {
  fill();
  {
    auto journal = DiskJournal::open(folder(), 1);
    (void)(*journal)->recover();
    (*journal)->write(JournalErase{request_id(1)});
  }
  EXPECT_FALSE(std::filesystem::exists(file(1, "input")));
  EXPECT_FALSE(std::filesystem::exists(file(1, "result")));
  EXPECT_THAT(recover().ended, ElementsAre(request_id(1)));
}

TEST_F(DiskJournalTest, DropsARequestWhoseTensorsAreDamaged) {
  fill();
  flip(file(1, "input"), 50);
  for (int life = 0; life < 2; ++life) {
    const Recovery recovery = recover();
    ASSERT_EQ(recovery.requests.size(), 1u);
    EXPECT_EQ(recovery.requests[0].request.submit.request, request_id(2));
    if (life == 0) {
      EXPECT_THAT(recovery.damage,
                  ElementsAre(AllOf(HasSubstr(to_string(request_id(1))), HasSubstr("damaged"))));
    }
  }
}

TEST_F(DiskJournalTest, DropsARequestWhoseTensorsAreMissingOrCut) {
  fill();
  std::filesystem::remove(file(1, "input"));
  std::filesystem::resize_file(file(2, "input"), 10);
  const Recovery recovery = recover();
  EXPECT_TRUE(recovery.requests.empty());
  EXPECT_THAT(recovery.damage,
              ElementsAre(HasSubstr("cannot open"), HasSubstr("has 10 bytes, expected 100")));
}

TEST_F(DiskJournalTest, MakesDamagedSamplesAgain) {
  fill();
  flip(file(1, "result"), 5);
  const Recovery recovery = recover();
  ASSERT_EQ(recovery.requests.size(), 2u);
  const RecoveredRequest& request = recovery.requests[0];
  ASSERT_EQ(request.samples.size(), 1u);
  EXPECT_EQ(request.samples[0].sample, 1);
  EXPECT_FALSE(request.outcome.has_value());
  EXPECT_THAT(recovery.damage,
              ElementsAre(HasSubstr("sample 0: its bytes are damaged; it is made again"),
                          HasSubstr("it is run on")));
}

TEST_F(DiskJournalTest, SeesFlippedBitsInRecords) {
  fill();
  sql("UPDATE request SET record = CAST(replace(record, 'body 2', 'body 3') AS BLOB)");
  sql("UPDATE sample SET record = zeroblob(4) WHERE sample = 0");
  const Recovery recovery = recover();
  ASSERT_EQ(recovery.requests.size(), 1u);
  EXPECT_EQ(recovery.requests[0].request.submit.request, request_id(1));
  EXPECT_THAT(recovery.damage,
              ElementsAre(HasSubstr("its record is damaged; it is dropped"),
                          HasSubstr("the record of sample 0 is damaged"), HasSubstr("run on")));
}

TEST_F(DiskJournalTest, BeginsAnewIfTheFileIsNoDatabase) {
  fill();
  std::ofstream(database(), std::ios::binary | std::ios::trunc) << "this is no database at all";
  const Recovery recovery = recover();
  EXPECT_TRUE(recovery.requests.empty());
  ASSERT_FALSE(recovery.damage.empty());
  EXPECT_THAT(recovery.damage[0], HasSubstr("it was moved to"));
  EXPECT_TRUE(std::filesystem::exists(database() + ".damaged"));
  fill();
  EXPECT_EQ(recover().requests.size(), 2u);
}

TEST_F(DiskJournalTest, SavesWhatItCanOfATornDatabase) {
  fill();
  // The last page is one of those the last table took.
  std::filesystem::resize_file(database(), std::filesystem::file_size(database()) - 4096);
  const Recovery recovery = recover();
  ASSERT_FALSE(recovery.damage.empty());
  EXPECT_THAT(recovery.damage[0], HasSubstr("is damaged"));
  EXPECT_LE(recovery.requests.size(), 2u);
  fill();
  EXPECT_EQ(recover().requests.size(), 2u);
}

}  // namespace
}  // namespace pa::test
