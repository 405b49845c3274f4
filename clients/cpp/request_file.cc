#include "clients/cpp/request_file.h"

#include <memory>

#include "shared/io/safetensors.h"

namespace pa {
namespace {

constexpr const char* kRequestKey = "request";

}  // namespace

Result<RequestFile> read_request_file(const std::string& path) {
  PA_ASSIGN(const SafetensorsFile file, SafetensorsFile::open(path));
  const auto json = file.metadata().find(kRequestKey);
  if (json == file.metadata().end()) {
    return invalid(path +
                   ": expected a request file, a safetensors file whose metadata has the key '" +
                   kRequestKey + "'; there is none in this one");
  }
  RequestFile request{json->second, {}};
  for (const TensorView& view : file.tensors()) {
    // Buffers are writable by type; nobody writes to the inputs of a request.
    auto* data = const_cast<std::byte*>(view.bytes.data());
    const auto owner = std::const_pointer_cast<void>(file.keep_alive());
    request.tensors.push_back({view.spec, Buffer({owner, data}, view.bytes.size())});
  }
  return request;
}

Status write_request_file(const std::string& path, const RequestFile& request) {
  std::vector<TensorView> tensors;
  for (const InputTensor& tensor : request.tensors) {
    tensors.push_back({tensor.spec, tensor.bytes.bytes()});
  }
  return write_safetensors(path, {{kRequestKey, request.json}}, tensors);
}

}  // namespace pa
