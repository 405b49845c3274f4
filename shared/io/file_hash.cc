#include "shared/io/file_hash.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "shared/io/descriptor.h"

namespace pa {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxKept = 4096;
constexpr std::uintmax_t kMaxCacheBytes = std::uintmax_t{4} << 20;
/// A file that changed as lately may change again within one tick of its time.
constexpr std::int64_t kSettledSeconds = 3;

std::string key_of(const struct ::stat& info) {
  return std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino) + ":" +
         std::to_string(info.st_size) + ":" + std::to_string(info.st_mtim.tv_sec) + "." +
         std::to_string(info.st_mtim.tv_nsec);
}

std::string hex_of(const std::array<unsigned char, crypto_hash_sha256_BYTES>& digest) {
  std::array<char, 2 * crypto_hash_sha256_BYTES + 1> text{};
  sodium_bin2hex(text.data(), text.size(), digest.data(), digest.size());
  return text.data();
}

std::map<std::string, std::string> read_cache(const std::string& path) {
  std::map<std::string, std::string> kept;
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path, error);
  if (error || size > kMaxCacheBytes) return kept;
  std::ifstream file(path, std::ios::binary);
  const nlohmann::json cache = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!cache.is_object()) return kept;
  for (const auto& [key, value] : cache.items()) {
    if (value.is_string() && value.get_ref<const std::string&>().size() == 64) {
      kept.emplace(key, value.get<std::string>());
    }
  }
  return kept;
}

}  // namespace

FileHashes::FileHashes(std::string cache_file) : cache_file_(std::move(cache_file)) {
  if (!cache_file_.empty()) kept_ = read_cache(cache_file_);
}

Result<std::string> FileHashes::sha256(const std::string& path,
                                       const std::function<bool()>& go_on) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct ::stat info {};
  if (file.get() < 0 || ::fstat(file.get(), &info) != 0) {
    return invalid(path + ": cannot be read: " + std::strerror(errno));
  }
  const std::string key = key_of(info);
  if (const auto found = kept_.find(key); found != kept_.end()) return found->second;

  crypto_hash_sha256_state state{};
  crypto_hash_sha256_init(&state);
  std::vector<unsigned char> chunk(std::size_t{4} << 20);
  while (true) {
    if (go_on && !go_on()) return Error{Code::kCancelled, path + ": reading was cancelled", {}};
    const ::ssize_t got = ::read(file.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return invalid(path + ": cannot be read: " + std::strerror(errno));
    if (got == 0) break;
    crypto_hash_sha256_update(&state, chunk.data(), static_cast<std::size_t>(got));
  }
  std::array<unsigned char, crypto_hash_sha256_BYTES> digest{};
  crypto_hash_sha256_final(&state, digest.data());
  std::string hash = hex_of(digest);
  const bool large = static_cast<std::uint64_t>(info.st_size) >= kKeptBytes;
  struct ::stat after {};
  const bool same = ::fstat(file.get(), &after) == 0 && key_of(after) == key;
  if (large && same && std::time(nullptr) - info.st_mtim.tv_sec > kSettledSeconds) {
    remember(key, hash);
  }
  return hash;
}

void FileHashes::remember(const std::string& key, const std::string& hash) {
  if (cache_file_.empty()) return;
  kept_ = read_cache(cache_file_);  // Others may have added to it.
  if (kept_.size() >= kMaxKept) kept_.clear();
  kept_.emplace(key, hash);
  const fs::path path(cache_file_);
  std::error_code ignored;
  fs::create_directories(path.parent_path(), ignored);
  const fs::path fresh = path.string() + "." + std::to_string(::getpid());
  {
    std::ofstream file(fresh, std::ios::binary);
    file << nlohmann::json(kept_).dump(1) << "\n";
    if (!file.flush()) return;
  }
  fs::rename(fresh, path, ignored);
  if (ignored) fs::remove(fresh, ignored);
}

std::string default_hash_cache() {
  const auto of = [](const char* name, const char* rest) -> std::string {
    const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
    return value == nullptr || *value == '\0' ? "" : std::string(value) + rest;
  };
  constexpr const char* kRest = "/parallelanything/file-hashes.json";
  for (const auto& path : {of("CACHE_DIRECTORY", "/file-hashes.json"), of("XDG_CACHE_HOME", kRest),
                           of("HOME", (std::string("/.cache") + kRest).c_str())}) {
    if (!path.empty()) return path;
  }
  return {};
}

}  // namespace pa
