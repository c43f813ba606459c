/*
 * encode.c: text to ids, from one component to the next:
 *
 *   text -> added tokens found in it, and the segments between them
 *        -> each segment normalized
 *        -> the added tokens that are found only now, and what is between
 *        -> split into words
 *        -> the model's ids
 *   and the template's ids around all of it.
 */
#include "tokenizer_int.h"

#include "error.h"

#include <stdlib.h>

/* What one call needs besides the tokenizer, which it must not change. The buffers are reused from
 * segment to segment. */
struct encoder {
    const struct mq_tokenizer *tokenizer;
    struct mq_matcher *matcher;
    struct mq_model_scratch *model;
    struct mq_buffer segment, scratch;
    struct mq_pieces pieces, next_pieces;
    struct mq_ids *ids;
    moeq_error *err;
};

static moeq_status push_all(struct encoder *e, const struct mq_ids *ids)
{
    for (size_t i = 0; i < ids->size; i++)
        if (!mq_ids_push(e->ids, ids->data[i]))
            return mq_fail_memory(e->err, "encoding text");
    return MOEQ_OK;
}

/* Normalized text without added tokens. Without a pre-tokenizer all of it is one word, which is how
 * SentencePiece-like tokenizers work. */
static moeq_status encode_words(struct encoder *e, const char *text, size_t n, size_t origin)
{
    const struct mq_tokenizer *t = e->tokenizer;
    if (!t->pretokenizer_count)
        return mq_model_encode(t, e->model, text, n, e->ids, e->err);
    mq_pieces_clear(&e->pieces);
    mq_buffer_append(&e->pieces.text, text, n);
    mq_pieces_end(&e->pieces, 0);
    if (!mq_pieces_ok(&e->pieces))
        return mq_fail_memory(e->err, "encoding text");
    MQ_TRY(mq_pretokenize(t, e->matcher, origin, &e->pieces, &e->next_pieces, e->err));
    for (size_t i = 0; i < e->pieces.count; i++) {
        const struct mq_span span = e->pieces.spans[i];
        MQ_TRY(mq_model_encode(t, e->model, e->pieces.text.data + span.start, span.end - span.start,
                               e->ids, e->err));
    }
    return MOEQ_OK;
}

/* Normalized text: the added tokens that are found only now, and what is between. */
static moeq_status encode_normalized(struct encoder *e, size_t origin, struct mq_added_scan *scan)
{
    const char *s = e->segment.data;
    const size_t size = e->segment.size;
    for (;;) {
        const size_t done = scan->done;
        struct mq_added_match match = {size, size, 0};
        const bool found =
            mq_added_tokens_next(e->tokenizer, &e->tokenizer->normalized, s, size, scan, &match);
        if (done < match.start)
            MQ_TRY(
                encode_words(e, s + done, match.start - done, done < origin ? origin - done : 0));
        if (!found)
            return MOEQ_OK;
        if (!mq_ids_push(e->ids, (int32_t)match.id))
            return mq_fail_memory(e->err, "encoding text");
    }
}

/* A segment of the input as it is. at_start: it starts at offset 0 of the input. */
static moeq_status encode_segment(struct encoder *e, const char *text, size_t n, bool at_start)
{
    mq_buffer_clear(&e->segment);
    mq_buffer_append(&e->segment, text, n);
    if (!mq_buffer_ok(&e->segment))
        return mq_fail_memory(e->err, "encoding text");
    size_t origin;
    MQ_TRY(mq_normalize(e->tokenizer, e->matcher, at_start, &e->segment, &e->scratch, &origin,
                        e->err));
    struct mq_added_scan scan = {0};
    const moeq_status status = encode_normalized(e, origin, &scan);
    free(scan.lengths);
    return status;
}

