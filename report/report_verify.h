/* report_verify.h: what a report says of files: which they are, the gate, and each against the
 * first. Words are plain UTF-8, to be escaped by the caller. */
#ifndef MQ_REPORT_VERIFY_H
#define MQ_REPORT_VERIFY_H

#include "report_doc.h"

/* "Against the original: old.moeq and new.moeq" */
void mq_report_verify_title(const struct mq_page *report, struct mq_buffer *out);
/* "new.moeq fails the gate: 3 of 11 limits broken."; without a gate "new.moeq: excellent: ..."; of
 * several files, which one is closer. */
void mq_report_verify_headline(const struct mq_page *report, struct mq_buffer *out);
/* "a recording of the original", "the original itself" */
const char *mq_report_against(const struct mq_page *report);
void mq_report_verify_facts(const struct mq_page *report, struct mq_buffer *out,
                            void (*put)(struct mq_buffer *out, const char *name, const char *text));
/* "File A", its path, and so on. */
void mq_report_file_facts(const struct mq_page *report, struct mq_buffer *out,
                          void (*put)(struct mq_buffer *out, const char *name, const char *text));

/* ---- the gate ---- */

/* NULL: no gate was judged, or it has no limits. */
const cJSON *mq_report_limits(const struct mq_page *report);

struct mq_report_limit {
    struct mq_phrase metric; /* "kld.mean", "A: kld.mean" */
    bool is_max, kept;
    double bound;
    struct mq_words limit; /* "max 0.001" */
    struct mq_estimate found;
};
struct mq_report_limit mq_report_limit(const cJSON *limit);
size_t mq_report_broken(const struct mq_page *report); /* limits */

/* ---- B minus A ---- */

/* One arm minus another. */
struct mq_report_pair {
    const char *model, *minus; /* their names */
    const cJSON *figures;      /* the first; the others are its siblings */
    const cJSON *bootstrap;    /* how the intervals came about; may be NULL */
    struct mq_words title;     /* "B minus A" */
};
/* The pair number i, from 0; false if there are not so many. */
bool mq_report_pair(const struct mq_page *report, size_t i, struct mq_report_pair *pair);

struct mq_report_difference {
    const char *name;          /* "KLD mean" */
    struct mq_words mean, se;  /* with unit and sign: "+0.0123 nats", "−0.41 pp" */
    struct mq_words low, high; /* of the interval */
    struct mq_words reads;     /* "A is closer" */
};
struct mq_report_difference mq_report_difference(const struct mq_report_pair *pair,
                                                 const cJSON *figure);
/* "95 % intervals by block bootstrap over 37 windows, ..." */
void mq_report_bootstrap(const struct mq_report_pair *pair, struct mq_buffer *out);

#endif
