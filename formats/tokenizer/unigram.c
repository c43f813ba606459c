/*
 * unigram.c: the path of pieces with the greatest sum of scores (Viterbi).
 *
 * From each character on, every piece that stands there is a way to where it ends; a character
 * that is no piece can be the unknown one, for ten less than the least score. Of equal sums the
 * first found stays, that of the piece that begins first. A text of n bytes takes
 * O(n * longest piece).
 *
 * The sums are sentencepiece's (unigram_model.cc, EncodeOptimized; of 0.2.3, as found by comparing
 * ids), which are float, or those of `tokenizers` (unigram/model.rs), which are double: in a long
 * text the rounding decides.
 */
#include "scored.h"

#include "utf8.h"

#include <stdlib.h>

#define UNKNOWN_PENALTY 10.0f
#define USER_DEFINED_BONUS 0.1f /* for each byte */

/* The best way to a place. Afterwards, at the start of a piece: its end and its id. */
struct mq_best {
    double score;
    int32_t id;
    uint32_t other; /* where the piece begins; NOWHERE: no way leads here yet */
};
#define NOWHERE UINT32_MAX

static bool reserve(struct mq_unigram *u, size_t n)
{
    if (n <= u->capacity)
        return true;
    size_t capacity = u->capacity ? u->capacity : 1024;
    while (capacity < n)
        capacity *= 2;
    struct mq_best *best =
        capacity <= SIZE_MAX / sizeof *best ? realloc(u->best, capacity * sizeof *best) : NULL;
    if (!best)
        return false;
    u->best = best;
    u->capacity = capacity;
    return true;
}

static void offer(struct mq_best *best, double score, int32_t id, size_t start, bool single)
{
    if (single)
        score = (double)(float)score;
    if (best->other == NOWHERE || score > best->score)
        *best = (struct mq_best){score, id, (uint32_t)start};
}

/* User-defined symbols have a bonus, so that they are always taken. */
static double score_of(const struct mq_scored *s, int32_t id, size_t length)
{
    return mq_piece_type(s, id) == MQ_PIECE_USER_DEFINED
               ? (double)((float)length * ((float)s->max_score + USER_DEFINED_BONUS))
               : s->scores[id];
}

/* sentencepiece keeps its sums small, so that floats stay exact enough: past this one they are
 * counted from here on. */
#define RESTART_SCORE (-100000.0)

static void restart(const struct mq_scored *s, struct mq_best *best, size_t start, size_t n)
{
    const float here = (float)best[start].score;
    for (size_t i = start; i <= n && i - start <= s->longest; i++)
        if (best[i].other != NOWHERE)
            best[i].score = (double)((float)best[i].score - here);
}

/* The ways on from one place. */
static enum mq_unigram_result extend(const struct mq_tokenizer *t, struct mq_unigram *u,
                                     const char *text, size_t n, size_t start, size_t *length)
{
    const struct mq_scored *s = t->scored;
    const bool single = s->types != NULL;
    if (single && u->best[start].score < RESTART_SCORE)
        restart(s, u->best, start, n);
    const double here = u->best[start].score;
    uint32_t node = 0, code;
    int32_t id;
    bool is_known = false;
    *length = mq_utf8_next(text + start, &code);
    for (size_t end = start; end < n;) {
        if (!mq_piece_trie_step(&s->all, &node, (unsigned char)text[end], &id))
            break;
        end++;
        if (id < 0 || mq_piece_type(s, id) == MQ_PIECE_UNUSED)
            continue;
        offer(&u->best[end], score_of(s, id, end - start) + here, id, start, single);
        is_known |= end - start == *length;
    }
    if (is_known)
        return MQ_UNIGRAM_OK;
    const double unknown = single ? (double)((float)s->min_score - UNKNOWN_PENALTY)
                                  : s->min_score - (double)UNKNOWN_PENALTY;
    const double score = single ? (double)((float)unknown + (float)here) : unknown + here;
    struct mq_best *best = &u->best[start + *length];
    if (t->unk_id == MQ_NO_ID && (best->other == NOWHERE || score > best->score))
        return MQ_UNIGRAM_NO_UNKNOWN;
    offer(best, score, t->unk_id, start, single);
    return MQ_UNIGRAM_OK;
}

/* Turns the links of the best path around, so that each place says where its piece ends. */
static void turn_around(struct mq_best *best, size_t n)
{
    uint32_t end = (uint32_t)n, start = best[n].other;
    int32_t id = best[n].id;
    while (end > 0) {
        const struct mq_best before = best[start];
        best[start].other = end;
        best[start].id = id;
        end = start;
        start = before.other;
        id = before.id;
    }
}

enum mq_unigram_result mq_unigram_segment(const struct mq_tokenizer *t, struct mq_unigram *u,
                                          const char *text, size_t n, struct mq_piece_sink *sink)
{
    if (!n)
        return MQ_UNIGRAM_OK;
    if (n >= NOWHERE || !reserve(u, n + 1))
        return MQ_UNIGRAM_NO_MEMORY;
    for (size_t i = 1; i <= n; i++)
        u->best[i].other = NOWHERE;
    u->best[0] = (struct mq_best){u->score, MQ_NO_ID, 0};
    for (size_t start = 0, length; start < n; start += length) {
        const enum mq_unigram_result result = extend(t, u, text, n, start, &length);
        if (result != MQ_UNIGRAM_OK)
            return result;
    }
    u->score = u->best[n].score;
    turn_around(u->best, n);
    for (size_t at = 0; at < n; at = u->best[at].other)
        if (!sink->put(sink, text + at, u->best[at].other - at, u->best[at].id))
            return MQ_UNIGRAM_NO_MEMORY;
    return MQ_UNIGRAM_OK;
}
