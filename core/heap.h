// The process's heap, told what a training program is like: the same large tensors come and go at every step.
#pragma once

namespace strata {

/// Freed memory stays with the process instead of going back to the system, whose pages would come back one fault at a
/// time: thousands a step. To be called before threads start. Does nothing where the C library is not glibc, or where
/// the environment has set malloc's own variables.
void keep_freed_memory();

}  // namespace strata
