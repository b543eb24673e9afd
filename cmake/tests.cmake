# Tests are found by their place: test/KIND/**/NAME_test.c (or .cc, .py) is test KIND/NAME, label KIND.
# Its framework is the one that it includes, <criterion/criterion.h> or <cmocka.h>; with neither it
# is a plain program whose main() returns 0 for passed, 77 for skipped. It may use everything
# internal, unless its first ten lines say which shared library it links instead:
#   links: mallocgc | libgc | malloc
# and which other library it needs, by the name that pkg-config knows (it is skipped without):
#   needs: sqlite3
# They may also say in which builds the test has no meaning (a Criterion test can cr_skip instead):
#   not under: thread, address, undefined, hostile, cross      (those that apply)
# and that it measures what other tests beside it would disturb:
#   runs: alone
# A test that names threads (pthread…, a helper of lib/afar.h, os_spawn) has the label `threads` too: ThreadSanitizer runs it.
set(MGC_KINDS unit model fault misuse stress conform)
add_custom_target(tests) # not part of `all`: `make` stays quick
foreach(label ${MGC_KINDS} examples threads) # what one label needs
  add_custom_target(tests-${label})
  add_dependencies(tests tests-${label})
endforeach()

# Seconds. Builds that are slow get twice as much, long runs (tools/test.py) far more.
set(MGC_TIMEOUT_unit 60)
set(MGC_TIMEOUT_model 60)
set(MGC_TIMEOUT_fault 60)
set(MGC_TIMEOUT_misuse 30)
set(MGC_TIMEOUT_stress 60)
set(MGC_TIMEOUT_conform 90)
set(MGC_TIMEOUT_SCALE 1 CACHE STRING "factor on the time limit of each test")
set(scale ${MGC_TIMEOUT_SCALE})
if(MGC_SANITIZE OR MGC_HOSTILE OR CMAKE_CROSSCOMPILING)
  math(EXPR scale "2 * ${scale}")
endif()

find_program(MGC_SYMBOLIZER llvm-symbolizer-19 llvm-symbolizer)
set(MGC_TEST_ENV
  "ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=1"
  "TSAN_OPTIONS=halt_on_error=1:abort_on_error=1:external_symbolizer_path=${MGC_SYMBOLIZER}"
  "UBSAN_OPTIONS=print_stacktrace=1")

# The header for C++ is tested where there is a compiler for it. It costs a second more of configuring.
include(CheckLanguage)
if(NOT CMAKE_CROSSCOMPILING)
  check_language(CXX)
endif()
if(CMAKE_CXX_COMPILER)
  enable_language(CXX)
  set(CMAKE_CXX_STANDARD 17)
  set(CMAKE_CXX_EXTENSIONS OFF)
  set(CMAKE_CXX_FLAGS_DEBUG "-Og -g")
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "${CMAKE_C_FLAGS_RELWITHDEBINFO}")
endif()

# The frameworks are host libraries. Where Criterion cannot run (cross builds; ThreadSanitizer, under
# which its worker processes do not start) a header of ours gives the tests the same interface; and where
# they run once more, as it compiles in a quarter of the time.
if(NOT CMAKE_CROSSCOMPILING)
  find_library(MGC_LIB_cmocka cmocka)
endif()
if(CMAKE_CROSSCOMPILING OR MGC_SANITIZE OR MGC_HOSTILE)
  add_library(mgc_criterion_shim INTERFACE)
  target_include_directories(mgc_criterion_shim SYSTEM INTERFACE ${PROJECT_SOURCE_DIR}/cmake/shim)
  set(MGC_LIB_criterion mgc_criterion_shim)
else()
  find_library(MGC_LIB_criterion criterion)
endif()

# One word for this build, for `not under:`.
set(MGC_BUILD "${MGC_SANITIZE}")
if(CMAKE_CROSSCOMPILING)
  set(MGC_BUILD cross)
elseif(MGC_HOSTILE)
  set(MGC_BUILD hostile)
elseif(NOT MGC_BUILD)
  set(MGC_BUILD ordinary)
endif()

# mgc_add_test(name labels executable timeout args...)
function(mgc_add_test name labels exe timeout)
  add_test(NAME ${name} COMMAND ${exe} ${ARGN})
  math(EXPR timeout "${timeout} * ${scale}")
  set_tests_properties(${name} PROPERTIES LABELS "${labels}" TIMEOUT ${timeout}
    SKIP_RETURN_CODE 77 ENVIRONMENT "${MGC_TEST_ENV}")
  foreach(label ${labels})
    if(TARGET ${exe})
      add_dependencies(tests-${label} ${exe})
    endif()
  endforeach()
