/* program.c - see program.h.
 * WHAT   follows a name through PATH, `#!` lines and env(1) to an ELF file, and reads its headers.
 * WHO    run.c.
 * STATE  none.  LOCKS  none.
 * UNITS  bytes.  FROM  execve(2), ld.so(8): secure-execution mode. */
#include "cmd/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/library.h"
#include "cmd/note.h"

enum { MAX_SCRIPTS = 4 /* as Linux: a script whose interpreter is a script … */ };

/* ── finding it ── */

static bool is_executable_file(const char *path)
{
	struct stat st;
	if (stat(path, &st) != 0)
		return false;
	if (!S_ISREG(st.st_mode)) {
		errno = S_ISDIR(st.st_mode) ? EISDIR : EACCES;
		return false;
	}
	return access(path, X_OK) == 0;
}

/* search - the first executable `name` in the folders of PATH; else errno of the best match. */
static bool search(char *out, const char *name)
{
	const char *list = getenv("PATH");
	int error = ENOENT;
	if (list == NULL)
		list = "/bin:/usr/bin";
	for (size_t n; *list != '\0'; list += n + (list[n] == ':')) {
		n = strcspn(list, ":");
		const char *folder = n > 0 ? list : ".";
		int length = snprintf(out, PATH_MAX, "%.*s/%s", n > 0 ? (int)n : 1, folder, name);
		if (length < 0 || length >= PATH_MAX)
			continue;
		if (is_executable_file(out))
			return true;
		if (errno == EACCES)
			error = EACCES;
	}
	errno = error;
	return false;
}

static bool find(char *out, const char *name)
{
	if (strchr(name, '/') == NULL)
		return search(out, name);
	if (strlen(name) >= PATH_MAX) {
		errno = ENAMETOOLONG;
		return false;
	}
	strcpy(out, name);
	return is_executable_file(out);
}

int program_find(struct program *p, const char *name)
{
	*p = (struct program){ .path = "" };
	if (find(p->path, name))
		return 0;
	int error = errno;
	if (*name == '\0')
		complain("the program's name is empty");
	else if (error == ENOENT && strchr(name, '/') == NULL)
		complain("%s: not found in PATH", name);
	else
		complain("%s: %s", name, strerror(error));
	return error == ENOENT || error == ENOTDIR ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN;
}

/* ── reading it ── */

static ssize_t read_at(const char *path, void *buf, size_t nbytes, off_t at)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = pread(fd, buf, nbytes, at);
	close(fd);
	return n;
}

/* script_interpreter - the program that a `#!` line names, into out; false if it is none. */
static bool script_interpreter(const char *path, char *out)
{
	char line[256];
	ssize_t n = read_at(path, line, sizeof line - 1, 0);
	if (n < 2 || line[0] != '#' || line[1] != '!')
		return false;
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	char *rest = NULL;
	char *first = strtok_r(line + 2, " \t", &rest);
	if (first == NULL || !find(out, first))
		return false;
	const char *base = strrchr(first, '/');
	if (strcmp(base ? base + 1 : first, "env") == 0) {
		char *word = strtok_r(NULL, " \t", &rest);
		if (word != NULL && strcmp(word, "-S") == 0)
			word = strtok_r(NULL, " \t", &rest);
		if (word == NULL || word[0] == '-' || strchr(word, '=') != NULL || !find(out, word))
			strcpy(out, first); /* env itself is what we can say something about */
	}
	return true;
}

static const char *privileges(const char *path)
{
	struct stat st;
	if (stat(path, &st) != 0)
		return NULL;
	if ((st.st_mode & S_ISUID) && st.st_uid != getuid())
		return "it is set-user-ID";
	if ((st.st_mode & S_ISGID) && (st.st_mode & S_IXGRP) && st.st_gid != getgid())
		return "it is set-group-ID";
	if (geteuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0)
		return "it has file capabilities";
	return NULL;
}

