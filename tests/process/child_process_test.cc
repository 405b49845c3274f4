#include "clients/cli/child_process.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "clients/cli/free_port.h"

namespace pa::cli {
namespace {

std::string log_path() { return ::testing::TempDir() + "/pa_child.log"; }

ChildProcess start(const std::string& script) {
  auto child = ChildProcess::start({{"/bin/sh", "-c", script}, {{"PA_TEST", "there"}}, log_path()});
  EXPECT_TRUE(child.ok());
  return std::move(child).value();
}

Exit wait_for(ChildProcess& child) {
  for (int i = 0; i < 2000; ++i) {
    if (const auto exit = child.poll()) return *exit;
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
  ADD_FAILURE() << "still running";
  return {};
}

TEST(ChildProcess, TellsHowItEndedAndLogs) {
  std::filesystem::remove(log_path());
  ChildProcess child = start("echo \"$PA_TEST\"; exit 3");
  const Exit exit = wait_for(child);
  EXPECT_EQ(to_string(exit), "exited with 3");
  std::ifstream log(log_path());
  std::string line;
  std::getline(log, line);
  EXPECT_EQ(line, "there");
  std::filesystem::remove(log_path());
}

TEST(ChildProcess, IsSignalled) {
  ChildProcess child = start("sleep 60");
  EXPECT_FALSE(child.poll());
  child.signal(SIGTERM);
  EXPECT_EQ(to_string(wait_for(child)), "killed by signal 15");
}

TEST(ChildProcess, DiesWithItsOwner) {
  pid_t pid = 0;
  {
    const ChildProcess child = start("sleep 60");
    pid = child.pid();
  }
  EXPECT_NE(::kill(pid, 0), 0);
}

TEST(ChildProcess, AProgramThatIsNotThereIsAnError) {
  const auto child = ChildProcess::start({{"/nowhere/pa-worker"}, {}, log_path()});
  ASSERT_FALSE(child.ok());
  EXPECT_EQ(child.error().message,
            "/nowhere/pa-worker: cannot be executed: No such file or directory");
}

TEST(FreePorts, AreDifferent) {
  const auto ports = free_ports(8);
  ASSERT_TRUE(ports.ok());
  EXPECT_EQ(std::set<int>(ports->begin(), ports->end()).size(), 8U);
}

}  // namespace
}  // namespace pa::cli
