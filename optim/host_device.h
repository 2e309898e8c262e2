// Marks for functions that compile for the host and for the device alike.
#pragma once

#if defined(__CUDACC__)
#define STRATA_HOST_DEVICE __host__ __device__ __forceinline__
#elif defined(__GNUC__)
// Forced inline: a function cloned for several instruction sets vectorises its loop only if the body comes with it.
#define STRATA_HOST_DEVICE inline __attribute__((always_inline))
#else
#define STRATA_HOST_DEVICE inline
#endif
