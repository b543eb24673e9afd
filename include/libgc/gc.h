/* gc.h - the interface of Boehm's libgc, for programs that are compiled against this library alone. */
#include "gc/gc.h"
