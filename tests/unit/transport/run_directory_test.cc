#include "shared/io/run_directory.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/support/temporary_folder.h"

namespace pa {
namespace {

class RunDirectoryTest : public ::testing::Test {
 protected:
  static void expect_error(const Status& status, Code code, const std::string& text) {
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, code);
    EXPECT_NE(status.error().message.find(text), std::string::npos) << status.error().message;
  }

  static Status taken(const std::string& path) {
    Result<RunDirectory> directory = RunDirectory::take(path);
    return directory.ok() ? Status{} : Status{directory.error()};
  }

  const test::TemporaryFolder temporary_;
  const std::string base_ = temporary_.path();
};

TEST_F(RunDirectoryTest, IsMadeForThisUserOnly) {
  const std::string path = base_ + "/a/b/run";
  const Result<RunDirectory> directory = RunDirectory::take(path);
  ASSERT_TRUE(directory.ok()) << directory.error().message;
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700U);
  EXPECT_TRUE(check_run_directory(path).ok());
}

TEST_F(RunDirectoryTest, HasOneHolderWhoseNumberIsTold) {
  const std::string path = base_ + "/run";
  {
    const Result<RunDirectory> first = RunDirectory::take(path);
    ASSERT_TRUE(first.ok());
    expect_error(taken(path), Code::kUnavailable, path);
    expect_error(taken(path), Code::kUnavailable, "process " + std::to_string(::getpid()));
  }
  EXPECT_TRUE(taken(path).ok()) << "a lock ends with its holder";
}

TEST_F(RunDirectoryTest, IsRefusedIfOthersMayEnter) {
  const std::string path = base_ + "/open";
  ASSERT_EQ(::mkdir(path.c_str(), 0755), 0);
  ASSERT_EQ(::chmod(path.c_str(), 0755), 0);
  expect_error(taken(path), Code::kInvalid, "chmod 700");
  expect_error(check_run_directory(path), Code::kInvalid, path);
}

TEST_F(RunDirectoryTest, IsRefusedIfItIsNone) {
  const std::string file = base_ + "/file";
  std::ofstream(file) << "x";
  expect_error(taken(file), Code::kInvalid, "not a directory");
  const std::string link = base_ + "/link";
  std::filesystem::create_directory_symlink(base_, link);
  expect_error(taken(link), Code::kInvalid, "not a directory");
  expect_error(check_run_directory(base_ + "/none"), Code::kUnavailable, "none");
}

TEST_F(RunDirectoryTest, RemovesSocketsThatWereLeft) {
  const std::string path = base_ + "/run";
  const Result<RunDirectory> directory = RunDirectory::take(path);
  ASSERT_TRUE(directory.ok());
  const std::string socket_path = path + "/client.sock";
  EXPECT_TRUE(directory->remove_stale(socket_path).ok()) << "nothing there is fine";

  const Descriptor left(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket_path.c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(left.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_TRUE(directory->remove_stale(socket_path).ok());
  EXPECT_FALSE(std::filesystem::exists(socket_path));

  std::ofstream(socket_path) << "precious";
  expect_error(directory->remove_stale(socket_path), Code::kInvalid, "not a socket");
  EXPECT_TRUE(std::filesystem::exists(socket_path));
}

}  // namespace
}  // namespace pa
