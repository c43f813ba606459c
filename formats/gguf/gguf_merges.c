/*
 * gguf_merges.c: the merges of a sentencepiece model, which has scores instead.
 *
 * Every way to divide a piece into two pieces of the vocabulary is a merge; merges are tried by the
 * score of the piece that they make, highest first. Among equal scores Transformers
 * (convert_slow_tokenizer.py) puts longer left pieces first, then longer right ones, in characters.
 * (Until 2024 it took the lower ids first: some published tokenizer.json have that order. It
 * matters for long runs of one character alone.)
 *
 * Of equal scores llama.cpp joins the pair that stands first in the text, which no order of merges
 * expresses: mq_gguf_scores_tie finds such files, which are read otherwise. Where that cannot be,
 * and all scores are the same (llama.cpp's converter writes -1000 for each when it has only a
 * tokenizer.json), ids say the order: a BPE model of sentencepiece numbers its pieces in the order
 * in which training merged them, and gives the i-th the score -i, so there the order of ids is the
 * order of merges; pieces of one character, which come last, are made by none. But runs of spaces
 * were not merged in training: the published vocabularies (Llama 2, Mistral) that have them number
 * them among the first and score them below all others.
 */
#include "gguf_tokenizer_int.h"

#include "error.h"
#include "utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* A piece is tried at each of its places, so its length counts twice. Sentencepiece's own limit
     * is 16 characters unless set otherwise; all of a large vocabulary's text is 3 MB. */
    MAX_PIECE_BYTES = 256,
    MAX_TEXT_BYTES = 16 << 20,
};

struct merge {
    double score;
    uint32_t piece, left, right;        /* ids */
    uint32_t left_length, right_length; /* in characters */
};

struct merges {
    struct merge *all;
    size_t count, capacity;
};

static int by_rank(const void *a, const void *b)
{
    const struct merge *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->left_length != y->left_length)
        return x->left_length > y->left_length ? -1 : 1;
    if (x->right_length != y->right_length)
        return x->right_length > y->right_length ? -1 : 1;
    if (x->piece != y->piece)
        return x->piece < y->piece ? -1 : 1;
    return (x->left > y->left) - (x->left < y->left);
}

static moeq_status index_pieces(const struct mq_gguf_vocab *v, struct mq_strmap *ids,
                                moeq_error *err)
{
    uint64_t bytes = 0;
    if (!mq_strmap_init(ids, v->count))
        return mq_fail_memory(err, "reading the tokenizer");
    for (uint32_t i = 0; i < v->count; i++) {
        const struct mq_gguf_piece *p = &v->pieces[i];
        if (!mq_gguf_takes_part(p))
            continue;
        bytes += p->size;
        if (p->size > MAX_PIECE_BYTES || bytes > MAX_TEXT_BYTES)
            return mq_fail_file(err, MOEQ_LIMIT, v->gguf->file.path,
                                "token %u of '" MQ_GGUF_KEY_TOKENS "': a piece of %u bytes, of %d "
                                "at most, or more than %d of text in all",
                                i, p->size, MAX_PIECE_BYTES, MAX_TEXT_BYTES);
        if (mq_strmap_add(ids, p->text, p->size, i) == MQ_STRMAP_NO_MEMORY)
            return mq_fail_memory(err, "reading the tokenizer");
    }
    return MOEQ_OK;
}

/* U+2581, more than once. */
static bool is_run_of_spaces(const struct mq_gguf_piece *piece)
{
    for (uint32_t i = 0; i < piece->size; i += 3)
        if (piece->size - i < 3 || memcmp(piece->text + i, MQ_VISIBLE_SPACE, 3) != 0)
            return false;
    return piece->size > 3;
}

static moeq_status score_of(const struct mq_gguf_vocab *v, uint32_t id, bool by_id, double *score,
                            moeq_error *err)
{
    *score = is_run_of_spaces(&v->pieces[id]) ? -1e9 : -(double)id;
    if (by_id)
        return MOEQ_OK;
    if (!mq_gguf_number(v->gguf, v->scores, id, score) || !isfinite(*score))
        return mq_gguf_fail_key(v->gguf, v->scores, MOEQ_MALFORMED, err,
                                "token %u: expected a finite score", id);
    return MOEQ_OK;
}

