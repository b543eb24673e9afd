/* os_written_test.c - pages that were written, as the kernel tells them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

#define NPAGES 1024

static uintptr_t base;
static size_t page;

struct seen {
	size_t npages, nruns;
	bool written[NPAGES];
};

static void note(void *arg, uintptr_t lo, uintptr_t hi)
{
	struct seen *s = arg;
	s->nruns++;
	for (uintptr_t p = lo; p < hi; p += page) {
		s->npages++;
		s->written[(p - base) / page] = true;
	}
}

static uintptr_t end(void)
{
	return base + NPAGES * page;
}

static struct seen look(bool forget)
{
	struct seen s = { 0 };
	cr_assert_eq(os_written_each(base, end(), forget, note, &s), 0);
	return s;
}

static volatile char *at(size_t n)
{
	return (volatile char *)(base + n * page);
}

static void setup(void)
{
	page = os_page_size();
	base = os_reserve(NPAGES * page, 0);
	cr_assert_neq(base, 0);
	int err = os_written_start(base, end());
	if (err != 0)
		cr_skip("this kernel does not note written pages: %s", strerror(err));
	cr_assert_eq(os_commit(base, NPAGES / 2 * page), 0); /* the range was not READY when it began */
	for (size_t i = 0; i < NPAGES / 2; i++)
		*at(i) = 1;
}

TestSuite(written, .init = setup);

Test(written, everything_until_it_is_forgotten)
{
	struct seen s = look(true);
	cr_expect_eq(s.npages, NPAGES / 2);
	cr_expect_eq(look(false).npages, 0);
}

Test(written, a_write_is_seen_and_a_read_is_not)
{
	look(true);
	*at(7) = 2;
	(void)*at(9);
	*at(100) = 3;
	struct seen s = look(false);
	cr_expect_eq(s.npages, 2);
	cr_expect(s.written[7] && s.written[100]);
	cr_expect_eq(look(true).npages, 2); /* until it is forgotten */
	cr_expect_eq(look(true).npages, 0);
	cr_expect_eq(*at(7), 2);
}

Test(written, memory_that_becomes_ready_later_counts)
{
	look(true);
	cr_assert_eq(os_commit(base + NPAGES / 2 * page, NPAGES / 2 * page), 0);
	*at(NPAGES - 1) = 1;
	struct seen s = look(true);
	cr_expect_eq(s.npages, 1);
	cr_expect(s.written[NPAGES - 1]);
	*at(NPAGES - 1) = 2;
	cr_expect_eq(look(true).npages, 1);
}

Test(written, discarded_memory_counts_when_it_is_written_again)
{
	look(true);
	cr_assert_eq(os_discard(base, 16 * page), 0);
	look(true);
	*at(3) = 1;
	struct seen s = look(true);
	cr_expect(s.written[3]);
}

Test(written, the_kernels_writes_count)
{
	look(true);
	int fd = open("/dev/zero", O_RDONLY);
	cr_assert_eq(read(fd, (void *)(base + 20 * page), 2 * page), (ssize_t)(2 * page));
	close(fd);
	struct seen s = look(true);
	cr_expect_eq(s.npages, 2);
	cr_expect(s.written[20] && s.written[21]);
}

Test(written, many_runs)
{
	look(true);
	for (size_t i = 0; i < NPAGES / 2; i += 2)
		*at(i) = 1;
	struct seen s = look(true);
	cr_expect_eq(s.npages, NPAGES / 4);
	cr_expect_eq(s.nruns, NPAGES / 4);
}

Test(written, ignored_pages_are_written)
{
	look(true);
	cr_assert_eq(os_written_ignore(base, base + NPAGES / 2 * page), 0);
	cr_expect_eq(look(false).npages, NPAGES / 2);
}

/* in_child - what fn says in a child of its own, where it may do what it likes to descriptors. */
static int in_child(int (*fn)(void))
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		os_written_stop();
		if (os_written_start(base, end()) != 0 ||
		    os_written_each(base, end(), true, NULL, NULL) != 0)
			_exit(100);
		_exit(fn());
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int close_all(void)
{
	struct seen s = { 0 };
	for (int fd = 0; fd < 1024; fd++)
		close(fd);
	if (os_written_each(base, end(), true, NULL, NULL) == 0)
		return 1;
	if (os_written_start(base, end()) != 0 || os_written_each(base, end(), true, NULL, NULL) != 0)
		return 2;
	*at(1) = 2;
	return os_written_each(base, end(), true, note, &s) == 0 && s.npages == 1 ? 0 : 3;
}

static int replace_all(void)
{
	int other = open("/dev/null", O_RDWR), n = 0, left = 0;
	for (int fd = 0; fd < 1024; fd++)
		if (fd != other && fcntl(fd, F_GETFD) >= 0)
			n += dup2(other, fd) == fd;
	if (os_written_each(base, end(), true, NULL, NULL) == 0)
		return 1;
	os_written_stop(); /* they are the program's now, and stay open */
	for (int fd = 0; fd < 1024; fd++)
		left += fd != other && fcntl(fd, F_GETFD) >= 0;
	return left == n ? 0 : 2;
}

static int write_some(void)
{
	struct seen s = { 0 };
	*at(5) = 1;
	return os_written_each(base, end(), false, note, &s) != 0 || s.npages != 1 || !s.written[5];
}

Test(written, a_closed_descriptor_is_an_error_and_no_silence)
{
	cr_expect_eq(in_child(close_all), 0);
}

Test(written, another_file_in_place_of_ours_is_an_error)
{
	cr_expect_eq(in_child(replace_all), 0);
}

Test(written, a_child_starts_anew)
{
	look(true);
	cr_expect_eq(in_child(write_some), 0);
	cr_expect_eq(look(true).npages, 0); /* the child's writes are not ours */
	*at(6) = 1;
	cr_expect_eq(look(true).npages, 1);
}

/* A higher one would make the kernel enlarge the table, for which a program of several threads waits. */
Test(written, descriptors_fit_a_new_processes_table)
{
	bool others[1024];
	os_written_stop();
	for (int fd = 64; fd < 1024; fd++)
		others[fd] = fcntl(fd, F_GETFD) != -1;
	cr_assert_eq(os_written_start(base, end()), 0);
	for (int fd = 64; fd < 1024; fd++)
		cr_expect(others[fd] || fcntl(fd, F_GETFD) == -1, "descriptor %d is ours", fd);
}

static void count(void *arg, uintptr_t lo, uintptr_t hi)
{
	*(size_t *)arg += (hi - lo) / page;
}

Test(written, huge_pages)
{
	size_t huge = os_huge_page_size(), n = 8 * huge;
	if (huge == 0)
		cr_skip("no huge pages");
	uintptr_t p = os_reserve(n, huge);
	cr_assert_eq(os_written_start(p, p + n), 0);
	cr_assert_eq(os_commit(p, n), 0);
	os_advise_huge(p, n, true);
	memset((void *)p, 1, n);
	cr_assert_eq(os_written_each(p, p + n, true, NULL, NULL), 0);
	((volatile char *)p)[3 * huge + 5 * page] = 1;
	size_t near = 0, below = 0;
	cr_assert_eq(os_written_each(p + 3 * huge, p + 3 * huge + 256 * page, false, count, &near), 0);
	cr_expect_geq(near, 1);
	cr_assert_eq(os_written_each(p, p + 3 * huge, false, count, &below), 0);
	cr_expect_eq(below, 0);
}
