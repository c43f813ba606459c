/*
 * token_profile.h: how often a text has which tokens, kept with what was calibrated by it: whether another text is of its kind.
 *
 * A JSON array of the texts, in the metadata of a moeq file or a GGUF file (MQ_META_CALIBRATED_ON) and, field by field, of a
 * calibration:
 *
 *     [{"name": "code.txt", "tokens": 80384, "common": 0.4837, "profile": "0G3..."}, ...]
 *
 * profile: of each token of the vocabulary a character of A to Z, a to z, 0 to 9, + and /, the number k from 0 to 63: the token was
 * not there, or about 2^((k - 1) / 3) times. common: of a piece of 512 tokens and all the text's others, the sum over the vocabulary of the
 * smaller of both's shares, its mean over pieces: what a further piece of the same text would have in common with them.
 */
#ifndef MQ_TOKEN_PROFILE_H
#define MQ_TOKEN_PROFILE_H

#include "buffer.h"
#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MQ_META_CALIBRATED_ON "moeq.calibrated_on"

/* Bytes of a list that are read, and tokens of a piece. */
enum { MQ_PROFILE_BYTES_MAX = 1 << 26, MQ_PROFILE_PIECE = 512 };

/* Of one text's tokens; `profile` is appended to. Ids outside the vocabulary are left out. common: 0 of fewer than two pieces. */
moeq_status mq_profile_count(const int32_t *ids, size_t count, uint32_t vocab, double *common,
                             struct mq_buffer *profile, moeq_error *err);

/* Appends a text to what is empty, or a list of others without its end; mq_profile_end ends it. */
void mq_profile_put(struct mq_buffer *list, const char *name, uint64_t tokens, double common,
                    const char *profile);
void mq_profile_end(struct mq_buffer *list);
/* Counts, and appends a text that is called as its file is; "-" is standard input. */
moeq_status mq_profile_add(struct mq_buffer *list, const char *path, const int32_t *ids,
                           size_t count, uint32_t vocab, moeq_error *err);

/* What a text's pieces have in common with the one of a list's texts that it is nearest to; all 0 where either is too short to say. */
struct mq_profile_distance {
    double common, own; /* the mean over its pieces, and what that text's own pieces have */
    bool far;
};

/*
 * Compares, and appends a sentence on it to `note` where they are far.
 * far: common < own - (0.1 + 0.1 sqrt(2048 / the calibration's tokens)): few tokens know little of their own kind. Measured with 2,048 tokens
 * of vocabulary, `own - common` of 2,048, 8,192 and 32,768 tokens of articles: to other articles .10 .08 .03, to source code .24 .23 .20,
 * to wrapped lines of several registers .17 .16 .12; of source code: to other source code .16 .11 .03, to articles .27 .24 .14;
 * of both, as one text: to articles .02 .04 .00, to code .05 .04 .02.
 */
moeq_status mq_profile_compare(const char *list, const char *path, const int32_t *ids, size_t count,
                               uint32_t vocab, struct mq_profile_distance *distance,
                               struct mq_buffer *note, moeq_error *err);

#endif
