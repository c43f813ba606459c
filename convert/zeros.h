/*
 * zeros.h: zeros where weights should be: what is left of a download that was never finished, or of
 * a disk that gave back nothing. Zeros are finite numbers and, in a file that was made from such
 * weights, have the right checksum; but no trained matrix has a long run of them.
 *
 * A run of MQ_ZEROS_RUN bytes is a problem, also where it goes on into the next tensor of the file,
 * and so is a matrix or norm of nothing else, however small. A few rows at the end of an embedding
 * table or head are not: vocabularies are padded, to a multiple that models have of at most 512 or
 * so (gpt-oss, the most padded: 0.5 % of 201,088). So MQ_ZEROS_PADDING rows, but no more than an
 * eighth of a small table, or one in a hundred, whichever is more; and as many more as stand behind
 * the tokenizer's last token.
 */
#ifndef MQ_ZEROS_H
#define MQ_ZEROS_H

#include "model_view.h"

enum { MQ_ZEROS_RUN = 1 << 16, MQ_ZEROS_PADDING = 512 };

/* The zero bytes of a piece of a tensor; of its runs inside only one of MQ_ZEROS_RUN bytes or more
 * is sure to be known. A struct of zeros is the empty piece. */
struct mq_zero_span {
    uint64_t bytes;
    uint64_t lead, trail;    /* zero bytes it begins and ends with */
    uint64_t longest, place; /* the longest run that is known, and where it begins */
    bool has_weight; /* one that is not zero; of a scan: a byte. Callers that decode know better */
};

/* Reads only every MQ_ZEROS_RUN-th byte or so where there are no zeros. */
struct mq_zero_span mq_zeros_scan(const void *bytes, uint64_t n);

/* The span of a piece and the one that follows it, in *sum. */
void mq_zeros_join(struct mq_zero_span *sum, const struct mq_zero_span *next);

/* One tensor's zeros. */
struct mq_zero_place {
    const char *name;
    const char *path; /* the file */
    const char *into; /* the tensor that the run goes on into; NULL: none */
    enum mq_role role;
    int32_t layer, expert;
    uint64_t offset, bytes; /* in the file */
    uint64_t rows;          /* that the run covers whole */
    bool whole;             /* the tensor is nothing else */
};

enum { MQ_ZEROS_LISTED = 32 }; /* more are counted, not listed */

struct mq_zeros {
    struct mq_zero_place listed[MQ_ZEROS_LISTED];
    uint64_t count;                  /* problems */
    struct mq_zero_place padding[2]; /* embedding table and head; bytes 0: none */
    uint64_t tokens; /* the caller's: the ids of the tokenizer's tokens are below; 0: not known */
    struct mq_zero_place last; /* that was judged, rows and bytes of the zeros it ends with */
};

/*
 * Judges a matrix whose bytes begin at place->offset, place->bytes of them in `rows` rows, by its
 * span; what there is to say is added to *zeros. Runs across tensors are seen if the tensors of a
 * file come in the order of their offsets. A vector has one row.
 */
void mq_zeros_judge(struct mq_zeros *zeros, const struct mq_zero_place *place, uint64_t rows,
                    const struct mq_zero_span *span);

/* Whether the judgement of this tensor depends on zeros->tokens. */
bool mq_zeros_want_tokens(enum mq_role role, uint64_t rows, uint64_t bytes,
                          const struct mq_zero_span *span);

/* zeros->tokens of a model; 0 if it has no tokenizer that can be read. */
uint64_t mq_zeros_tokens(const struct mq_view *view);

/* MOEQ_OK without a problem; otherwise MOEQ_CORRUPT and the first: file, tensor, place, layer,
 * expert, and how much of it. */
moeq_status mq_zeros_status(const struct mq_zeros *zeros, moeq_error *err);

/* "all of it (12288 bytes) is zero" or "93184 bytes in a row are zero". */
void mq_zeros_describe(const struct mq_zero_place *place, char *text, size_t room);

/* mq_role_place of it. */
void mq_zeros_where(const struct mq_zero_place *place, char *text, size_t room);

#endif
