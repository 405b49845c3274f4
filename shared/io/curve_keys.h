#pragma once

#include <string>

#include "shared/core/result.h"

/// CURVE key pairs (Curve25519) of processes that talk over TCP, and the files they lie in:
/// NAME.secret, readable by its owner only, and NAME.public. Both hold a key in Z85: 40 characters.
namespace pa {

struct CurveKeys {
  std::string public_key;  ///< Z85.
  std::string secret_key;  ///< Z85. Never in arguments, logs or messages.
};

/// What a client or worker needs to reach a coordinator over TCP.
struct PeerKeys {
  std::string server_key;  ///< The coordinator's public key.
  CurveKeys own;
};

/// The name of the coordinator's key pair.
inline constexpr const char* kCoordinatorKeys = "coordinator";

/// 40 characters that are a key in Z85.
[[nodiscard]] bool is_curve_key(const std::string& text);

/// A fresh pair. kInternal if this libzmq has no CURVE.
[[nodiscard]] Result<CurveKeys> make_curve_keys();

/// Makes a pair and writes FOLDER/NAME.secret (mode 0600) and FOLDER/NAME.public; makes the folder,
/// with mode 0700. Never replaces a file: a lost key cannot be had again.
///
/// Errors: kInvalid, a file is there already or the name is none; kInternal, the system refused.
[[nodiscard]] Result<CurveKeys> create_curve_keys(const std::string& folder,
                                                  const std::string& name);

/// The pair of FOLDER/NAME.secret.
///
/// Errors: kInvalid, naming the file: not there, not this user's, readable by others, or no key.
[[nodiscard]] Result<CurveKeys> read_curve_keys(const std::string& folder, const std::string& name);

/// From `path`: a folder with coordinator.public and the process's own NAME.secret, the only one but
/// for the coordinator's; or the NAME.secret in such a folder, if there are several.
///
/// Errors: kInvalid, naming what is missing or wrong.
[[nodiscard]] Result<PeerKeys> read_peer_keys(const std::string& path);

}  // namespace pa
