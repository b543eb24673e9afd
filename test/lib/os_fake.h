/* os_fake.h - calls that are refused by script, through the hook of os.h.
 * WHAT   counts every such call by name, and refuses those that a rule names.
 * WHO    unit tests and the fault runs ("refuse the 1st, the 2nd, … until a run passes").
 * STATE  one script per process; counts are exact with any number of threads. Change the script
 *        only while no other thread makes memory calls.
 * UNITS  calls. Names are those of os_set_fault_hook. */
#ifndef TEST_LIB_OS_FAKE_H
#define TEST_LIB_OS_FAKE_H
#include <stdint.h>

#define OS_FAKE_FOREVER UINT64_MAX

/* os_fake_start - counts from 0, with no rules. os_fake_stop removes the hook, keeps the counts. */
void os_fake_start(void);
void os_fake_stop(void);

/* os_fake_fail - refuses, with errno `error`, `count` calls from the nth on (1: the next one), of
 * this name, or with NULL of all that can fail. Up to 8 rules; the first that matches decides. */
void os_fake_fail(const char *call, uint64_t nth, uint64_t count, int error);

/* os_fake_calls, os_fake_refused - calls made, and refused, since the start; NULL: all. */
uint64_t os_fake_calls(const char *call);
uint64_t os_fake_refused(const char *call);

#endif
