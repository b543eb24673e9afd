/* cmd.h - what the parts of the command share: exit statuses, messages. */
#ifndef MGC_CMD_CMD_H
#define MGC_CMD_CMD_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
/* As env(1) and nohup(1): everything below 125 is the program's own status. */
enum { STATUS_FAILED = 125, STATUS_CANNOT_RUN = 126, STATUS_NOT_FOUND = 127 };

/* complain - "mallocgc: …\n" on standard error. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* usage_error - the same, then where to find help; returns STATUS_FAILED. */
int usage_error(const char *subcommand, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* finish_output - flushes standard output; STATUS_FAILED with a message if a write failed. */
int finish_output(void);

#endif