endfunction()

if(NOT CMAKE_CROSSCOMPILING)
  find_package(PkgConfig QUIET)
endif()

# Helpers shared by the tests; an archive before mgc_internal, see there.
file(GLOB lib_sources CONFIGURE_DEPENDS test/lib/*.c)
add_library(mgc_testlib STATIC EXCLUDE_FROM_ALL cmake/empty.c ${lib_sources})
target_include_directories(mgc_testlib PRIVATE ${PROJECT_SOURCE_DIR}/test)
target_link_libraries(mgc_testlib PRIVATE mgc_flags_src)
target_compile_definitions(mgc_testlib PRIVATE TEST_CC="${CMAKE_C_COMPILER}")

function(mgc_test_file kind file)
  get_filename_component(stem ${file} NAME_WE)
  string(REGEX REPLACE "_test$" "" name ${kind}/${stem})
  string(REPLACE "/" "-" exe test-${name})
  file(STRINGS ${file} head LIMIT_COUNT 10)
  set(face "")
  if("${head}" MATCHES "links: *(mallocgc|libgc|malloc)")
    set(face ${CMAKE_MATCH_1})
  endif()
  if("${head}" MATCHES "not under:[a-z, ]*${MGC_BUILD}")
    return()
  endif()
  set(framework plain)
  file(STRINGS ${file} include REGEX "^#include <(criterion/|cmocka)")
  if(file MATCHES "cc$" AND NOT CMAKE_CXX_COMPILER)
    set_property(GLOBAL PROPERTY mgc_missing_cxx TRUE)
    return()
  endif()
  if("${include}" MATCHES "<(criterion|cmocka)")
    set(framework ${CMAKE_MATCH_1})
  endif()

  set(libs mgc_flags)
  if(face STREQUAL "")
    list(APPEND libs mgc_flags_src mgc_testlib mgc_internal)
  elseif(face STREQUAL mallocgc)
    list(APPEND libs mallocgc)
  else()
    list(APPEND libs mallocgc_${face})
  endif()
  list(GET libs -1 needed)
  if(NOT TARGET ${needed})
    return() # that face does not exist (yet)
  endif()
  if(NOT framework STREQUAL plain)
    if(NOT MGC_LIB_${framework})
      set_property(GLOBAL PROPERTY mgc_missing_${framework} TRUE)
      return()
    endif()
    list(APPEND libs ${MGC_LIB_${framework}})
  endif()

  if("${head}" MATCHES "needs: *([a-z0-9.-]+)")
    set(needed ${CMAKE_MATCH_1})
    if(PKG_CONFIG_FOUND AND NOT MGC_SANITIZE AND NOT CMAKE_CROSSCOMPILING)
      pkg_check_modules(${needed} IMPORTED_TARGET ${needed})
    endif()
    if(NOT TARGET PkgConfig::${needed})
      mgc_add_test(${name} ${kind} ${CMAKE_COMMAND} 10
        -E echo "skipped: the development files of ${needed} are missing (make deps-all), or a sanitizer or an emulator runs")
      set_tests_properties(${name} PROPERTIES SKIP_REGULAR_EXPRESSION "skipped:")
      return()
    endif()
    list(APPEND libs PkgConfig::${needed})
  endif()

  add_executable(${exe} EXCLUDE_FROM_ALL ${file})
  set_target_properties(${exe} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/test)
  target_include_directories(${exe} PRIVATE ${PROJECT_SOURCE_DIR}/test ${PROJECT_SOURCE_DIR}/adapters)
  target_link_libraries(${exe} PRIVATE ${libs})
  set(args "")
  if(framework STREQUAL criterion)
    set(args --jobs 1 --color=never)
  endif()
  set(labels ${kind})
  set(cost 0)
  if(kind STREQUAL model) # they take longest: begin with them
    set(cost 10)
  endif()
  file(STRINGS ${file} threads LIMIT_COUNT 1 REGEX "pthread_|lib/afar.h|os_spawn")
  if(threads)
    list(APPEND labels threads)
  endif()
  mgc_add_test(${name} "${labels}" ${exe} ${MGC_TIMEOUT_${kind}} ${args})
  if("${head}" MATCHES "runs: alone")
    set_tests_properties(${name} PROPERTIES RUN_SERIAL TRUE)
  endif()
  set_tests_properties(${name} PROPERTIES COST ${cost}
    # a program that ran no test has not passed
    FAIL_REGULAR_EXPRESSION "Tested: 0 ;Running 0 test;PASSED  \\] 0 test")
endfunction()

foreach(kind ${MGC_KINDS})
  file(GLOB_RECURSE files CONFIGURE_DEPENDS test/${kind}/*_test.c test/${kind}/*_test.cc)
  foreach(file ${files})
    mgc_test_file(${kind} ${file})
  endforeach()
  file(GLOB_RECURSE files CONFIGURE_DEPENDS test/${kind}/*_test.py)
  foreach(file ${files}) # a script about the command, whose path it gets
    get_filename_component(name ${file} NAME_WE)
    string(REGEX REPLACE "_test$" "" name ${name})
    if(TARGET mallocgc_cmd AND NOT CMAKE_CROSSCOMPILING) # it starts programs of this machine
      add_dependencies(tests-${kind} mallocgc_cmd)
      mgc_add_test(${kind}/${name} ${kind} ${Python3_EXECUTABLE} ${MGC_TIMEOUT_${kind}} ${file}
        $<TARGET_FILE:mallocgc_cmd>)
    endif()
  endforeach()
endforeach()

# Programs on the malloc face again, with every allocation in secure mode.
foreach(test model/malloc_model conform/interface stress/malloc_fork)
  string(REPLACE "/" ";" kind_name ${test})
  list(GET kind_name 0 kind)
  string(REPLACE "/" "-" exe test-${test})
  if(TARGET ${exe} AND TARGET mallocgc_malloc)
    mgc_add_test(${test}-secure ${kind} ${exe} ${MGC_TIMEOUT_${kind}})
    set_tests_properties(${test}-secure PROPERTIES ENVIRONMENT "${MGC_TEST_ENV};MGC_DEBUG=secure=1")
  endif()
endforeach()

# And the model with some of its blocks sampled.
if(TARGET test-model-malloc_model AND TARGET mallocgc_malloc)
  mgc_add_test(model/malloc_model-sampled model test-model-malloc_model ${MGC_TIMEOUT_model})
  set_tests_properties(model/malloc_model-sampled PROPERTIES ENVIRONMENT "${MGC_TEST_ENV};MGC_DEBUG=samplerate=4KiB")
endif()

if(TEST conform/programs)
  add_test(NAME conform/programs-secure COMMAND ${Python3_EXECUTABLE}
    ${PROJECT_SOURCE_DIR}/test/conform/malloc/programs_test.py $<TARGET_FILE:mallocgc_cmd>)
  set_tests_properties(conform/programs-secure PROPERTIES LABELS conform TIMEOUT 180 SKIP_RETURN_CODE 77
    ENVIRONMENT "${MGC_TEST_ENV};MGC_DEBUG=secure=1")
endif()

# Never skip in silence: a missing framework is a failing test.
foreach(lib criterion cmocka cxx)
  get_property(missing GLOBAL PROPERTY mgc_missing_${lib})
  if(missing AND NOT CMAKE_CROSSCOMPILING)
    message(STATUS "${lib} (lib${lib}-dev, a C++ compiler) is missing: its tests are not built (`make deps-all`)")
    add_test(NAME unit/${lib}-is-installed COMMAND ${CMAKE_COMMAND} -E false)
    set_tests_properties(unit/${lib}-is-installed PROPERTIES LABELS unit)
  endif()
endforeach()

# --- the protocol of a cycle, checked by SPIN (make test-long; test/spin/README.md) ------------
add_test(NAME model-check/cycle COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/test/spin/run.py)
set_tests_properties(model-check/cycle PROPERTIES LABELS model-check TIMEOUT 7200 SKIP_RETURN_CODE 77)

# --- examples: small programs on the public library; each runs as a test ----------------------
file(GLOB files CONFIGURE_DEPENDS examples/*.c)
foreach(file ${files})
  get_filename_component(name ${file} NAME_WE)
  file(STRINGS ${file} head LIMIT_COUNT 10)
  if(TARGET mallocgc AND NOT "${head}" MATCHES "not under:[a-z, ]*${MGC_BUILD}")
    add_executable(example-${name} EXCLUDE_FROM_ALL ${file})
    set_target_properties(example-${name} PROPERTIES OUTPUT_NAME ${name}
      RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/examples
      ENABLE_EXPORTS ON) # a message can name their variables
    target_link_libraries(example-${name} PRIVATE mgc_flags mallocgc m)
    mgc_add_test(examples/${name} examples example-${name} 60)
    # again, with each collection checked by a second one, and each store for its barrier
    mgc_add_test(examples/${name}-checked examples example-${name} 60)
    set_tests_properties(examples/${name}-checked PROPERTIES
      ENVIRONMENT "${MGC_TEST_ENV};MGC_DEBUG=gccheckmark=1,verify=1,gcstress=2000")
  endif()
endforeach()

if(TARGET mallocgc_static) # run_test.py
  add_dependencies(tests-conform mallocgc_static)
endif()
foreach(name mistakes service) # debugging_test.py, top_test.py, record_test.py, report_test.py, run_test.py
  if(TARGET example-${name})
    add_dependencies(tests-conform example-${name})
  endif()
endforeach()

# examples/scheme: an interpreter; its tests are test/*_test.scm. Once more with a collection at every
# 200th refill, where collections are rare otherwise.
if(TARGET mallocgc)
  set(scheme ${PROJECT_SOURCE_DIR}/examples/scheme)
  file(GLOB files CONFIGURE_DEPENDS ${scheme}/*.c)
  add_executable(example-scheme EXCLUDE_FROM_ALL ${files})
  set_target_properties(example-scheme PROPERTIES OUTPUT_NAME scheme
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/examples)
  set_property(SOURCE ${scheme}/main.c PROPERTY OBJECT_DEPENDS ${scheme}/prelude.scm)
  target_compile_definitions(example-scheme PRIVATE PRELUDE="${scheme}/prelude.scm")
  target_link_libraries(example-scheme PRIVATE mgc_flags mallocgc m)
  if(NOT CMAKE_CROSSCOMPILING)
    add_test(NAME examples/scheme/repl COMMAND ${Python3_EXECUTABLE} ${scheme}/test/repl.py
      $<TARGET_FILE:example-scheme>)
    set_tests_properties(examples/scheme/repl PROPERTIES LABELS examples TIMEOUT 120
      ENVIRONMENT "${MGC_TEST_ENV}")
  endif()
  file(GLOB files CONFIGURE_DEPENDS ${scheme}/test/*_test.scm)
  foreach(file ${files})
    get_filename_component(name ${file} NAME_WE)
    string(REGEX REPLACE "_test$" "" name ${name})
    foreach(kind "" -stress)
      set(test examples/scheme${kind}/${name})
      mgc_add_test(${test} examples example-scheme 60 ${file})
      set_tests_properties(${test} PROPERTIES WORKING_DIRECTORY ${scheme}/test)
    endforeach()
    set_tests_properties(${test} PROPERTIES
      ENVIRONMENT "${MGC_TEST_ENV};MGC_DEBUG=gcstress=200,verify=1,clobberfree=1")
  endforeach()
endif()

# --- fuzz: test/fuzz/NAME.c defines LLVMFuzzerTestOneInput. With MGC_FUZZ it is a libFuzzer
# program; otherwise a plain test that replays the saved corpus test/fuzz/corpus/NAME/. Lines with "sources:" name
# the files of the command that it is about (sources: src/cmd/x.c src/cmd/y.c): they are in no library. --------
add_custom_target(fuzzers)
file(GLOB files CONFIGURE_DEPENDS test/fuzz/*.c)
foreach(file ${files})
  get_filename_component(name ${file} NAME_WE)
  file(STRINGS ${file} sources REGEX "sources:")
  string(REGEX MATCHALL "src/cmd/[a-z_]+[.]c" sources "${sources}")
  add_executable(fuzz-${name} EXCLUDE_FROM_ALL ${file} ${sources})
  set_target_properties(fuzz-${name} PROPERTIES MGC_NO_PROTOTYPE TRUE # libFuzzer's entry has none
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzzers)
  target_include_directories(fuzz-${name} PRIVATE ${PROJECT_SOURCE_DIR}/test)
  target_compile_definitions(fuzz-${name} PRIVATE MGC_WITH_DWFL=0)
  target_link_libraries(fuzz-${name} PRIVATE mgc_flags_src mgc_testlib mgc_internal)
  add_dependencies(fuzzers fuzz-${name})
  if(MGC_FUZZ)
    target_link_options(fuzz-${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(fuzz-${name} PRIVATE cmake/fuzz_replay.c)
    mgc_add_test(fuzz/${name} unit fuzz-${name} 60 ${PROJECT_SOURCE_DIR}/test/fuzz/corpus/${name})
  endif()
endforeach()
