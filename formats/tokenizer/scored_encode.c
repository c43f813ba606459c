/*
 * scored_encode.c: words to ids by models whose pieces have scores: cutting, and what becomes of
 * characters that are no piece.
 *
 * A SentencePiece model sees a whole text as one word. It is worked through in segments where that
 * changes nothing: where no piece has U+2581 behind another character, every path and every merge
 * stops before such a U+2581. (But the parts of UNUSED pieces are remembered through the text.)
 */
#include "scored.h"

#include "error.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

struct mq_scored_scratch {
    struct mq_spm_bpe *bpe;
    struct mq_unigram unigram;
};

struct mq_scored_scratch *mq_scored_scratch_create(void)
{
    struct mq_scored_scratch *s = calloc(1, sizeof *s);
    if (s && !(s->bpe = mq_spm_bpe_create())) {
        free(s);
        return NULL;
    }
    return s;
}

void mq_scored_scratch_free(struct mq_scored_scratch *scratch)
{
    if (!scratch)
        return;
    mq_spm_bpe_free(scratch->bpe);
    free(scratch->unigram.best);
    free(scratch);
}

/* Pieces to ids. A run of unknown pieces waits until something else follows. */
struct writer {
    struct mq_piece_sink sink; /* first: the sink is the writer */
    const struct mq_tokenizer *tokenizer;
    struct mq_ids *ids;
    bool after_unknown;
    const char *run; /* "Unigram": the text of the run; NULL if there is none */
    size_t run_size;
};

static bool put_bytes(struct writer *w, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!mq_ids_push(w->ids, w->tokenizer->byte_id[(unsigned char)text[i]]))
            return false;
    return true;
}

static bool has_bytes(const struct mq_tokenizer *t, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (t->byte_id[(unsigned char)text[i]] == MQ_NO_ID)
            return false;
    return t->byte_fallback;
}

/* sentencepiece: the bytes of an unknown piece, or one unknown id for the run. */
static bool put_sentencepiece(struct mq_piece_sink *sink, const char *text, size_t n, int32_t id)
{
    struct writer *w = (struct writer *)sink;
    const bool unknown = id == w->tokenizer->unk_id, repeated = unknown && w->after_unknown;
    w->after_unknown = unknown;
    if (unknown && has_bytes(w->tokenizer, text, n))
        return put_bytes(w, text, n);
    return repeated || mq_ids_push(w->ids, id);
}

/* `tokenizers`: what a run of unknown pieces becomes as a whole. */
static bool end_run(struct writer *w)
{
    uint32_t id;
    if (!w->run)
        return true;
    const char *text = w->run;
    w->run = NULL;
    if (mq_strmap_get(&w->tokenizer->vocab, text, w->run_size, &id))
        return mq_ids_push(w->ids, (int32_t)id);
    if (has_bytes(w->tokenizer, text, w->run_size))
        return put_bytes(w, text, w->run_size);
    return mq_ids_push(w->ids, w->tokenizer->unk_id);
}

static bool put_unigram(struct mq_piece_sink *sink, const char *text, size_t n, int32_t id)
{
    struct writer *w = (struct writer *)sink;
    if (id != w->tokenizer->unk_id)
        return end_run(w) && mq_ids_push(w->ids, id);
    if (!w->run)
        w->run_size = 0;
    w->run = w->run ? w->run : text;
    w->run_size += n;
    return true;
}

/* The end of the segment that begins the text: the next U+2581 behind another character. */
static size_t segment_size(const char *text, size_t n)
{
    for (size_t at = 0; at < n;) {
        const char *found = memmem(text + at, n - at, MQ_VISIBLE_SPACE, 3);
        if (!found)
            return n;
        const size_t place = (size_t)(found - text);
        if (place > 0 && (place < 3 || memcmp(found - 3, MQ_VISIBLE_SPACE, 3) != 0))
            return place;
        at = place + 3;
    }
    return n;
}

moeq_status mq_scored_encode(const struct mq_tokenizer *t, struct mq_scored_scratch *scratch,
                             const char *word, size_t n, struct mq_ids *ids, moeq_error *err)
{
    const bool bpe = t->model_kind == MQ_MODEL_SPM_BPE;
    const bool cut = t->scored->can_cut && !(bpe && t->scored->has_unused);
    struct writer w = {
        .sink.put = t->model_kind == MQ_MODEL_UNIGRAM ? put_unigram : put_sentencepiece,
        .tokenizer = t,
        .ids = ids,
    };
    scratch->unigram.score = 0;
    for (size_t size; n; word += size, n -= size) {
        enum mq_unigram_result result = MQ_UNIGRAM_OK;
        size = cut ? segment_size(word, n) : n;
        if (!bpe)
            result = mq_unigram_segment(t, &scratch->unigram, word, size, &w.sink);
        else if (!mq_spm_bpe_segment(t, scratch->bpe, word, size, &w.sink))
            result = MQ_UNIGRAM_NO_MEMORY;
        if (result == MQ_UNIGRAM_NO_UNKNOWN)
            return mq_fail(err, MOEQ_MALFORMED,
                           "a character is no piece, and the tokenizer has no unknown token");
        if (result != MQ_UNIGRAM_OK)
            return mq_fail_memory(err, "encoding text");
    }
    return end_run(&w) ? MOEQ_OK : mq_fail_memory(err, "encoding text");
}
