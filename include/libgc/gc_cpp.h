/* gc_cpp.h - the same for C++. */
#include "gc/gc_cpp.h"
