# strata_room(NAME SOURCES … [TORCH …] [DEPENDS …] [TEXT])  one static library for a folder, namespaced include
#                                         "room/file.h"; TORCH: its sources that see LibTorch; TEXT: all see JSON and TOML
# strata_test(NAME SOURCES … [DEPENDS …] [LABELS …] [TORCH])  one GoogleTest program, found by ctest, label `cpu` unless told
# strata_mpi_test(NAME RANKS … SOURCES … [DEPENDS …] [TORCH])  the same, run under mpirun once for each number of ranks

# _strata_share_headers(TARGET NAME HEADERS … LIBRARIES …)  has the target's files see these headers compiled once, under NAME,
# for all targets that ask for it. Flags must agree with strata_options.
function(_strata_share_headers target name)
  cmake_parse_arguments(ARG "" "" "HEADERS;LIBRARIES" ${ARGN})
  if(NOT TARGET ${name})
    file(CONFIGURE OUTPUT "${CMAKE_BINARY_DIR}/${name}.cpp" CONTENT "")  # touches nothing that is there already
    add_library(${name} STATIC "${CMAKE_BINARY_DIR}/${name}.cpp")
    target_link_libraries(${name} PUBLIC ${ARG_LIBRARIES} PRIVATE strata_options)
    target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
  endif()
  target_precompile_headers(${target} REUSE_FROM ${name})
endfunction()

set(_strata_headers <fmt/format.h> <nlohmann/json.hpp>)
set(_strata_header_libraries fmt::fmt nlohmann_json::nlohmann_json)
set(_strata_test_headers ${_strata_headers} <gmock/gmock.h> <gtest/gtest.h>)
set(_strata_test_libraries ${_strata_header_libraries} GTest::gmock GTest::gtest)
# Never <torch/torch.h>, here or elsewhere: each file that sees it instantiates five seconds of templates, precompiled or
# not. Of this one it is two and a half: a file that needs no LibTorch is better off without the header.
set(_strata_torch_headers <torch/types.h>)

function(strata_room name)
  cmake_parse_arguments(ARG "TEXT" "" "SOURCES;TORCH;DEPENDS" ${ARGN})
  add_library(strata_${name} STATIC ${ARG_SOURCES} ${ARG_TORCH})
  target_include_directories(strata_${name} PUBLIC "${CMAKE_SOURCE_DIR}")
  target_link_libraries(strata_${name} PUBLIC ${ARG_DEPENDS} PRIVATE strata_options)
  if(ARG_TORCH)
    target_link_libraries(strata_${name} PUBLIC strata::torch)
    _strata_share_headers(strata_${name} strata_torch_pch HEADERS ${_strata_headers} ${_strata_torch_headers}
      LIBRARIES ${_strata_header_libraries} strata::torch)
    set_source_files_properties(${ARG_SOURCES} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
  elseif(ARG_TEXT)
    _strata_share_headers(strata_${name} strata_text_pch HEADERS ${_strata_headers} <toml++/toml.h>
      LIBRARIES ${_strata_header_libraries} tomlplusplus::tomlplusplus)
  endif()
endfunction()

function(_strata_test_program name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}")
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} ${_strata_test_libraries} strata_options)
  target_compile_definitions(${name} PRIVATE STRATA_FIXTURES="${CMAKE_SOURCE_DIR}/tests/fixtures")
  target_compile_options(${name} PRIVATE -O1)  # a fifth less to compile; what is tested has its own flags
  if(ARG_TORCH)
    target_link_libraries(${name} PRIVATE strata::torch)
    _strata_share_headers(${name} strata_torch_test_pch HEADERS ${_strata_test_headers} ${_strata_torch_headers}
      LIBRARIES ${_strata_test_libraries} strata::torch)
  else()
    _strata_share_headers(${name} strata_test_pch HEADERS ${_strata_test_headers} LIBRARIES ${_strata_test_libraries})
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
