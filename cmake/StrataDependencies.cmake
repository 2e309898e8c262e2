# Every library Strata links, each as one imported target. docs/dependencies.md says why each is here.

include(FindLibTorch)

find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
# The flag rather than the imported target, whose full path to libgomp clashes with the copy beside LibTorch.
separate_arguments(STRATA_OPENMP_FLAGS UNIX_COMMAND "${OpenMP_CXX_FLAGS}")
find_package(MPI REQUIRED COMPONENTS C)
# The C interface alone: mpi.h would else pull in C++ bindings that MPI has dropped, and their library.
target_compile_definitions(MPI::MPI_C INTERFACE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
set(HDF5_PREFER_PARALLEL ON)
find_package(HDF5 REQUIRED COMPONENTS C)
if(NOT HDF5_IS_PARALLEL)
  message(FATAL_ERROR "Strata needs parallel HDF5 (Debian: libhdf5-openmpi-dev); found a serial one in ${HDF5_INCLUDE_DIRS}.")
endif()
add_library(strata_hdf5 INTERFACE)
target_include_directories(strata_hdf5 SYSTEM INTERFACE ${HDF5_INCLUDE_DIRS})
target_link_libraries(strata_hdf5 INTERFACE ${HDF5_LIBRARIES} MPI::MPI_C)
target_compile_definitions(strata_hdf5 INTERFACE ${HDF5_DEFINITIONS})

find_package(ICU REQUIRED COMPONENTS uc i18n data)
find_package(ZLIB REQUIRED)
find_package(CLI11 REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(tomlplusplus REQUIRED)
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
add_library(strata_xxhash INTERFACE)
target_include_directories(strata_xxhash SYSTEM INTERFACE ${XXHASH_INCLUDE_DIR})
target_compile_definitions(strata_xxhash INTERFACE XXH_INLINE_ALL)

if(STRATA_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()
