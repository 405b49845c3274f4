#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "shared/core/result.h"
#include "shared/wire/messages.h"

/// How messages look on the wire: one MessagePack map with named keys. "t" is the message's name, "v" the protocol
/// version; the others are the struct's members, nested structs being maps themselves. Request ids and digests are
/// 16 big-endian bytes, dtypes and error codes their names, durations nanoseconds.
namespace pa {

/// Appends the encoded `message` to `out`. Never fails; the transport checks its size.
void encode(const Message& message, std::string& out);
[[nodiscard]] std::string encode(const Message& message);

/// Reads one message that fills `header` to its last byte. For bytes from anywhere: allocates at most some tens of
/// times their number, and bounded by 64 MiB.
///
/// Keys it does not know are ignored; optional ones that are missing keep their defaults. Numbers must fit and be
/// finite, strings be UTF-8. Of a protocol version that is not spoken, Hello and Submit are read as far as they can be
/// (`protocol` tells), so that they can be refused by name.
///
/// Errors: kInvalid, and says which key of which message.
[[nodiscard]] Result<Message> decode(std::span<const std::byte> header);

}  // namespace pa
