/* report_files.h: --report, --card and --charts: names checked before a long run, files written after it. */
#ifndef MQ_REPORT_FILES_H
#define MQ_REPORT_FILES_H

#include "command.h"

#include "claim.h"

/* Whether any is asked for. */
bool mq_report_files_wanted(const struct mq_options *options);

/* Writes them; says which on stdout, `before` before the first, unless --json or -q. input: what the document was
 * read from, for messages; NULL: it is fresh. claims: those of the command that writes them, or NULL. */
enum mq_exit mq_report_outputs(const struct mq_options *options, const cJSON *document,
                               const char *input, const char *before,
                               const struct mq_claims *claims);

/* The document of a sweep or a verification with its verdict in words; NULL after a message, and of NULL. */
cJSON *mq_put_verdict(cJSON *document);

/* Whether every FILE has an ending that is known, a folder that can be written to, and is none of
 * the inputs (NULL-terminated paths). False after a message on stderr. */
bool mq_report_files_ok(const char *command, const struct mq_options *options,
                        const char *const *inputs);

/* Fails if a file is there that has something in it and is no text that moeq wrote (pages, cards, gates and JUnit files
 * say who made them), or cannot be read. Such a one is not replaced. */
moeq_status mq_refuse_foreign(const char *path, moeq_error *err);
/* The same of a page or a card: tables and charts do not say who made them. */
moeq_status mq_refuse_foreign_page(const char *path, moeq_error *err);
#define MQ_FOREIGN "there is a file that moeq did not write: delete it, or choose another name"

/* Adds what is known of this run ("run": command, processor, threads) to the document and writes
 * the reports; the document is freed. Names them on stdout unless --json or -q. */
enum mq_exit mq_report_files_write(const struct mq_options *options, unsigned threads,
                                   cJSON *document, const struct mq_claims *claims);

#endif
