// pa cancel.

#include <cstdio>

#include "clients/cli/cluster_file.h"
#include "clients/cli/commands.h"
#include "clients/cli/exit_code.h"
#include "clients/cpp/client.h"

namespace pa::cli {
namespace {

Status cancel(const CancelCommand& command) {
  const auto id = parse_request_id(command.request);
  if (!id) {
    return invalid("expected a request's id, 32 hexadecimal digits, found '" + command.request +
                   "'");
  }
  PA_ASSIGN(const std::unique_ptr<Client> client, connect_to(command.where, {}));
  return client->cancel(*id, std::chrono::seconds{5});
}

}  // namespace

int run(const CancelCommand& command) {
  const Status cancelled = cancel(command);
  if (!cancelled.ok()) return fail(cancelled.error());
  std::printf("cancelled %s\n", command.request.c_str());
  return kDone;
}

}  // namespace pa::cli
