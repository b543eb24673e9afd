# Compiler flags, as interface targets: mgc_flags (tests, examples), mgc_flags_src (the library).
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_FLAGS_DEBUG "-Og -g")
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

set(MGC_WARNINGS -Wall -Wextra -Wundef -Wshadow -Wconversion -Wvla
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes
    $<$<NOT:$<BOOL:$<TARGET_PROPERTY:MGC_NO_PROTOTYPE>>>:-Wmissing-prototypes>>)
if(MGC_WERROR)
  list(APPEND MGC_WARNINGS -Werror)
endif()

add_library(mgc_flags INTERFACE)
target_compile_options(mgc_flags INTERFACE ${MGC_WARNINGS})
target_link_libraries(mgc_flags INTERFACE Threads::Threads)
target_compile_definitions(mgc_flags INTERFACE _GNU_SOURCE MGC_RESERVE_SHIFT=${MGC_RESERVE_SHIFT}
  $<$<BOOL:${MGC_ASSERT}>:MGC_ASSERT=1> $<$<BOOL:${MGC_HOSTILE}>:MGC_HOSTILE=1>
  $<$<BOOL:${CMAKE_CROSSCOMPILING}>:TEST_EMULATED=1>)

# Sanitizers cover the tests too. The macro tells the sources which one runs. -O1 compiles in half the
# time of -O2 here.
set(MGC_NO_UNDEFINED -Wl,--no-undefined)
if(MGC_SANITIZE)
  string(TOUPPER ${MGC_SANITIZE} name)
  target_compile_definitions(mgc_flags INTERFACE MGC_SANITIZE_${name}=1)
  set(checks ${MGC_SANITIZE})
  if(MGC_SANITIZE STREQUAL address) # both in one build: they look at different things
    set(checks address,undefined)
    # gcc leaves the end-of-scope poison of what it inlined into a no_sanitize function behind
    add_compile_options(-fno-sanitize-address-use-after-scope)
  endif()
  add_compile_options(-fsanitize=${checks} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${checks})
  set(MGC_NO_UNDEFINED "") # clang leaves the sanitizer's symbols to the executable
endif()
if(MGC_SANITIZE OR MGC_HOSTILE)
  set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O1 -g")
endif()
if(MGC_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

add_library(mgc_flags_src INTERFACE)
target_link_libraries(mgc_flags_src INTERFACE mgc_flags)
target_include_directories(mgc_flags_src INTERFACE
  ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
target_compile_definitions(mgc_flags_src INTERFACE MGC_IMPL
  MGC_VERSION_STRING="${PROJECT_VERSION}")
target_compile_options(mgc_flags_src INTERFACE -ffunction-sections -fdata-sections -fvisibility=hidden -ftls-model=initial-exec
  -fno-semantic-interposition)
