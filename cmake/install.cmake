# make install: libraries, headers, command, pkg-config and find_package files, man pages; the same in
# Debian packages (make deb): lib, what a program needs that was linked with it; dev, what linking needs; tools, the
# command; bench, what `mallocgc bench` runs.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/mallocgc)
function(mgc_install_library target folder)
  install(TARGETS ${target} LIBRARY DESTINATION ${folder} COMPONENT lib NAMELINK_COMPONENT dev)
endfunction()
function(mgc_install_dev folder)
  install(FILES ${ARGN} DESTINATION ${folder} COMPONENT dev)
endfunction()

if(TARGET mallocgc)
  mgc_install_library(mallocgc ${CMAKE_INSTALL_LIBDIR})
  mgc_install_dev(${CMAKE_INSTALL_LIBDIR} ${PROJECT_BINARY_DIR}/lib/libmallocgc.a)
  mgc_install_dev(${CMAKE_INSTALL_INCLUDEDIR} include/mallocgc.h include/mallocgc-inline.h
    include/mallocgc.hpp)
  file(RELATIVE_PATH MGC_LIBDIR_TO_INCLUDE ${CMAKE_INSTALL_FULL_LIBDIR}
    ${CMAKE_INSTALL_FULL_INCLUDEDIR})
  configure_file(cmake/mallocgc.pc.in mallocgc.pc @ONLY)
  mgc_install_dev(${CMAKE_INSTALL_LIBDIR}/pkgconfig ${PROJECT_BINARY_DIR}/mallocgc.pc)
  configure_package_config_file(cmake/mallocgcConfig.cmake.in mallocgcConfig.cmake
    INSTALL_DESTINATION ${package_dir} PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
  write_basic_package_version_file(mallocgcConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  mgc_install_dev(${package_dir} ${PROJECT_BINARY_DIR}/mallocgcConfig.cmake
    ${PROJECT_BINARY_DIR}/mallocgcConfigVersion.cmake)
endif()
if(TARGET mallocgc_malloc)
  mgc_install_library(mallocgc_malloc ${CMAKE_INSTALL_LIBDIR})
  mgc_install_dev(${CMAKE_INSTALL_INCLUDEDIR} include/mallocgc-heap.h)
endif()
mgc_install_dev(${CMAKE_INSTALL_DATADIR}/mallocgc tools/mallocgc-gdb.py)
file(GLOB adapters CONFIGURE_DEPENDS adapters/*.h)
mgc_install_dev(${CMAKE_INSTALL_INCLUDEDIR} ${adapters})
if(TARGET mallocgc_libgc)
  mgc_install_library(mallocgc_libgc ${CMAKE_INSTALL_LIBDIR}/mallocgc)
  install(DIRECTORY include/libgc DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/mallocgc COMPONENT dev)
  file(RELATIVE_PATH MGC_LIBGC_TO_INCLUDE ${CMAKE_INSTALL_FULL_LIBDIR}/mallocgc
    ${CMAKE_INSTALL_FULL_INCLUDEDIR}/mallocgc/libgc)
  configure_file(cmake/bdw-gc.pc.in bdw-gc.pc @ONLY)
  mgc_install_dev(${CMAKE_INSTALL_LIBDIR}/mallocgc/pkgconfig ${PROJECT_BINARY_DIR}/bdw-gc.pc)
endif()
if(TARGET mallocgc_cmd)
  install(TARGETS mallocgc_cmd RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)
endif()
if(TARGET malloc-app)
  install(DIRECTORY ${PROJECT_BINARY_DIR}/lib/${bench_dir} DESTINATION ${CMAKE_INSTALL_LIBDIR}/mallocgc COMPONENT bench
    USE_SOURCE_PERMISSIONS)
endif()
# Pages of the functions, from the headers' comments; completions, from what the command's --help prints.
set(made ${PROJECT_BINARY_DIR}/made)
set(headers mallocgc.h mallocgc-heap.h mallocgc-inline.h)
list(TRANSFORM headers PREPEND ${PROJECT_SOURCE_DIR}/include/)
add_custom_command(OUTPUT ${made}/man3.stamp
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${made}/man3
  COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tools/manpages.py ${made}/man3
  COMMAND ${CMAKE_COMMAND} -E touch ${made}/man3.stamp
  DEPENDS ${headers} tools/manpages.py VERBATIM)
add_custom_target(manpages ALL DEPENDS ${made}/man3.stamp)
install(DIRECTORY ${made}/man3 DESTINATION ${CMAKE_INSTALL_MANDIR} COMPONENT dev)
if(TARGET mallocgc_cmd AND NOT CMAKE_CROSSCOMPILING)
  add_custom_command(OUTPUT ${made}/mallocgc.bash ${made}/_mallocgc ${made}/mallocgc.fish
    COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tools/completions.py
      $<TARGET_FILE:mallocgc_cmd> ${made}
    DEPENDS mallocgc_cmd tools/completions.py VERBATIM)
  add_custom_target(completions ALL DEPENDS ${made}/mallocgc.bash)
  install(FILES ${made}/mallocgc.bash RENAME mallocgc COMPONENT tools
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES ${made}/_mallocgc COMPONENT tools
    DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
  install(FILES ${made}/mallocgc.fish COMPONENT tools
    DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
foreach(page 1=tools 7=lib)
  string(REPLACE "=" ";" page ${page})
  list(GET page 0 section)
  list(GET page 1 component)
  file(GLOB pages CONFIGURE_DEPENDS man/*.${section})
  install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT ${component})
endforeach()
include(cmake/package.cmake)

# Try it as a user would. The builds run inside the tests, so they take a test's time.
if(TARGET mallocgc AND NOT MGC_SANITIZE AND NOT CMAKE_CROSSCOMPILING)
  foreach(name install folder)
    add_test(NAME conform/${name} COMMAND ${PROJECT_SOURCE_DIR}/cmake/${name}_test.sh
      ${PROJECT_BINARY_DIR})
    set_tests_properties(conform/${name} PROPERTIES LABELS conform TIMEOUT 120)
  endforeach()
  add_test(NAME package/debian COMMAND ${PROJECT_SOURCE_DIR}/cmake/package_test.sh)
  set_tests_properties(package/debian PROPERTIES LABELS package TIMEOUT 1800 SKIP_RETURN_CODE 77)
endif()
