#include "shared/io/allow_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "shared/core/names.h"
#include "shared/io/curve_keys.h"
#include "tests/support/temporary_folder.h"

namespace pa {
namespace {

using ::testing::HasSubstr;

class KeysTest : public ::testing::Test {
 protected:
  const test::TemporaryFolder temporary_;
  const std::string folder_ = temporary_.path();
};

TEST_F(KeysTest, AreWrittenForTheirOwnerOnlyAndReadBack) {
  const std::string keys = folder_ + "/keys";
  const auto made = create_curve_keys(keys, "box2");
  ASSERT_TRUE(made.ok()) << made.error().message;
  struct stat status {};
  ASSERT_EQ(::stat((keys + "/box2.secret").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  ASSERT_EQ(::stat(keys.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700U);
  const auto read = read_curve_keys(keys, "box2");
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->public_key, made->public_key);
  EXPECT_EQ(read->secret_key, made->secret_key);
  EXPECT_THAT(create_curve_keys(keys, "box2").error().message, HasSubstr("is there already"));
  EXPECT_THAT(create_curve_keys(keys, "../x").error().message, HasSubstr("expected"));
}

TEST_F(KeysTest, OfOthersEyesAreRefused) {
  ASSERT_TRUE(create_curve_keys(folder_, "box2").ok());
  ASSERT_EQ(::chmod((folder_ + "/box2.secret").c_str(), 0640), 0);
  EXPECT_THAT(read_curve_keys(folder_, "box2").error().message, HasSubstr("chmod 600"));
  std::ofstream(folder_ + "/box3.secret") << "short\n";
  ASSERT_EQ(::chmod((folder_ + "/box3.secret").c_str(), 0600), 0);
  EXPECT_THAT(read_curve_keys(folder_, "box3").error().message, HasSubstr("40 characters"));
}

TEST_F(KeysTest, OfAPeerAreTheOnlyOnesInItsFolder) {
  EXPECT_THAT(read_peer_keys("").error().message, HasSubstr("coordinator.public"));
  EXPECT_THAT(read_peer_keys(folder_).error().message, HasSubstr("no NAME.secret"));
  const auto coordinator = create_curve_keys(folder_, "coordinator");
  ASSERT_TRUE(coordinator.ok());
  const auto alice = create_curve_keys(folder_, "alice");
  const auto found = read_peer_keys(folder_);
  ASSERT_TRUE(found.ok()) << found.error().message;
  EXPECT_EQ(found->server_key, coordinator->public_key);
  EXPECT_EQ(found->own.secret_key, alice->secret_key);
  const auto bob = create_curve_keys(folder_, "bob");
  EXPECT_THAT(read_peer_keys(folder_).error().message, HasSubstr("several secrets"));
  EXPECT_EQ(read_peer_keys(folder_ + "/bob.secret")->own.secret_key, bob->secret_key);
}

TEST_F(KeysTest, ListIsAppendedTo) {
  const std::string list = folder_ + "/allow.yaml";
  const std::string a = make_curve_keys()->public_key;
  const std::string b = make_curve_keys()->public_key;
  const std::string c = make_curve_keys()->public_key;
  ASSERT_TRUE(append_allowed(list, {Role::kWorker, "box2:*"}, a).ok());
  ASSERT_TRUE(append_allowed(list, {Role::kClient, "alice"}, b).ok());
  ASSERT_TRUE(append_allowed(list, {Role::kWorker, "box3"}, c).ok());
  EXPECT_FALSE(append_allowed(list, {Role::kWorker, "box4"}, c).ok()) << "one key, two names";
  EXPECT_FALSE(append_allowed(list, {Role::kWorker, "box3"}, make_curve_keys()->public_key).ok());
  const auto read = AllowList::load(list);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->size(), 3U);
  EXPECT_EQ(read->find(a)->name, "box2:*");
  EXPECT_EQ(read->find(b)->role, Role::kClient);
  EXPECT_EQ(read->find(c)->role, Role::kWorker);
  EXPECT_EQ(read->find(make_curve_keys()->public_key), nullptr);
}

TEST_F(KeysTest, ListSaysWhereItIsWrong) {
  const auto why = [](const std::string& text) {
    const auto list = AllowList::parse(text, "allow.yaml");
    return list.ok() ? "" : list.error().message;
  };
  EXPECT_EQ(why(""), "");
  EXPECT_THAT(why("workers:\n  box2: short\n"), HasSubstr("allow.yaml:2:9"));
  EXPECT_THAT(why("worker:\n  box2: x\n"), HasSubstr("did you mean 'workers'"));
  const std::string key = make_curve_keys()->public_key;
  EXPECT_THAT(why("clients:\n  \"a*\": \"" + key + "\"\n"), HasSubstr("expected"));
  EXPECT_THAT(why("clients:\n  a: [\"" + key + "\", \"" + key + "\"]\n"), HasSubstr("twice"));
}

TEST(Names, MatchPatterns) {
  EXPECT_TRUE(matches_name("box2:cuda:0", "box2:cuda:0"));
  EXPECT_FALSE(matches_name("box2:cuda:0", "box2:cuda:1"));
  EXPECT_TRUE(matches_name("box2:*", "box2:cuda:1"));
  EXPECT_FALSE(matches_name("box2:*", "box22:cuda:1"));
  EXPECT_TRUE(matches_name("*", "anything"));
  EXPECT_TRUE(check_name_pattern("box2:*").ok());
  EXPECT_FALSE(check_name_pattern("*box").ok());
  EXPECT_FALSE(check_name_pattern("").ok());
}

}  // namespace
}  // namespace pa
