# Checks of the source itself, label lint. Each fails when it found nothing to check.
function(mgc_lint name)
  add_test(NAME lint/${name} COMMAND ${ARGN} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(lint/${name} PROPERTIES LABELS lint TIMEOUT 300 SKIP_RETURN_CODE 77)
endfunction()

foreach(check layers headers size tags order words names tutorial libgc)
  mgc_lint(${check} ${Python3_EXECUTABLE} tools/check_${check}.py)
endforeach()
mgc_lint(docs ${Python3_EXECUTABLE} tools/gendocs.py)
mgc_lint(figures ${Python3_EXECUTABLE} bench/figures.py --check)
mgc_lint(manpages ${Python3_EXECUTABLE} tools/manpages.py)
mgc_lint(sizeclasses ${Python3_EXECUTABLE} tools/mksizes.py --check)
mgc_lint(selftest ${Python3_EXECUTABLE} test/lint/selftest.py)
mgc_lint(format tools/format.sh --check)
mgc_lint(tidy tools/tidy.sh ${PROJECT_BINARY_DIR})

# NAME=LIBRARY=LIST-OF-OBJECTS for each face that is built; `abi-update` rewrites the maps.
set(faces "")
foreach(face mallocgc libgc malloc)
  string(REPLACE mallocgc_mallocgc mallocgc target mallocgc_${face})
  if(TARGET ${target})
    get_target_property(parts ${target} MGC_PARTS)
    if(NOT face STREQUAL mallocgc) # the core has names of the native face only
      list(GET parts 0 parts)
    endif()
    list(TRANSFORM parts REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>")
    file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/objects-${face}.txt CONTENT "${parts}")
    list(APPEND faces ${face}=$<TARGET_FILE:${target}>=${PROJECT_BINARY_DIR}/objects-${face}.txt)
  endif()
endforeach()
mgc_lint(abi ${Python3_EXECUTABLE} tools/check_abi.py ${faces})
add_custom_target(abi-update ${Python3_EXECUTABLE} tools/check_abi.py --write ${faces}
  WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} VERBATIM)
