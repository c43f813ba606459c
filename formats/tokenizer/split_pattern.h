/*
 * split_pattern.h: the patterns of Split pre-tokenizers, regular expressions or literal text.
 *
 * `tokenizers` runs its expressions in Oniguruma; here they are translated to PCRE2, and what would
 * not mean the same there is refused by name.
 */
#ifndef MQ_SPLIT_PATTERN_H
#define MQ_SPLIT_PATTERN_H

#include "moeq.h"
#include "pieces.h"

#include <stdint.h>

struct mq_pattern; /* immutable: threads may share it */

/* `path` is for messages. */
moeq_status mq_pattern_regex(const char *regex, size_t n, const char *path,
                             struct mq_pattern **pattern, moeq_error *err);
moeq_status mq_pattern_literal(const char *text, size_t n, struct mq_pattern **pattern,
                               moeq_error *err);

/* A single character of one of the ranges, which are in ascending order and outlive the pattern. */
struct mq_char_range {
    uint32_t first, last;
};
moeq_status mq_pattern_chars(const struct mq_char_range *ranges, size_t count,
                             struct mq_pattern **pattern, moeq_error *err);
void mq_pattern_free(struct mq_pattern *pattern); /* NULL is fine */

/* What matching needs besides: one per thread and job. */
struct mq_matcher;
moeq_status mq_matcher_create(struct mq_matcher **matcher, moeq_error *err);
void mq_matcher_free(struct mq_matcher *matcher); /* NULL is fine */

/* Grants the matching steps that n bytes of text may take, see split_pattern.c. */
void mq_matcher_grant(struct mq_matcher *matcher, size_t n);

/* Finds the leftmost match at or behind `from` in n bytes of UTF-8. A match may be empty. */
moeq_status mq_pattern_find(const struct mq_pattern *pattern, struct mq_matcher *matcher,
                            const char *text, size_t n, size_t from, struct mq_span *match,
                            bool *found, moeq_error *err);

/* split_translate.c: appends to `out` the PCRE2 expression (for UTF and UCP) that matches what the
 * Oniguruma expression matches. */
moeq_status mq_translate_regex(const char *regex, size_t n, const char *path, struct mq_buffer *out,
                               moeq_error *err);

#endif