/* Whether the scores say nothing: there are none, or all are the same. */
static bool all_alike(const struct mq_gguf_vocab *v)
{
    double first = NAN, score;
    for (uint32_t i = 0; i < v->count && v->scores; i++) {
        if (!mq_gguf_takes_part(&v->pieces[i]) || !mq_gguf_number(v->gguf, v->scores, i, &score))
            continue;
        if (isnan(first))
            first = score;
        if (score != first)
            return false;
    }
    return true;
}

static uint32_t characters(const char *text, uint32_t n)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++)
        count += (text[i] & 0xc0) != 0x80;
    return count;
}

static int by_number(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Whether a piece's score may decide. Runs of spaces, which published vocabularies give one low
 * score, grow from the left by merges as well, and UNUSED pieces fill a vocabulary up. */
static bool score_decides(const struct mq_gguf_piece *p)
{
    return mq_gguf_takes_part(p) && p->type == MQ_GGUF_TOKEN_NORMAL &&
           characters(p->text, p->size) > 1 && !is_run_of_spaces(p) &&
           !(p->size == 6 && memcmp(p->text, "<0x", 3) == 0);
}

moeq_status mq_gguf_scores_tie(const struct mq_gguf_vocab *v, bool *tie, bool *all, moeq_error *err)
{
    double *scores = calloc(v->count, sizeof *scores);
    size_t count = 0;
    *tie = *all = false;
    if (!scores)
        return mq_fail_memory(err, "reading the tokenizer");
    for (uint32_t i = 0; i < v->count; i++) {
        double score = 0;
        if (!score_decides(&v->pieces[i]))
            continue;
        /* One that is no number is told where it is needed. */
        if (!v->scores || (mq_gguf_number(v->gguf, v->scores, i, &score) && isfinite(score)))
            scores[count++] = score;
    }
    qsort(scores, count, sizeof *scores, by_number);
    for (size_t i = 1; i < count; i++)
        *tie |= scores[i] == scores[i - 1];
    *all = count > 1 && scores[0] == scores[count - 1];
    free(scores);
    return MOEQ_OK;
}

static moeq_status divide(const struct mq_gguf_vocab *v, const struct mq_strmap *ids, uint32_t id,
                          double score, struct merges *merges, moeq_error *err)
{
    const struct mq_gguf_piece *p = &v->pieces[id];
    const uint32_t length = characters(p->text, p->size);
    uint32_t before = 0;
    for (uint32_t at = 1; at < p->size; at++) {
        uint32_t left, right;
        if ((p->text[at] & 0xc0) == 0x80) /* inside a character */
            continue;
        before++;
        if (!mq_strmap_get(ids, p->text, at, &left) ||
            !mq_strmap_get(ids, p->text + at, p->size - at, &right))
            continue;
        if (merges->count == merges->capacity) {
            const size_t capacity = merges->capacity ? 2 * merges->capacity : 1024;
            struct merge *all = realloc(merges->all, capacity * sizeof *all);
            if (!all)
                return mq_fail_memory(err, "reading the tokenizer");
            merges->all = all;
            merges->capacity = capacity;
        }
        merges->all[merges->count++] =
            (struct merge){score, id, left, right, before, length - before};
    }
    return MOEQ_OK;
}

moeq_status mq_gguf_put_merges(struct mq_buffer *json, const struct mq_gguf_vocab *v,
                               moeq_error *err)
{
    struct mq_strmap ids = {0};
    struct merges merges = {0};
    const bool by_id = all_alike(v);
    moeq_status status;
    MQ_TRY_OUT(index_pieces(v, &ids, err));
    for (uint32_t i = 0; i < v->count; i++) {
        double score;
        if (!mq_gguf_takes_part(&v->pieces[i]))
            continue;
        MQ_TRY_OUT(score_of(v, i, by_id, &score, err));
        MQ_TRY_OUT(divide(v, &ids, i, score, &merges, err));
    }
    if (merges.count)
        qsort(merges.all, merges.count, sizeof *merges.all, by_rank);
    for (size_t i = 0; i < merges.count; i++) {
        const struct mq_gguf_piece *l = &v->pieces[merges.all[i].left],
                                   *r = &v->pieces[merges.all[i].right];
        mq_buffer_puts(json, i ? ",\n[" : "\n[");
        mq_buffer_put_json(json, l->text, l->size);
        mq_buffer_puts(json, ", ");
        mq_buffer_put_json(json, r->text, r->size);
        mq_buffer_putc(json, ']');
    }
out:
    mq_strmap_free(&ids);
    free(merges.all);
    return status;
}
