# Debian packages by CPack: libmallocgc0, libmallocgc-dev, mallocgc, mallocgc-bench. `make deb` configures for /usr first, so that
# every path is Debian's.
set(soname ${PROJECT_VERSION_MAJOR})
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VENDOR "mallocgc")
set(CPACK_PACKAGE_CONTACT "the authors of mallocgc <mallocgc@localhost>")
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_DEBIAN_DEBUGINFO_PACKAGE ON) # one -dbgsym beside each package that has code; it strips that one
set(CPACK_BUILD_SOURCE_DIRS ${PROJECT_SOURCE_DIR})
set(CPACK_COMPONENTS_ALL lib dev tools bench)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# our own libraries, whose package is named below. Programs for a collector run on Debian's libgc as well: its package is found
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/lib ${PROJECT_BINARY_DIR}/libgc)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")

set(CPACK_DEBIAN_LIB_PACKAGE_NAME libmallocgc${soname})
set(CPACK_DEBIAN_LIB_PACKAGE_SECTION libs)
set(CPACK_COMPONENT_LIB_DESCRIPTION "memory manager with a concurrent garbage collector
The libraries that programs are linked with: the garbage-collected heap, the replacement of malloc, and,
in a folder of its own, the replacement of Boehm's libgc.so.1.")

set(CPACK_DEBIAN_DEV_PACKAGE_NAME libmallocgc-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "libmallocgc${soname} (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_DEV_PACKAGE_SHLIBDEPS OFF)
set(CPACK_COMPONENT_DEV_DESCRIPTION "memory manager with a concurrent garbage collector: development
Headers, the static library, pkg-config and CMake files, manual pages of the functions.")

set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME mallocgc)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "libmallocgc${soname} (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_TOOLS_PACKAGE_RECOMMENDS "mallocgc-bench (= ${PROJECT_VERSION})")
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "runs programs on another memory manager, and shows what it does
The command `mallocgc`: it starts a program with its malloc or its libgc replaced, and shows the heap of a
running process.")

set(CPACK_DEBIAN_BENCH_PACKAGE_NAME mallocgc-bench)
set(CPACK_DEBIAN_BENCH_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_BENCH_PACKAGE_DEPENDS "libmallocgc${soname} (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_BENCH_PACKAGE_SUGGESTS "libmimalloc2.0, libjemalloc2, libtcmalloc-minimal4")
set(CPACK_COMPONENT_BENCH_DESCRIPTION "memory managers measured on this machine: programs
What `mallocgc bench` runs on the libraries of this project, the C library's malloc, Boehm's libgc, and whatever
else is installed.")
foreach(component lib dev tools bench) # the licence, where Debian wants it
  string(TOUPPER ${component} upper)
  install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${CPACK_DEBIAN_${upper}_PACKAGE_NAME}
    RENAME copyright COMPONENT ${component})
endforeach()
include(CPack)
