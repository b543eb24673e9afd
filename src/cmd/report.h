/* report.h - a recording as a page: one file of HTML that needs nothing else. */
#ifndef MGC_CMD_REPORT_H
#define MGC_CMD_REPORT_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdio.h>

/* report_possible - 0, or an exit status after a message: this command was built without Chart.js. */
int report_possible(void);
/* report_write - the page of the recording, read from its beginning, to the file `path`. 0, or an exit status
 * after a message, which calls the recording `source`; where damaged lines were left out there is a page. */
int report_write(FILE *recording, const char *source, const char *path);

#endif
