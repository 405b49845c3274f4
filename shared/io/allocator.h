#pragma once

namespace pa {

/// Makes malloc keep the memory of message-sized blocks instead of asking the kernel for it, and
/// giving it back, a chunk at a time. Call first in main(). Any thread may have allocated before.
void tune_allocator();

}  // namespace pa
