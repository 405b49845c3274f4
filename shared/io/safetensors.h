#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shared/core/buffer.h"
#include "shared/core/result.h"
#include "shared/core/tensor_spec.h"

/// Files of named tensors in the safetensors format (github.com/huggingface/safetensors): an
/// unsigned 64-bit header length, a JSON header, and the tensors' bytes without gaps. Weights,
/// requests and results are such files. Everything here is little-endian and untrusting.
namespace pa {

/// A tensor and its bytes, which belong to somebody else.
struct TensorView {
  TensorSpec spec;
  std::span<const std::byte> bytes;  ///< byte_size(spec) of them; alignment not guaranteed.
};

using Metadata = std::map<std::string, std::string, std::less<>>;

/// What the header of a file says.
struct SafetensorsContents {
  std::vector<TensorView> tensors;  ///< In the order of their bytes; names are unique.
  Metadata metadata;
};

/// Longest header that is read, as in the reference implementation.
inline constexpr std::uint64_t kMaxSafetensorsHeader = 100'000'000;

/// Reads the image of a whole file. The views point into `file`.
///
/// Checked before anything is believed: lengths against the image, names for doubles, sizes for
/// overflow, and that the tensors cover the data section without gap or overlap.
///
/// Errors: kInvalid, naming the tensor and what was expected.
[[nodiscard]] Result<SafetensorsContents> parse_safetensors(std::span<const std::byte> file);

/// A file mapped read-only. Copies share the map, which lives as long as the last one; nobody may
/// truncate the file meanwhile.
class SafetensorsFile {
 public:
  /// Errors: kInvalid if the file cannot be opened or is not as parse_safetensors() wants it. The
  /// message begins with the path.
  [[nodiscard]] static Result<SafetensorsFile> open(const std::string& path);

  [[nodiscard]] const std::string& path() const;
  [[nodiscard]] const std::vector<TensorView>& tensors() const;
  [[nodiscard]] const Metadata& metadata() const;

  /// nullptr if there is none of that name.
  [[nodiscard]] const TensorView* find(std::string_view name) const;

  /// Keeps the map, and with it every view, alive.
  [[nodiscard]] std::shared_ptr<const void> keep_alive() const;

  /// The whole file.
  [[nodiscard]] std::span<const std::byte> image() const;

 private:
  struct Mapped;
  explicit SafetensorsFile(std::shared_ptr<const Mapped> mapped) : mapped_(std::move(mapped)) {}
  std::shared_ptr<const Mapped> mapped_;
};

/// Gives back the memory of pages that lie within `bytes` of a mapped file: they are read from the
/// file again when they are needed.
void forget_pages(std::span<const std::byte> bytes);

/// Writes a file in one go: under another name in the same folder first, then renamed, so that
/// `path` is never half a file. Tensors with wide elements come first, which keeps all aligned.
///
/// Errors: kInvalid (a name twice, bytes that are not byte_size(spec), a name that is no UTF-8),
/// kInternal (the file system's words).
[[nodiscard]] Status write_safetensors(const std::string& path, const Metadata& metadata,
                                       const std::vector<TensorView>& tensors);

/// Whether a finished file must survive a power failure (fsync), or just the process.
enum class Durability : std::uint8_t { kProcess, kPowerFailure };

/// A file whose tensors are filled in place, through a shared map, before its metadata is known.
class SafetensorsOutput {
 public:
  /// Makes a file for `tensors` beside `path`, all zero, its disk space allocated, with room for
  /// about `metadata_bytes` of metadata. Keep that generous: more costs a copy of the data.
  ///
  /// Errors: kInvalid as write_safetensors(), kOverloaded (disk full), kInternal.
  [[nodiscard]] static Result<SafetensorsOutput> create(const std::string& path,
                                                        const std::vector<TensorSpec>& tensors,
                                                        std::uint64_t metadata_bytes);

  SafetensorsOutput(SafetensorsOutput&&) noexcept;
  SafetensorsOutput& operator=(SafetensorsOutput&&) noexcept;
  /// Removes the file unless finish() succeeded.
  ~SafetensorsOutput();

  /// Where the bytes of tensors[index] belong. The buffer keeps the map alive.
  [[nodiscard]] Buffer bytes(std::size_t index) const;

  /// Writes the header and gives the file its name. Once.
  ///
  /// Errors: kInternal (the file system's words; the file is gone), kOverloaded (disk full).
  [[nodiscard]] Status finish(const Metadata& metadata, Durability durability);

 private:
  struct State;
  explicit SafetensorsOutput(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace pa
