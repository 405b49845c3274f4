// Any bytes are a file that is refused, or one whose every tensor lies within them.

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>

#include "shared/io/safetensors.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(data), size);
  const pa::Result<pa::SafetensorsContents> read = pa::parse_safetensors(file);
  if (!read.ok()) {
    PA_CHECK(read.error().code == pa::Code::kInvalid && !read.error().message.empty());
    return 0;
  }
  std::set<std::string> names;
  const std::byte* end = nullptr;
  unsigned sum = 0;
  for (const pa::TensorView& view : read->tensors) {
    PA_CHECK(names.insert(view.spec.name).second);
    PA_CHECK(view.bytes.size() == pa::byte_size(view.spec).value());
    PA_CHECK(view.bytes.data() >= file.data());
    PA_CHECK(view.bytes.data() + view.bytes.size() <= file.data() + file.size());
    PA_CHECK(end == nullptr || view.bytes.data() == end);  // No gap, no overlap.
    end = view.bytes.data() + view.bytes.size();
    for (const std::byte byte : view.bytes) sum += static_cast<unsigned>(byte);
  }
  PA_CHECK(end == nullptr || end == file.data() + file.size());
  volatile unsigned read_all = sum;  // Every byte was looked at, also by the sanitizers.
  (void)read_all;
  return 0;
}
