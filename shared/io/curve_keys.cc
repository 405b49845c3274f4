#include "shared/io/curve_keys.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "shared/core/names.h"
#include "shared/io/descriptor.h"

namespace pa {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kKeyCharacters = 40;
constexpr std::size_t kKeyBytes = 32;
constexpr const char* kSecret = ".secret";
constexpr const char* kPublic = ".public";
using Z85Key = std::array<char, kKeyCharacters + 1>;  // And a zero.

std::string system_says(const std::string& what) {
  return what + ": " + std::strerror(errno);  // NOLINT(concurrency-mt-unsafe)
}

Status write_key(const std::string& path, const std::string& key, mode_t mode) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (file.get() < 0 && errno == EEXIST) {
    return invalid(path + " is there already: remove it, or choose another name");
  }
  const std::string text = key + "\n";
  if (file.get() < 0 || ::fchmod(file.get(), mode) != 0 ||
      ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return internal(system_says(path + ": cannot be written"));
  }
  return {};
}

/// `secret`: only its owner may be able to read it, who must be this user (or this user root).
Result<std::string> read_key(const std::string& path, bool secret) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return invalid(system_says(path));
  if (secret) {
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) return internal(system_says(path));
    if (status.st_uid != ::geteuid() && ::geteuid() != 0) {
      return invalid(path + " belongs to user " + std::to_string(status.st_uid));
    }
    if ((status.st_mode & 077) != 0) {
      return invalid(path + " can be read by others; expected mode 0600 (chmod 600 " + path + ")");
    }
  }
  std::array<char, kKeyCharacters + 8> text{};
  const ssize_t bytes = ::read(file.get(), text.data(), text.size());
  std::string key(text.data(), bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  while (key.ends_with('\n') || key.ends_with('\r')) key.pop_back();
  if (!is_curve_key(key)) {
    return invalid(path + ": expected a key of " + std::to_string(kKeyCharacters) +
                   " characters, as `pa keygen` makes it");
  }
  return key;
}

Result<CurveKeys> read_pair(const std::string& path) {
  PA_ASSIGN(std::string secret, read_key(path, true));
  Z85Key public_key{};
  if (zmq_curve_public(public_key.data(), secret.c_str()) != 0) {
    return invalid(path + ": no secret key");
  }
  return CurveKeys{public_key.data(), std::move(secret)};
}

/// The one secret in `folder` that is not the coordinator's.
Result<std::string> own_secret(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const fs::path& path = entry->path();
    if (path.extension() == kSecret && path.stem() != kCoordinatorKeys) {
      found.push_back(path.string());
    }
  }
  if (error) return invalid(folder + ": " + error.message());
  if (found.empty()) return invalid(folder + ": there is no NAME.secret (pa keygen makes one)");
  if (found.size() > 1) {
    return invalid(folder + ": there are several secrets, among them " + found[0] + " and " +
                   found[1] + "; name the file that is meant");
  }
  return found.front();
}

}  // namespace

bool is_curve_key(const std::string& text) {
  std::array<std::uint8_t, kKeyBytes> bytes{};
  return text.size() == kKeyCharacters && zmq_z85_decode(bytes.data(), text.c_str()) != nullptr;
}

Result<CurveKeys> make_curve_keys() {
  Z85Key public_key{};
  Z85Key secret_key{};
  if (zmq_curve_keypair(public_key.data(), secret_key.data()) != 0) {
    return internal(std::string("this libzmq makes no CURVE keys: ") + zmq_strerror(zmq_errno()));
  }
  return CurveKeys{public_key.data(), secret_key.data()};
}

Result<CurveKeys> create_curve_keys(const std::string& folder, const std::string& name) {
  PA_TRY(check_worker_name(name));
  std::error_code error;
  if (fs::create_directories(folder, error)) fs::permissions(folder, fs::perms::owner_all, error);
  if (error) return internal(folder + ": cannot be made: " + error.message());
  PA_ASSIGN(CurveKeys keys, make_curve_keys());
  PA_TRY(write_key(folder + "/" + name + kSecret, keys.secret_key, 0600));
  PA_TRY(write_key(folder + "/" + name + kPublic, keys.public_key, 0644));
  return keys;
}

Result<CurveKeys> read_curve_keys(const std::string& folder, const std::string& name) {
  return read_pair(folder + "/" + name + kSecret);
}

Result<PeerKeys> read_peer_keys(const std::string& path) {
  if (path.empty()) {
    return invalid(
        "tcp:// is spoken with CURVE keys only: give the folder with coordinator.public and the "
        "own NAME.secret");
  }
  const bool is_file = fs::path(path).extension() == kSecret;
  const std::string folder = is_file ? fs::path(path).parent_path().string() : path;
  PA_ASSIGN(const std::string secret, is_file ? Result<std::string>(path) : own_secret(folder));
  PeerKeys keys;
  PA_ASSIGN(keys.own, read_pair(secret));
  PA_ASSIGN(keys.server_key,
            read_key((folder.empty() ? "." : folder) + "/" + kCoordinatorKeys + kPublic, false));
  return keys;
}

}  // namespace pa
