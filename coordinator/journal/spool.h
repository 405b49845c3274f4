#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "shared/core/buffer.h"
#include "shared/core/id.h"
#include "shared/core/result.h"
#include "shared/io/descriptor.h"

namespace pa {

/// The tensors of journalled requests: for each at most one file of inputs and one of results, in one folder.
///
/// What is written is durable after sync(). Says nothing about whether contents are right: records
/// hold their digests. Errors are kOverloaded if the disk is full, otherwise kInternal; they name the file.
///
/// Thread: one at a time.
class Spool {
 public:
  /// `folder` must exist.
  explicit Spool(std::string folder) : folder_(std::move(folder)) {}

  [[nodiscard]] Status write_input(const RequestId& request, std::span<const std::byte> bytes);
  /// Writes `rows` at `offset` of the result's file, which is made if need be.
  [[nodiscard]] Status write_result(const RequestId& request, std::uint64_t offset,
                                    std::span<const std::byte> rows);
  /// Until it succeeds, nothing written since the last success may be relied on.
  [[nodiscard]] Status sync();

  /// A private map of the input's file: it must be of `bytes` bytes.
  [[nodiscard]] Result<Buffer> map_input(const RequestId& request, std::uint64_t bytes) const;
  /// Fills `rows` from `offset` of the result's file.
  [[nodiscard]] Status read_result(const RequestId& request, std::uint64_t offset,
                                   std::span<std::byte> rows) const;

  /// Forgets a request's files. What is not there is ignored.
  void erase(const RequestId& request);
  /// Removes the files of all requests but these.
  void keep_only(const std::set<RequestId>& requests);

 private:
  [[nodiscard]] std::string input_path(const RequestId& request) const;
  [[nodiscard]] std::string result_path(const RequestId& request) const;

  std::string folder_;
  std::map<std::string, Descriptor> unsynced_;  ///< By path.
  bool folder_changed_ = false;
};

}  // namespace pa