/* read_loader - fills p->loader from PT_INTERP; false if the ELF file has none. */
static bool read_loader(struct program *p, const Elf64_Ehdr *header)
{
	for (unsigned i = 0; i < header->e_phnum; i++) {
		Elf64_Phdr segment;
		off_t at = (off_t)(header->e_phoff + (uint64_t)i * header->e_phentsize);
		if (read_at(p->elf, &segment, sizeof segment, at) != sizeof segment)
			return false;
		if (segment.p_type != PT_INTERP)
			continue;
		if (segment.p_filesz == 0 || segment.p_filesz >= sizeof p->loader)
			return false;
		ssize_t n = read_at(p->elf, p->loader, segment.p_filesz, (off_t)segment.p_offset);
		p->loader[n > 0 ? n : 0] = '\0';
		return n > 0;
	}
	return false;
}

/* cannot - the message of all refusals. */
static int cannot(const struct program *p, const char *why)
{
	if (strcmp(p->path, p->elf) == 0)
		complain("%s: %s, so its memory manager cannot be replaced", p->path, why);
	else
		complain("%s: its interpreter %s: %s, so its memory manager cannot be replaced",
			 p->path, p->elf, why);
	return STATUS_CANNOT_RUN;
}

int program_check(struct program *p, bool replace)
{
	strcpy(p->elf, p->path);
	for (int i = 0; i < MAX_SCRIPTS; i++) {
		char next[PATH_MAX];
		if (!script_interpreter(p->elf, next))
			break;
		strcpy(p->elf, next);
	}
	const char *why = privileges(p->elf);
	if (why != NULL)
		return cannot(p, why);

	Elf64_Ehdr header, ours;
	if (read_at(p->elf, &header, sizeof header, 0) != sizeof header ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
		return 0; /* unreadable, or no ELF file: execve has the last word */
	if (read_at("/proc/self/exe", &ours, sizeof ours, 0) == sizeof ours &&
	    (header.e_ident[EI_CLASS] != ours.e_ident[EI_CLASS] ||
	     header.e_ident[EI_DATA] != ours.e_ident[EI_DATA] || header.e_machine != ours.e_machine))
		return cannot(p, "it was built for another architecture");
	p->own = note_of_file(p->elf);
	if (!read_loader(p, &header) && (replace || !p->own))
		return cannot(p, "it is statically linked");
	return 0;
}

/* ── what it is linked with ── */

/* start_list - runs `LOADER --list ELF`, which names all libraries and does not start the program;
 * its output can be read from *out. */
static bool start_list(const struct program *p, pid_t *pid, FILE **out)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0)
		return false;
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	char *argv[] = { (char *)p->loader, "--list", (char *)p->elf, NULL };
	bool ok = posix_spawn(pid, p->loader, &actions, NULL, argv, environ) == 0;
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	*out = ok ? fdopen(ends[0], "r") : NULL;
	if (*out == NULL)
		close(ends[0]);
	return ok;
}

/* take_line - "\tNAME => PATH (ADDRESS)" or "\tPATH (ADDRESS)". */
static void take_line(struct program *p, char *line)
{
	char *name = line + strspn(line, "\t"), *end = strrchr(name, '(');
	if (end == NULL || end == name || end[-1] != ' ')
		return;
	end[-1] = '\0';
	char *arrow = strstr(name, " => ");
	const char *path = arrow != NULL ? arrow + 4 : name;
	if (arrow != NULL)
		*arrow = '\0';
	p->libgc = p->libgc || strcmp(name, LIBGC_SO) == 0;
	p->own = p->own || note_of_file(path);
}

void program_look(struct program *p)
{
	pid_t pid;
	FILE *out;
	int status = 0;
	char line[PATH_MAX + 256];
	if (p->loader[0] == '\0' || !start_list(p, &pid, &out))
		return;
	while (out != NULL && fgets(line, sizeof line, out) != NULL)
		take_line(p, line);
	if (out != NULL)
		fclose(out);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	p->broken = status != 0;
}
