// STRATA_CLONES before a function compiles it for several x86-64 levels and picks one at load time, so that one binary
// runs everywhere and uses AVX-512 where it is. Empty for other compilers and processors, and under sanitizers, whose
// start-up code runs after the pick.
#pragma once

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__) && !defined(STRATA_SANITIZED)
#define STRATA_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define STRATA_CLONES
#endif
