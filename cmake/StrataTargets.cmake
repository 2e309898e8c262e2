# strata_room(NAME SOURCES … [DEPENDS …] [TORCH])       one static library for a folder, namespaced include "room/file.h"
# strata_test(NAME SOURCES … [DEPENDS …] [LABELS …] [TORCH])  one GoogleTest program, found by ctest, label `cpu` unless told
# strata_mpi_test(NAME RANKS … SOURCES … [DEPENDS …] [TORCH])  the same, run under mpirun once for each number of ranks

# The headers of LibTorch's tensors, compiled once and shared by every target that uses them. Never <torch/torch.h>, here
# or elsewhere: each file that sees it instantiates five seconds of templates, precompiled or not.
function(_strata_use_torch target)
  target_link_libraries(${target} PUBLIC strata::torch)
  if(NOT TARGET strata_torch_pch)
    file(CONFIGURE OUTPUT "${CMAKE_BINARY_DIR}/torch_pch.cpp" CONTENT "")  # touches nothing that is there already
    add_library(strata_torch_pch STATIC "${CMAKE_BINARY_DIR}/torch_pch.cpp")
    target_link_libraries(strata_torch_pch PUBLIC strata::torch fmt::fmt PRIVATE strata_options)
    target_precompile_headers(strata_torch_pch PRIVATE <fmt/format.h> <torch/types.h>)
  endif()
  target_precompile_headers(${target} REUSE_FROM strata_torch_pch)
endfunction()

function(strata_room name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(strata_${name} STATIC ${ARG_SOURCES})
  target_include_directories(strata_${name} PUBLIC "${CMAKE_SOURCE_DIR}")
  target_link_libraries(strata_${name} PUBLIC ${ARG_DEPENDS} PRIVATE strata_options)
  if(ARG_TORCH)
    _strata_use_torch(strata_${name})
  endif()
endfunction()

function(_strata_test_program name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}")
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} GTest::gtest GTest::gmock strata_options)
  target_compile_definitions(${name} PRIVATE STRATA_FIXTURES="${CMAKE_SOURCE_DIR}/tests/fixtures")
  if(ARG_TORCH)
    target_link_libraries(${name} PRIVATE strata::torch)
    target_precompile_headers(${name} REUSE_FROM strata_torch_pch)
  endif()
endfunction()

function(strata_test name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;DEPENDS;LABELS" ${ARGN})
  if(NOT ARG_LABELS)
    set(ARG_LABELS cpu)
  endif()
  set(torch "")
  if(ARG_TORCH)
    set(torch TORCH)
  endif()
  _strata_test_program(${name} SOURCES ${ARG_SOURCES} DEPENDS ${ARG_DEPENDS} GTest::gtest_main ${torch})
  gtest_discover_tests(${name} NO_PRETTY_VALUES DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS "${ARG_LABELS}" ENVIRONMENT "OMP_NUM_THREADS=1" TIMEOUT 600)
endfunction()

# The sources bring their own main: it calls MPI_Init, and every rank must reach the same tests.
function(strata_mpi_test name)
  cmake_parse_arguments(ARG "TORCH" "" "RANKS;SOURCES;DEPENDS" ${ARGN})
  set(torch "")
  if(ARG_TORCH)
    set(torch TORCH)
  endif()
  _strata_test_program(${name} SOURCES ${ARG_SOURCES} "${CMAKE_SOURCE_DIR}/tests/support/mpi_main.cpp"
    DEPENDS ${ARG_DEPENDS} MPI::MPI_C ${torch})
  foreach(ranks IN LISTS ARG_RANKS)
    add_test(NAME ${name}.np${ranks} COMMAND ${STRATA_MPIRUN} -np ${ranks} $<TARGET_FILE:${name}>)
    set_tests_properties(${name}.np${ranks} PROPERTIES LABELS mpi PROCESSORS 2 TIMEOUT 300
      ENVIRONMENT "OMP_NUM_THREADS=1;OMPI_MCA_io=^ompio")
  endforeach()
endfunction()

# Open MPI on one small machine: more ranks than cores, as root in containers, no binding.
set(STRATA_MPIRUN mpirun --allow-run-as-root --oversubscribe --bind-to none)
