#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace pa {

/// Shared ownership of a range of bytes; the last copy frees it. A slice keeps the whole alive.
class Buffer {
 public:
  Buffer() = default;
  Buffer(std::shared_ptr<std::byte> data, std::uint64_t size)
      : data_(std::move(data)), size_(size) {}

  [[nodiscard]] std::byte* data() const { return data_.get(); }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::span<std::byte> bytes() const { return {data_.get(), size_}; }
  [[nodiscard]] const std::shared_ptr<std::byte>& owner() const { return data_; }

  /// `offset + size` must not exceed this buffer's size.
  [[nodiscard]] Buffer slice(std::uint64_t offset, std::uint64_t size) const {
    return {std::shared_ptr<std::byte>(data_, data_.get() + offset), size};
  }

 private:
  std::shared_ptr<std::byte> data_;
  std::uint64_t size_ = 0;
};

}  // namespace pa
