// One function, compiled for several processor levels.
//
// STRATA_CLONES makes the compiler emit a function for each level and choose at load time. Sanitizers start before that
// choice can be made, so there the macro is empty. Everything called from such a function must be STRATA_INLINE, and a
// lambda STRATA_INLINED, else it is compiled for the lowest level.
#pragma once

#if defined(__x86_64__) && !defined(STRATA_SANITIZED)
#define STRATA_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define STRATA_CLONES
#endif
#define STRATA_INLINED __attribute__((always_inline))
#define STRATA_INLINE inline STRATA_INLINED
