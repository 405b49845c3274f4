#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "shared/core/buffer.h"
#include "shared/core/result.h"
#include "shared/io/descriptor.h"

namespace pa {

/// Memory that processes of one box share: a memfd, which goes from one to the other as a descriptor.
///
/// It never shrinks (a seal sees to that), so that reading a map of it cannot end in SIGBUS, whatever
/// its other holders do. They may change its bytes while we read, though: copy what is to be checked
/// before it is believed. Copies of a Segment are the same memory, freed with the last map and
/// descriptor of the last process.
class Segment {
 public:
  /// None.
  Segment() = default;

  /// Fresh memory of `bytes` bytes (above 0), all zero; a page counts once it is written.
  ///
  /// Errors: kOverloaded, out of descriptors or memory, or this system has no memfd.
  [[nodiscard]] static Result<Segment> create(std::uint64_t bytes);

  /// What a peer handed over.
  ///
  /// Errors: kInvalid, it is no memfd, or one that could shrink or of huge pages.
  [[nodiscard]] static Result<Segment> adopt(Descriptor descriptor);

  explicit operator bool() const { return descriptor_ != nullptr; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] int descriptor() const { return descriptor_->get(); }

  /// The same memory through a descriptor that cannot write, to be handed over.
  ///
  /// Errors: kOverloaded, there is no /proc or no descriptor left.
  [[nodiscard]] Result<Segment> read_only() const;

  /// A map to read. What is written to it stays in this process. kOverloaded if there is no room.
  [[nodiscard]] Result<Buffer> map() const;

  /// Copies `source` to the bytes from `offset` on, without a map.
  ///
  /// Errors: kInvalid, it would leave the segment, or that is frozen or read-only; kOverloaded, there
  /// is no memory.
  [[nodiscard]] Status write(std::uint64_t offset, std::span<const std::byte> source) const;

  /// Copies the bytes from `offset` on to `target`, without a map. kInvalid if they leave the segment.
  [[nodiscard]] Status read(std::uint64_t offset, std::span<std::byte> target) const;

  /// From now on nobody can write to it, whoever has it.
  ///
  /// Errors: kInvalid, a process has mapped it for writing; kInternal.
  [[nodiscard]] Status freeze() const;

 private:
  Segment(Descriptor descriptor, std::uint64_t bytes)
      : descriptor_(std::make_shared<Descriptor>(std::move(descriptor))), bytes_(bytes) {}

  std::shared_ptr<Descriptor> descriptor_;
  std::uint64_t bytes_ = 0;
};

}  // namespace pa
