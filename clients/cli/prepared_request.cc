#include "clients/cli/prepared_request.h"

#include "clients/cpp/request_file.h"
#include "shared/io/request_json.h"

namespace pa::cli {
namespace {

/// Rows of the tensors that have one a sample; 0: there are none.
std::int64_t batch_rows(const std::vector<InputTensor>& tensors) {
  std::int64_t rows = 0;
  for (const InputTensor& tensor : tensors) {
    const bool is_batch =
        tensor.spec.name == "x" || tensor.spec.name == "latent" || tensor.spec.name == "noise";
    if (is_batch && !tensor.spec.shape.empty()) rows = tensor.spec.shape[0];
  }
  return rows;
}

}  // namespace

Result<PreparedRequest> prepare_request(std::optional<Operation> op, const std::string& file,
                                        const RequestOverrides& overrides) {
  RequestFile from;
  if (!file.empty()) {
    PA_ASSIGN(from, read_request_file(file));
  }
  if (!op && !from.json.empty()) {
    if (const auto base = parse_request(from.json); base.ok()) op = base->op;
  }
  const auto named = [&](Error error) {
    if (error.field.empty() && !file.empty()) error.message = file + ": " + error.message;
    return error;
  };
  Result<std::string> json = build_request(op.value_or(Operation::kSample), from.json, overrides,
                                           batch_rows(from.tensors));
  if (!json.ok()) return named(json.error());
  Result<Request> request = parse_request(*json);
  if (!request.ok()) return named(request.error());
  PreparedRequest prepared;
  prepared.submission.id = make_request_id();
  prepared.submission.body = std::move(*json);
  prepared.submission.tensors = std::move(from.tensors);
  prepared.request = std::move(*request);
  return prepared;
}

}  // namespace pa::cli
