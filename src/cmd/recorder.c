/* recorder.c - see recorder.h. STATE one recorder, and what signals say. */
#include "cmd/recorder.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "cmd/cmd.h"
#include "cmd/recording.h"
#include "os/os.h"

#define NS_PER_S UINT64_C(1000000000)
#define SAMPLE_NS UINT64_C(20000000) /* between two samples, at first */
#define SAMPLES_PER_AGE 1500 /* later: so many in the time that was recorded before */
#define LOOK_NS \
	UINT64_C(200000000) /* at most between two looks: the ring of cycles must not run over */
#define CENSUS_NS UINT64_C(50000000)
#define CENSUSES_PER_AGE 6
#define CENSUS_COST 100 /* a census may take a hundredth of the time */
#define SAMPLE_COST 20 /* and what is read for a sample a twentieth: of each of malloc's threads */

struct recorder {
	FILE *out;
	struct recording rec;
	struct target t;
	bool seen; /* there is something to record */
	bool over; /* and no more of it */
	bool last; /* the process itself said that it ends */
	struct view view;
	struct census census;
	struct sites sites;
	uint64_t begin_ns, sample_at_ns, census_at_ns, shown_ns;
	bool others; /* processes with the library that are not recorded */
	int listener; /* -1: none */
};

static struct recorder recorder;
static volatile sig_atomic_t asked_to_stop;
static volatile sig_atomic_t child; /* signals are passed on to it */

FILE *recorder_open(const char *path)
{
	struct stat st;
	FILE *file = fopen(path, "w+");
	if (file == NULL) {
		complain("%s: %s", path, strerror(errno));
	} else if (fstat(fileno(file), &st) != 0 || !S_ISREG(st.st_mode)) {
		complain("%s is no file: a recording is written to one, which can begin anew", path);
		fclose(file);
		file = NULL;
	}
	return file;
}

/* ── looking ────────────────────────────────────────────────────────────────────────────── */

static void take_census(struct recorder *r)
{
	uint64_t begin = os_now_ns();
	if (!census_read(&r->t, &r->census))
		return;
	uint64_t now = os_now_ns(), age = now - r->begin_ns;
	recording_census(&r->rec, &r->census, now);
	(void)sites_read(&r->t, &r->sites);
	r->census_at_ns = now + max_size(max_size(CENSUS_NS, age / CENSUSES_PER_AGE),
					 (os_now_ns() - begin) * CENSUS_COST);
}

/* look - `all`: everything is due. */
static void look(struct recorder *r, bool all)
{
	static struct view v;
	uint64_t begin = os_thread_cpu_ns(); /* others' turns are no cost */
	if (r->over)
		return;
	if (!view_read(&r->t, &v) || (v.collected && v.ncycles < r->rec.ncycles)) {
		r->over = true;
		return;
	}
	r->view = v;
	recording_cycles(&r->rec, &v);
	if (all || v.now_ns >= r->sample_at_ns) {
		recording_sample(&r->rec, &v);
		r->sample_at_ns =
			v.now_ns +
			max_size(max_size(SAMPLE_NS, (v.now_ns - r->begin_ns) / SAMPLES_PER_AGE),
				 (os_thread_cpu_ns() - begin) * SAMPLE_COST);
	}
	if (all || v.now_ns >= r->census_at_ns)
		take_census(r);
}

/* begin - what was recorded before, of another program in the same process, is dropped. */
static int begin(struct recorder *r, pid_t pid)
{
	int status = target_find(&r->t, pid);
	if (status != 0)
		return status;
	if (!view_read(&r->t, &r->view)) {
		complain("process %d %s", (int)pid, target_fate(&r->t));
		return STATUS_FAILED;
	}
	if (fseek(r->out, 0, SEEK_SET) != 0 || ftruncate(fileno(r->out), 0) != 0) {
		complain("the recording cannot be written: %s", strerror(errno));
		return STATUS_FAILED;
	}
	r->begin_ns = os_now_ns();
	r->sample_at_ns = r->census_at_ns = 0;
	r->seen = true;
	r->over = r->last = false;
	recording_begin(&r->rec, r->out, &r->t, &r->view);
	/* the ring's oldest is where a recording of a running process begins */
	uint64_t n = r->view.ncycles;
	r->rec.ncycles = n > RECENT_CYCLES ? n - RECENT_CYCLES : 0;
	look(r, false);
	return 0;
}

/* until_next - so long may the recorder sleep. */
static struct timespec until_next(const struct recorder *r)
{
	uint64_t now = os_now_ns();
	uint64_t at = min_size(r->sample_at_ns, now + LOOK_NS);
	uint64_t ns = r->seen && !r->over && at > now ? at - now : LOOK_NS;
	return (struct timespec){ (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };
}

static void show_progress(struct recorder *r)
{
	uint64_t now = os_now_ns();
	if (!isatty(STDERR_FILENO) || now - r->shown_ns < NS_PER_S)
		return;
	r->shown_ns = now;
	fprintf(stderr, "\r%.0f s  heap %s  %llu collections \033[K", (double)(now - r->begin_ns) / 1e9,
		bytes_text(r->view.collected ? r->view.live_nbytes : r->view.used_nbytes).s,
		(unsigned long long)r->view.ncycles);
}

static int finish(struct recorder *r, const char *how, int status)
{
	if (isatty(STDERR_FILENO) && r->shown_ns != 0)
		fputs("\r\033[K", stderr);
	if (r->seen)
		recording_end(&r->rec, &r->view, &r->sites, how, status);
	sites_free(&r->sites);
	if (r->listener >= 0)
		close(r->listener);
	if (fflush(r->out) == 0 && !ferror(r->out))
		return 0;
	complain("the recording cannot be written: %s", strerror(errno));
	return STATUS_FAILED;
}

/* ── what the processes say ─────────────────────────────────────────────────────────────── */

/* listen_for - a socket, whose name the processes find in their environment. */
static int listen_for(struct recorder *r)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char name[64];
	int n = snprintf(name, sizeof name, "mallocgc-%d-%016llx", (int)getpid(),
			 (unsigned long long)os_random());
	memcpy(at.sun_path + 1, name, (size_t)n);
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
	r->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (r->listener >= 0 && bind(r->listener, (const struct sockaddr *)&at, length) == 0 &&
	    listen(r->listener, 64) == 0 && setenv("MGC_RECORDER", name, 1) == 0)
		return 0;
	complain("cannot listen for the program: %s", strerror(errno));
	return STATUS_FAILED;
}

