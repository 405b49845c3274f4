#include "shared/wire/messages.h"

#include <array>

namespace pa {
namespace {

constexpr std::uint64_t kInputAlignment = 64;

constexpr std::array<std::string_view, std::variant_size_v<Message>> kNames{"Want",
                                                                            "Put",
                                                                            "Got",
                                                                            "Submit",
                                                                            "Accepted",
                                                                            "Refused",
                                                                            "RequestProgress",
                                                                            "Done",
                                                                            "DoneAck",
                                                                            "Cancel",
                                                                            "StatusQuery",
                                                                            "ClusterStatus",
                                                                            "Hello",
                                                                            "Welcome",
                                                                            "Rejected",
                                                                            "Attach",
                                                                            "Attached",
                                                                            "Rehello",
                                                                            "Heartbeat",
                                                                            "HeartbeatAck",
                                                                            "Assign",
                                                                            "Revoke",
                                                                            "Yield",
                                                                            "Yielded",
                                                                            "SendRows",
                                                                            "Prefetch",
                                                                            "Save",
                                                                            "Saved",
                                                                            "WorkerProgress",
                                                                            "SamplesDone",
                                                                            "SamplePreview",
                                                                            "Draining",
                                                                            "Bye"};
static_assert(!kNames.back().empty(), "every message has a name");

}  // namespace

std::string_view name_of(const Message& message) { return kNames[message.index()]; }

std::span<const std::string_view> message_names() { return kNames; }

Result<InputLayout> input_layout(const std::vector<TensorSpec>& tensors) {
  InputLayout layout;
  layout.offsets.reserve(tensors.size());
  for (const TensorSpec& tensor : tensors) {
    PA_ASSIGN(const std::uint64_t bytes, byte_size(tensor));
    std::uint64_t offset = 0;
    std::uint64_t end = 0;
    if (__builtin_add_overflow(layout.total, kInputAlignment - 1, &offset) ||
        __builtin_add_overflow(offset &= ~(kInputAlignment - 1), bytes, &end)) {
      return invalid("the tensors together exceed 64 bits of bytes");
    }
    layout.offsets.push_back(offset);
    layout.total = end;
  }
  return layout;
}

}  // namespace pa
