# Finds LibTorch's headers and CPU libraries and offers them as `strata::torch`.
#
# LibTorch's own package file demands a whole CUDA toolkit whenever it was built with CUDA, so a machine
# without nvcc could not even build for the CPU. Strata's own kernels are compiled apart (StrataCuda.cmake);
# all it needs here are headers and libtorch_cpu. The usual variables still choose which LibTorch:
# Torch_DIR, Torch_ROOT or CMAKE_PREFIX_PATH; else the one that launch/setup installed under .deps/.

file(GLOB _strata_own_torch "${CMAKE_CURRENT_SOURCE_DIR}/.deps/python/lib/python3*/site-packages/torch")
find_path(LIBTORCH_INCLUDE_DIR torch/csrc/api/include/torch/torch.h
  HINTS "${Torch_DIR}/../../.." "${Torch_ROOT}" ENV Torch_ROOT ${CMAKE_PREFIX_PATH} ${_strata_own_torch}
  PATH_SUFFIXES include)
find_library(LIBTORCH_CPU_LIBRARY torch_cpu HINTS "${LIBTORCH_INCLUDE_DIR}/../lib" NO_DEFAULT_PATH)
find_library(LIBTORCH_C10_LIBRARY c10 HINTS "${LIBTORCH_INCLUDE_DIR}/../lib" NO_DEFAULT_PATH)
# Its CUDA half, where it has one: only what the program loads on a GPU is linked with it.
find_library(LIBTORCH_CUDA_LIBRARY torch_cuda HINTS "${LIBTORCH_INCLUDE_DIR}/../lib" NO_DEFAULT_PATH)
find_library(LIBTORCH_C10_CUDA_LIBRARY c10_cuda HINTS "${LIBTORCH_INCLUDE_DIR}/../lib" NO_DEFAULT_PATH)
if(NOT LIBTORCH_INCLUDE_DIR OR NOT LIBTORCH_CPU_LIBRARY OR NOT LIBTORCH_C10_LIBRARY)
  message(FATAL_ERROR "LibTorch was not found. Run launch/setup, or name yours: -DTorch_DIR=/path/to/torch/share/cmake/Torch")
endif()
get_filename_component(LIBTORCH_LIBRARY_DIR "${LIBTORCH_CPU_LIBRARY}" DIRECTORY)
message(STATUS "LibTorch: ${LIBTORCH_LIBRARY_DIR}")

add_library(strata_torch INTERFACE)
add_library(strata::torch ALIAS strata_torch)
# LibTorch brings headers of a newer fmt and exports none of its functions: the system's, which is a library, comes first.
find_path(STRATA_FMT_INCLUDE_DIR fmt/format.h REQUIRED)
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/before_torch")
file(CREATE_LINK "${STRATA_FMT_INCLUDE_DIR}/fmt" "${CMAKE_BINARY_DIR}/before_torch/fmt" SYMBOLIC)
target_include_directories(strata_torch SYSTEM INTERFACE
  "${CMAKE_BINARY_DIR}/before_torch"
  "${LIBTORCH_INCLUDE_DIR}" "${LIBTORCH_INCLUDE_DIR}/torch/csrc/api/include")
target_link_libraries(strata_torch INTERFACE "${LIBTORCH_CPU_LIBRARY}" "${LIBTORCH_C10_LIBRARY}" Threads::Threads)
target_link_options(strata_torch INTERFACE "-Wl,-rpath,${LIBTORCH_LIBRARY_DIR}" "-Wl,--allow-shlib-undefined")
