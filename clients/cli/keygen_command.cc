// pa keygen.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "clients/cli/commands.h"
#include "clients/cli/exit_code.h"
#include "shared/core/names.h"
#include "shared/io/descriptor.h"

namespace pa::cli {
namespace {

using Z85Key = std::array<char, 41>;  // 32 bytes as 40 characters, and a zero.

/// Never replaces a file: a lost key cannot be had again.
Status write_key(const std::string& path, const Z85Key& key, mode_t mode) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (file.get() < 0 && errno == EEXIST) {
    return invalid(path + " is there already: remove it, or choose another --name");
  }
  const std::string text = std::string(key.data()) + "\n";
  if (file.get() < 0 || ::fchmod(file.get(), mode) != 0 ||
      ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return internal(path + ": cannot be written: " + std::strerror(errno));
  }
  return {};
}

Status make_keys(const std::string& folder, const std::string& name) {
  PA_TRY(check_worker_name(name));
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return internal(folder + ": cannot be made: " + error.message());
  Z85Key public_key{};
  Z85Key secret_key{};
  if (zmq_curve_keypair(public_key.data(), secret_key.data()) != 0) {
    return internal(std::string("this libzmq makes no CURVE keys: ") + zmq_strerror(zmq_errno()));
  }
  PA_TRY(write_key(folder + "/" + name + ".secret", secret_key, 0600));
  return write_key(folder + "/" + name + ".public", public_key, 0644);
}

}  // namespace

int run(const KeygenCommand& command) {
  const std::string name = command.name.empty() ? "pa" : command.name;
  const Status made = make_keys(command.out_dir, name);
  if (!made.ok()) return fail(made.error());
  std::printf(
      "%s/%s.secret and %s.public: a CURVE key pair in Z85. This version speaks ipc:// only, "
      "which\n"
      "needs no keys; the next one uses them on TCP.\n",
      command.out_dir.c_str(), name.c_str(), name.c_str());
  return kDone;
}

}  // namespace pa::cli
