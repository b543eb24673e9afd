/* library.h - the faces that a program can be started on, and where their libraries are.
 * WHO    run, bench.  STATE none. */
#ifndef MGC_CMD_LIBRARY_H
#define MGC_CMD_LIBRARY_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <limits.h>

#define LIBGC_SO "libgc.so.1"

/* FACE_AUTO: not said yet. FACE_OWN: the program brings its own, and nothing is put in front of it. */
enum face { FACE_AUTO, FACE_LIBGC, FACE_MALLOC, FACE_OWN };

/* library_find - the absolute path of our library, of libgc's or malloc's face: beside this command (the build tree, or an installation that was
 * moved), else where it was installed. 0 or an exit status after a message. */
int library_find(enum face face, char out[PATH_MAX]);
/* library_folder - the folder that this command lies in. */
void library_folder(char out[PATH_MAX]);

#endif
