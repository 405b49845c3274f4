// pa keygen.

#include <cstdio>

#include "clients/cli/commands.h"
#include "clients/cli/exit_code.h"
#include "shared/io/allow_list.h"
#include "shared/io/curve_keys.h"

namespace pa::cli {
namespace {

Status check(const KeygenCommand& command) {
  const bool coordinator = command.name == kCoordinatorKeys;
  if (!command.allow_client.empty() && !command.allow_worker.empty()) {
    return invalid("a key is a client's or a worker's, not both: make two", "--allow-client");
  }
  if (coordinator && !(command.allow_client.empty() && command.allow_worker.empty())) {
    return invalid("the coordinator's own key needs no permission", "--name");
  }
  return {};
}

Status make_keys(const KeygenCommand& command) {
  PA_TRY(check(command));
  PA_ASSIGN(const CurveKeys keys, create_curve_keys(command.out_dir, command.name));
  const std::string list = command.out_dir + "/allow.yaml";
  if (!command.allow_worker.empty()) {
    PA_TRY(append_allowed(list, {Role::kWorker, command.allow_worker}, keys.public_key));
  } else if (!command.allow_client.empty()) {
    PA_TRY(append_allowed(list, {Role::kClient, command.allow_client}, keys.public_key));
  }
  return {};
}

void tell(const KeygenCommand& command) {
  const std::string base = command.out_dir + "/" + command.name;
  std::printf("%s.secret and %s.public: a CURVE key pair.\n", base.c_str(), base.c_str());
  if (command.name == kCoordinatorKeys) {
    std::printf("The coordinator reads the secret from its tcp.keys; the others need %s.public.\n",
                base.c_str());
  } else if (!command.allow_worker.empty()) {
    std::printf("allow.yaml lets it in as workers named %s.\n", command.allow_worker.c_str());
  } else if (!command.allow_client.empty()) {
    std::printf("allow.yaml lets it in as the client %s.\n", command.allow_client.c_str());
  } else {
    std::printf("Nobody lets it in yet: add the public key to the coordinator's allow.yaml.\n");
  }
}

}  // namespace

int run(const KeygenCommand& command) {
  const Status made = make_keys(command);
  if (!made.ok()) return fail(made.error());
  tell(command);
  return kDone;
}

}  // namespace pa::cli