static moeq_status encode_scanned(struct encoder *e, const char *text, size_t n,
                                  struct mq_added_scan *scan)
{
    for (;;) {
        const size_t done = scan->done;
        struct mq_added_match match = {n, n, 0};
        const bool found =
            mq_added_tokens_next(e->tokenizer, &e->tokenizer->raw, text, n, scan, &match);
        if (done < match.start)
            MQ_TRY(encode_segment(e, text + done, match.start - done, done == 0));
        if (!found)
            return MOEQ_OK;
        if (!mq_ids_push(e->ids, (int32_t)match.id))
            return mq_fail_memory(e->err, "encoding text");
    }
}

static moeq_status encode_text(struct encoder *e, const char *text, size_t n)
{
    struct mq_added_scan scan = {0};
    const moeq_status status = encode_scanned(e, text, n, &scan);
    free(scan.lengths);
    return status;
}

static moeq_status check_text(const char *text, size_t n, moeq_error *err)
{
    size_t bad;
    if (!mq_utf8_valid(text, n, &bad))
        return mq_fail(err, MOEQ_MALFORMED, "text at byte %zu: invalid UTF-8", bad);
    /* Symbols are counted in int32_t. */
    if (n > INT32_MAX / 4)
        return mq_fail(err, MOEQ_LIMIT, "text of %zu bytes: at most %d can be encoded at once", n,
                       INT32_MAX / 4);
    return MOEQ_OK;
}

static moeq_status encoder_open(struct encoder *e)
{
    e->model = mq_model_scratch_create(e->tokenizer);
    if (!e->model)
        return mq_fail_memory(e->err, "encoding text");
    return mq_matcher_create(&e->matcher, e->err);
}

static void encoder_close(struct encoder *e)
{
    mq_matcher_free(e->matcher);
    mq_model_scratch_free(e->model);
    mq_buffer_free(&e->segment);
    mq_buffer_free(&e->scratch);
    mq_pieces_free(&e->pieces);
    mq_pieces_free(&e->next_pieces);
}

moeq_status mq_tokenizer_encode(const struct mq_tokenizer *tokenizer, const char *text, size_t n,
                                bool add_special_tokens, struct mq_ids *ids, moeq_error *err)
{
    struct encoder e = {.tokenizer = tokenizer, .ids = ids, .err = err};
    const size_t ids_before = ids->size;
    moeq_status status;
    MQ_TRY(check_text(text, n, err));
    MQ_TRY_OUT(encoder_open(&e));
    if (add_special_tokens)
        MQ_TRY_OUT(push_all(&e, &tokenizer->prefix));
    MQ_TRY_OUT(encode_text(&e, text, n));
    if (add_special_tokens)
        MQ_TRY_OUT(push_all(&e, &tokenizer->suffix));
out:
    if (status != MOEQ_OK)
        ids->size = ids_before;
    encoder_close(&e);
    return status;
}

moeq_status mq_tokenizer_encode_each(const struct mq_tokenizer *tokenizer, const char *text,
                                     const size_t *ends, size_t count, struct mq_ids *ids,
                                     size_t *id_ends, moeq_error *err)
{
    struct encoder e = {.tokenizer = tokenizer, .ids = ids, .err = err};
    moeq_status status;
    size_t start = 0;
    ids->size = 0;
    MQ_TRY_OUT(encoder_open(&e));
    for (size_t i = 0; i < count; i++) {
        MQ_TRY_OUT(check_text(text + start, ends[i] - start, err));
        MQ_TRY_OUT(encode_text(&e, text + start, ends[i] - start));
        id_ends[i] = ids->size;
        start = ends[i];
    }
out:
    encoder_close(&e);
    return status;
}

moeq_status mq_tokenizer_encode_file(const struct mq_tokenizer *tokenizer, const char *path,
                                     const char *text, size_t n, bool add_special_tokens,
                                     struct mq_ids *ids, moeq_error *err)
{
    moeq_error error = {0};
    const moeq_status status =
        mq_tokenizer_encode(tokenizer, text, n, add_special_tokens, ids, &error);
    return status == MOEQ_OK ? MOEQ_OK : mq_fail_file(err, status, path, "%s", error.message);
}
