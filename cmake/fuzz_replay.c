/* fuzz_replay.c - runs a fuzz target over saved inputs, without a fuzzer.
 * WHAT   main() for test/fuzz programs in ordinary builds: every file of the folder argv[1] once,
 *        after the empty input. Prints how many it replayed. */
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes);

static void replay(const char *dir, const char *name)
{
	char path[4096];
	static uint8_t data[1 << 20];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *file = fopen(path, "rb");
	if (!file) {
		perror(path);
		exit(1);
	}
	size_t nbytes = fread(data, 1, sizeof data, file);
	fclose(file);
	LLVMFuzzerTestOneInput(data, nbytes);
}

int main(int argc, char **argv)
{
	unsigned nfiles = 0;
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		if (entry->d_name[0] == '.')
			continue;
		replay(argv[1], entry->d_name);
		nfiles++;
	}
	if (dir)
		closedir(dir);
	printf("replayed the empty input and %u files\n", nfiles);
	return 0;
}
