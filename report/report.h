/* report.h: the result document of a sweep or a verification as a page for people. */
#ifndef MQ_REPORT_H
#define MQ_REPORT_H

#include "moeq.h"

#include "buffer.h"
#include "claim.h"

#include <cjson/cJSON.h>
#include <limits.h>
#include <stdbool.h>

enum mq_report_format { MQ_REPORT_HTML, MQ_REPORT_MARKDOWN, MQ_REPORT_CSV, MQ_REPORT_SVG };

/* What endings there are, for messages: "a name that ends in .html, .md, ...". */
#define MQ_REPORT_ENDINGS ".html, .md, .csv or .svg"

/* By the ending of the file's name: .html or .htm, .md or .markdown, .csv, .svg (the chart of memory against
 * fidelity). False for any other. */
bool mq_report_format_of(const char *path, enum mq_report_format *format);

/* The largest document that is read: a sweep of 16 levels over a model of 100 layers and 100 experts has
 * half a million values. */
enum { MQ_REPORT_MOST_BYTES = 64 << 20, MQ_REPORT_MOST_VALUES = 4000000 };

/* A document from its text; `name` is what errors call it. */
moeq_status mq_report_parse(const char *text, size_t n, const char *name, cJSON **document,
                            moeq_error *err);

/* Appends the report to out; equal documents give equal bytes. */
moeq_status mq_report_render(const cJSON *document, enum mq_report_format format,
                             struct mq_buffer *out, moeq_error *err);

/* Adds "verdict" to the document of a sweep or a verification: the `sentence` that the report says first, "Take q4_k:
 * ...", as plain text, and of a sweep the rows that it is about. */
moeq_status mq_report_put_verdict(cJSON *document, moeq_error *err);
/* That sentence; "" where there is none. */
const char *mq_report_verdict(const cJSON *document);

/* Of a card where its chart goes: the path with .svg for its ending. False: too long. */
bool mq_report_card_chart(const char *card, char chart[PATH_MAX]);
/* The document as a model card (report_card.h), and beside it, if there is something to draw, its chart. */
moeq_status mq_report_write_card(const cJSON *document, const char *path,
                                 const struct mq_claims *claims, moeq_error *err);

/* Every chart of the document as FOLDER/NAME.svg; the folder is made if it is not there. *count: how many. */
moeq_status mq_report_write_charts(const cJSON *document, const char *folder, size_t *count,
                                   moeq_error *err);

/* Renders and writes the file, which appears under its name only when complete. claims, here and above: what the caller
 * has claimed (claim.h), or NULL. */
moeq_status mq_report_write(const cJSON *document, const char *path, const struct mq_claims *claims,
                            moeq_error *err);

#endif
