/* output_path.h: an output must not replace what is being read. */
#ifndef MQ_OUTPUT_PATH_H
#define MQ_OUTPUT_PATH_H

#include "model_view.h"

/* Fails if `output` is one of the view's files (small ones like config.json included) or `other`
 * (NULL: none), under whatever name, exists and is no regular file, or cannot be written where it
 * is to stand: what would otherwise be found out after hours of evaluation. */
moeq_status mq_refuse_output(const struct mq_view *view, const struct mq_file *other,
                             const char *output, moeq_error *err);

/* The last of these alone. */
moeq_status mq_check_output_place(const char *output, moeq_error *err);

/* An output that exists is an error, unless it is to be replaced. */
moeq_status mq_refuse_existing(const char *output, bool replace, moeq_error *err);

/* Whether two paths lead to one file that exists. */
bool mq_same_file(const char *a, const char *b);
/* The same of files that may be yet to be made: "x.md" and "./x.md" too. */
bool mq_same_output(const char *a, const char *b);

#endif
