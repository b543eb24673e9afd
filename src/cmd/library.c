/* library.c - see library.h. STATE none. */
#include "cmd/library.h"

#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "mallocgc.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define MALLOC_SO "libmallocgc-malloc.so." TEXT(MGC_VERSION_MAJOR)

void library_folder(char out[PATH_MAX])
{
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	exe[n > 0 ? n : 0] = '\0';
	snprintf(out, PATH_MAX, "%s", dirname(exe));
}

int library_find(enum face face, char out[PATH_MAX])
{
	static const char *const places[][3] = {
		[FACE_LIBGC] = { "../libgc/" LIBGC_SO, "../lib/mallocgc/" LIBGC_SO,
				 MGC_LIBDIR "/mallocgc/" LIBGC_SO },
		[FACE_MALLOC] = { "../lib/" MALLOC_SO, "../lib/mallocgc/" MALLOC_SO,
				  MGC_LIBDIR "/" MALLOC_SO },
	};
	char folder[PATH_MAX], path[2 * PATH_MAX];
	library_folder(folder);
	for (size_t i = 0; i < 3; i++) {
		const char *place = places[face][i];
		bool absolute = place[0] == '/';
		snprintf(path, sizeof path, "%s%s%s", absolute ? "" : folder, absolute ? "" : "/",
			 place);
		if (realpath(path, out) != NULL && access(out, R_OK) == 0)
			return 0;
	}
	complain("%s is missing: looked in %s/.. and " MGC_LIBDIR,
		 face == FACE_LIBGC ? LIBGC_SO : MALLOC_SO, folder);
	return STATUS_FAILED;
}
