#include "shared/core/result.h"

#include <array>
#include <cstdio>

namespace pa {
namespace {

constexpr std::array<std::pair<Code, std::string_view>, 7> kNames{{
    {Code::kInvalid, "invalid"},
    {Code::kUnavailable, "unavailable"},
    {Code::kOverloaded, "overloaded"},
    {Code::kDeadline, "deadline"},
    {Code::kCancelled, "cancelled"},
    {Code::kWorkerLost, "worker_lost"},
    {Code::kInternal, "internal"},
}};

}  // namespace

std::string_view name_of(Code code) {
  for (const auto& [known, name] : kNames) {
    if (known == code) return name;
  }
  return "internal";
}

Code code_named(std::string_view name) {
  for (const auto& [code, known] : kNames) {
    if (known == name) return code;
  }
  return Code::kInternal;
}

void broken(const char* file, int line, std::string_view what) {
  std::fprintf(stderr, "%s:%d: broken invariant: %.*s\n", file, line, static_cast<int>(what.size()),
               what.data());
  std::fflush(stderr);
  std::abort();
}

}  // namespace pa
