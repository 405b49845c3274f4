#include "worker/models/noop.h"

namespace pa {

Result<at::Tensor> Noop::forward(const Rows& rows) { return rows.x; }

}  // namespace pa
