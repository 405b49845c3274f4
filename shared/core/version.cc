#include "shared/core/version.h"

namespace pa {

std::string_view version() { return PA_VERSION; }

}  // namespace pa
