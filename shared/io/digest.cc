#include "shared/io/digest.h"

// The library's own choice, at run time, of the widest registers that this processor has.
#ifdef PA_XXHASH_DISPATCHES
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

#include "shared/core/result.h"

namespace pa {
namespace {

Digest digest_from(const XXH128_hash_t& hash) { return {hash.high64, hash.low64}; }

}  // namespace

Digest digest_of(std::span<const std::byte> bytes) {
  return digest_from(XXH3_128bits(bytes.data(), bytes.size()));
}

struct Digester::State {
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> xxh{XXH3_createState()};
};

Digester::Digester() : state_(std::make_unique<State>()) {
  PA_CHECK(state_->xxh != nullptr);
  XXH3_128bits_reset(state_->xxh.get());
}

Digester::~Digester() = default;

void Digester::add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->xxh.get(), bytes.data(), bytes.size());
}

Digest Digester::digest() const { return digest_from(XXH3_128bits_digest(state_->xxh.get())); }

}  // namespace pa
