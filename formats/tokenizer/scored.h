/*
 * scored.h: models whose pieces have scores: Unigram, and both kinds of SentencePiece models.
 *
 * "Unigram" is the model of the `tokenizers` library, "SentencePiece" what moeq makes of a
 * tokenizer.model (FORMAT.md): two re-implementations of one idea, which differ in how unknown
 * characters are put together and in the precision of scores.
 */
#ifndef MQ_SCORED_H
#define MQ_SCORED_H

#include "tokenizer_int.h"

#include "piece_trie.h"

/* The types of SentencePiece models, numbered as in their files. */
enum mq_piece_type {
    MQ_PIECE_NORMAL = 1,
    MQ_PIECE_UNKNOWN,
    MQ_PIECE_CONTROL,
    MQ_PIECE_USER_DEFINED,
    MQ_PIECE_UNUSED,
    MQ_PIECE_BYTE,
};

struct mq_scored {
    uint32_t count; /* of the model's pieces: ids below it */
    double *scores; /* by id */
    uint8_t *types; /* by id; enum mq_piece_type. NULL in "Unigram" */
    double min_score, max_score;
    size_t longest;            /* bytes of the longest piece that text may become */
    struct mq_piece_trie all;  /* those pieces, of Unigram algorithms */
    struct mq_piece_trie user; /* SentencePiece's user-defined symbols: never cut, never merged */
    bool can_cut;              /* text may be cut before U+2581 that follows another character */
    bool has_unused;           /* some piece of several characters is UNUSED */
};

/* scored.c: reads the model whose `type` this is. */
moeq_status mq_scored_load(struct mq_load *load, const cJSON *model, enum mq_model_kind kind);
void mq_scored_free(struct mq_scored *scored); /* NULL is fine */

static inline enum mq_piece_type mq_piece_type(const struct mq_scored *s, int32_t id)
{
    return s->types ? (enum mq_piece_type)s->types[id] : MQ_PIECE_NORMAL;
}

/* What one thread and job needs besides. */
struct mq_scored_scratch;
struct mq_scored_scratch *mq_scored_scratch_create(void);
void mq_scored_scratch_free(struct mq_scored_scratch *scratch); /* NULL is fine */

/* Appends the ids of one word. */
moeq_status mq_scored_encode(const struct mq_tokenizer *tokenizer,
                             struct mq_scored_scratch *scratch, const char *word, size_t n,
                             struct mq_ids *ids, moeq_error *err);

/* ---- between scored_encode.c and the two algorithms ---- */

/* Receives the pieces of a segment in their order: a text and its id. False when out of memory. */
struct mq_piece_sink {
    bool (*put)(struct mq_piece_sink *sink, const char *text, size_t n, int32_t id);
};

/* spm_bpe.c: merges the segment's characters. False when out of memory. */
struct mq_spm_bpe;
struct mq_spm_bpe *mq_spm_bpe_create(void);
void mq_spm_bpe_free(struct mq_spm_bpe *bpe); /* NULL is fine */
bool mq_spm_bpe_segment(const struct mq_tokenizer *tokenizer, struct mq_spm_bpe *bpe,
                        const char *text, size_t n, struct mq_piece_sink *sink);

/* unigram.c: the best path through the segment. */
struct mq_unigram {
    struct mq_best *best;
    size_t capacity;
    double score; /* of all segments of the text before */
};
enum mq_unigram_result { MQ_UNIGRAM_OK, MQ_UNIGRAM_NO_MEMORY, MQ_UNIGRAM_NO_UNKNOWN };
enum mq_unigram_result mq_unigram_segment(const struct mq_tokenizer *tokenizer,
                                          struct mq_unigram *unigram, const char *text, size_t n,
                                          struct mq_piece_sink *sink);

#endif
