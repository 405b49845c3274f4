#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/core/request.h"
#include "shared/core/result.h"

namespace pa {

/// Fields of a request as a command line gives them. Each overrides what the request's file says.
struct RequestOverrides {
  std::optional<std::string> model;
  std::optional<std::int64_t> count;     ///< samples
  std::optional<std::string> size;       ///< "1024x768", pixels
  std::optional<std::int64_t> steps;     ///< schedule.steps; drops sigmas
  std::optional<std::string> sampler;    ///< sampler.name
  std::optional<std::string> scheduler;  ///< schedule.name; drops sigmas
  std::optional<double> cfg;             ///< guidance.cfg
  std::optional<std::uint64_t> seed;
  std::optional<std::string> labels;  ///< As expand_labels(), cycled over the samples
  /// Any field: ("sampler.options.eta", "0.5"). The value is JSON, or else text. Applied last.
  std::vector<std::pair<std::string, std::string>> set;
};

/// "0-3,7,cat": 0, 1, 2, 3, 7, cat. A range of whole numbers may fall, too.
///
/// Errors: kInvalid if an entry is empty, or the list has more than 65536.
[[nodiscard]] Result<std::vector<std::string>> expand_labels(std::string_view text);

/// The JSON of a request of operation `op`: `base` (may be empty) with `overrides`, checked.
///
/// Without base, a sample request gets the default schedule. Without a number of samples anywhere,
/// labels tell it, and else `rows` if above 0 (how many a tensor has).
///
/// Errors: kInvalid, as parse_request(); an override that cannot be applied is named.
[[nodiscard]] Result<std::string> build_request(Operation op, std::string_view base,
                                                const RequestOverrides& overrides,
                                                std::int64_t rows);

}  // namespace pa
