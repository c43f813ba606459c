/* report_files.h: --report FILE: names checked before a long run, files written after it. */
#ifndef MQ_REPORT_FILES_H
#define MQ_REPORT_FILES_H

#include "command.h"

/* Whether every FILE has an ending that is known, a folder that can be written to, and is none of
 * the inputs (NULL-terminated paths). False after a message on stderr. */
bool mq_report_files_ok(const char *command, const struct mq_options *options,
                        const char *const *inputs);

/* Adds what is known of this run ("run": command, processor, threads) to the document and writes
 * the reports; the document is freed. Names them on stdout unless --json or -q. */
enum mq_exit mq_report_files_write(const struct mq_options *options, unsigned threads,
                                   cJSON *document);

#endif
