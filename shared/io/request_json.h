#pragma once

#include <string>
#include <string_view>

#include "shared/core/request.h"
#include "shared/core/result.h"

namespace pa {

/// Reads a request from its JSON form (docs/request.schema.json), strictly: an unknown field, a wrong
/// type and a value out of range are errors, since ignoring one would change an image silently.
///
/// What this version cannot run (LoRAs, masks, previews, ...) parses: admission refuses it.
///
/// Errors: kInvalid, with the JSON pointer of the field, what was expected there and what was found.
[[nodiscard]] Result<Request> parse_request(std::string_view json);

/// The canonical JSON of `request`: fields in the order of struct Request, without white space; op,
/// model and samples always, others only if not at their default. parse_request(to_json(r)) is r, and
/// equal requests give equal text.
[[nodiscard]] std::string to_json(const Request& request);

}  // namespace pa