/* is_better - a collected heap, where the recorded one is malloc's: a shell's, say, that starts the program. */
static bool is_better(const struct recorder *r, pid_t pid)
{
	static struct target t;
	return r->t.watch.face == WATCH_MALLOC && target_find(&t, pid) == 0 &&
	       t.watch.face == WATCH_COLLECTED;
}

static void hear(struct recorder *r, pid_t pid, char what)
{
	bool other = r->seen && pid != r->t.pid;
	r->others |= other;
	if (what == WATCH_STARTED && (!other || is_better(r, pid)))
		(void)begin(r, pid);
	else if (what == WATCH_ENDS && r->seen && pid == r->t.pid) {
		look(r, true);
		r->over = r->last = true;
	}
}

static void answer(struct recorder *r)
{
	struct ucred who;
	struct timeval patience = { .tv_sec = 1 };
	socklen_t n = sizeof who;
	char what = 0;
	int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 && who.uid == geteuid() &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
	    recv(fd, &what, 1, 0) == 1) {
		(void)!send(fd, &what, 1, MSG_NOSIGNAL); /* heard; and below: done */
		hear(r, who.pid, what);
		(void)!send(fd, &what, 1, MSG_NOSIGNAL);
	}
	close(fd);
}

/* rest - until the next look, a process speaks, or a signal comes. Looks. */
static void rest(struct recorder *r, const sigset_t *signals)
{
	struct pollfd fd = { .fd = r->listener, .events = POLLIN };
	struct timespec timeout = until_next(r);
	if (ppoll(&fd, r->listener >= 0, &timeout, signals) > 0)
		answer(r);
	if (r->seen)
		look(r, false);
}

/* ── a program of ours ──────────────────────────────────────────────────────────────────── */

static void on_child(int signal)
{
	(void)signal;
}

static void pass_on(int signal)
{
	if (child != 0)
		kill((pid_t)child, signal);
	asked_to_stop = 1;
}

static void on_signal(int signal, void (*fn)(int))
{
	struct sigaction action = { .sa_handler = fn };
	sigaction(signal, &action, NULL);
}

/* start - the child, with the signals as this process found them; SIGCHLD is blocked but in `rest`. */
static pid_t start(const char *path, char **argv, sigset_t *before)
{
	sigset_t blocked;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, before);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		sigprocmask(SIG_SETMASK, before, NULL);
		execvp(path, argv);
		complain("%s: %s", path, strerror(errno));
		_exit(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN);
	}
	if (pid < 0)
		complain("cannot start a process: %s", strerror(errno));
	child = pid > 0 ? pid : 0;
	return pid;
}

int recorder_run(FILE *out, const char *path, char **argv)
{
	struct recorder *r = &recorder;
	sigset_t before;
	int status;
	*r = (struct recorder){ .out = out, .listener = -1 };
	if ((status = listen_for(r)) != 0)
		return status;
	on_signal(SIGCHLD, on_child);
	pid_t pid = start(path, argv, &before);
	if (pid < 0)
		return STATUS_FAILED;
	on_signal(SIGINT, SIG_IGN); /* the terminal sends it to the program, too */
	on_signal(SIGQUIT, SIG_IGN);
	on_signal(SIGTERM, pass_on);
	on_signal(SIGHUP, pass_on);
	sigdelset(&before, SIGCHLD);
	while (waitpid(pid, &status, WNOHANG) == 0)
		rest(r, &before);
	bool exited = WIFEXITED(status);
	status = exited ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	int failed = finish(r, !exited ? "killed" : r->last ? "exit" : "vanished", status);
	if (!r->seen && status < STATUS_FAILED) {
		complain("%s did not use the library: there is nothing to report", argv[0]);
		return status != 0 ? status : STATUS_FAILED;
	}
	if (r->others)
		complain("note: other processes used the library, too; process %d is in the "
			 "recording",
			 (int)r->t.pid);
	return failed != 0 && status == 0 ? failed : status;
}

int recorder_watch(FILE *out, pid_t pid, uint64_t duration_ns)
{
	struct recorder *r = &recorder;
	sigset_t none;
	*r = (struct recorder){ .out = out, .listener = -1 };
	int status = begin(r, pid);
	if (status != 0)
		return status;
	sigemptyset(&none);
	on_signal(SIGINT, pass_on);
	on_signal(SIGTERM, pass_on);
	on_signal(SIGHUP, pass_on);
	while (!r->over && !asked_to_stop &&
	       (duration_ns == 0 || os_now_ns() - r->begin_ns < duration_ns)) {
		show_progress(r);
		rest(r, &none);
	}
	look(r, true);
	return finish(r, r->over ? "vanished" : "stopped", -1);
}
