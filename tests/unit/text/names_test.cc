#include "shared/core/names.h"

#include <gtest/gtest.h>

#include <string>

namespace pa {
namespace {

TEST(WorkerName, TakesWhatIsSafeEverywhere) {
  for (const char* name : {"a", "box:cuda:0", "gpu-1.example_2", "0"}) {
    EXPECT_TRUE(check_worker_name(name).ok()) << name;
  }
  EXPECT_TRUE(check_worker_name(std::string(64, 'a')).ok());
}

TEST(WorkerName, RefusesTheRest) {
  for (const char* name :
       {"", "-a", ".a", ":0", "a b", "a/b", "a\n", "a\"", "caf\u00e9", "a\xFF"}) {
    EXPECT_FALSE(check_worker_name(name).ok()) << name;
  }
  EXPECT_FALSE(check_worker_name(std::string(65, 'a')).ok());
}

TEST(Device, TakesTheFourKinds) {
  for (const char* device : {"cpu", "mps", "cuda:0", "cuda:15", "xpu:255"}) {
    EXPECT_TRUE(check_device(device).ok()) << device;
  }
}

TEST(Device, RefusesTheRest) {
  for (const char* device :
       {"", "gpu", "cuda", "cuda:", "cuda:00", "cuda:-1", "cuda:256", "cpu:0", "CPU", "cuda:0 "}) {
    EXPECT_FALSE(check_device(device).ok()) << device;
  }
}

}  // namespace
}  // namespace pa
