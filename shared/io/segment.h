#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

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

  /// Whether write() may succeed: it is not frozen, and not read-only.
  [[nodiscard]] bool is_writable() const;

  /// A map to read. What is written to it stays in this process. kOverloaded if there is no room.
  [[nodiscard]] Result<Buffer> map() const;

  enum class Access : std::uint8_t { kRead, kWrite };
  /// A map that all holders of the memory see each other's writing through. With kRead, this process
  /// must not write to it; with kWrite, it can be frozen no more while the map lives.
  /// kOverloaded if there is no room; kInvalid if it may not be written to, with kWrite.
  [[nodiscard]] Result<Buffer> map_shared(Access access) const;

  /// Has all pages of a part of a map present, which costs less than a fault for each of them.
  static void prefault(std::span<std::byte> part);

  /// Which memory this is: the same for all descriptors of it in this box, and another for all other
  /// memory that ever was. Empty if the system does not say.
  [[nodiscard]] std::string identity() const;

  /// Copies `source` to the bytes from `offset` on, without a map.
  ///
  /// Errors: kInvalid, it would leave the segment, or that is frozen or read-only; kOverloaded, there
  /// is no memory.
  [[nodiscard]] Status write(std::uint64_t offset, std::span<const std::byte> source) const;

  /// Copies the bytes from `offset` on to `target`, without a map. kInvalid if they leave the segment.
  [[nodiscard]] Status read(std::uint64_t offset, std::span<std::byte> target) const;

  /// From now on nobody can write to it, whoever has it.
  ///
  /// Errors: kUnavailable, a process has mapped it for writing; kInternal.
  [[nodiscard]] Status freeze() const;

 private:
  Segment(Descriptor descriptor, std::uint64_t bytes)
      : descriptor_(std::make_shared<Descriptor>(std::move(descriptor))), bytes_(bytes) {}

  [[nodiscard]] Result<Buffer> map_with(int protection, int flags) const;

  std::shared_ptr<Descriptor> descriptor_;
  std::uint64_t bytes_ = 0;
};

}  // namespace pa
