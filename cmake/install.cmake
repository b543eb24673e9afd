# make install: libraries, header, command, pkg-config and find_package files, man pages.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/mallocgc)

if(TARGET mallocgc)
  install(TARGETS mallocgc LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(FILES ${PROJECT_BINARY_DIR}/lib/libmallocgc.a DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(FILES include/mallocgc.h include/mallocgc-inline.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  file(RELATIVE_PATH MGC_LIBDIR_TO_INCLUDE ${CMAKE_INSTALL_FULL_LIBDIR}
    ${CMAKE_INSTALL_FULL_INCLUDEDIR})
  configure_file(cmake/mallocgc.pc.in mallocgc.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/mallocgc.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
  configure_package_config_file(cmake/mallocgcConfig.cmake.in mallocgcConfig.cmake
    INSTALL_DESTINATION ${package_dir} PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
  write_basic_package_version_file(mallocgcConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/mallocgcConfig.cmake
    ${PROJECT_BINARY_DIR}/mallocgcConfigVersion.cmake DESTINATION ${package_dir})
endif()
if(TARGET mallocgc_malloc)
  install(TARGETS mallocgc_malloc LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(FILES include/mallocgc-heap.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endif()
if(TARGET mallocgc_libgc)
  install(TARGETS mallocgc_libgc LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/mallocgc)
  install(DIRECTORY include/libgc DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/mallocgc)
  file(RELATIVE_PATH MGC_LIBGC_TO_INCLUDE ${CMAKE_INSTALL_FULL_LIBDIR}/mallocgc
    ${CMAKE_INSTALL_FULL_INCLUDEDIR}/mallocgc/libgc)
  configure_file(cmake/bdw-gc.pc.in bdw-gc.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/bdw-gc.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/mallocgc/pkgconfig)
endif()
if(TARGET mallocgc_cmd)
  install(TARGETS mallocgc_cmd RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
foreach(section 1 3 7)
  file(GLOB pages CONFIGURE_DEPENDS man/*.${section})
  install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()

# Try it as a user would. The build runs inside the test, so it takes a test's time.
if(TARGET mallocgc AND NOT MGC_SANITIZE AND NOT CMAKE_CROSSCOMPILING)
  add_test(NAME conform/install COMMAND ${PROJECT_SOURCE_DIR}/cmake/install_test.sh
    ${PROJECT_BINARY_DIR})
  set_tests_properties(conform/install PROPERTIES LABELS conform TIMEOUT 120)
endif()
