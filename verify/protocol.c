/* protocol.c: windows of tokens. */
#include "protocol.h"

#include "checked.h"
#include "error.h"
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const struct {
    const char *name;
    size_t context;
    bool bos;
} protocols[] = {
#define ROW(id, name, context, first, bos) {name, context, bos},
    MQ_PROTOCOL_LIST(ROW)
#undef ROW
};

const char *mq_protocol_name(enum mq_protocol protocol)
{
    return protocols[protocol].name;
}

bool mq_protocol_find(const char *name, enum mq_protocol *protocol)
{
    for (int i = 0; i < MQ_PROTOCOL_COUNT; i++)
        if (strcmp(name, protocols[i].name) == 0) {
            *protocol = (enum mq_protocol)i;
            return true;
        }
    return false;
}

size_t mq_protocol_default_context(enum mq_protocol protocol)
{
    return protocols[protocol].context;
}

static size_t first_scored(enum mq_protocol protocol, size_t c)
{
    const size_t first[] = {
#define FIRST(id, name, context, first_of_c, bos) first_of_c,
        MQ_PROTOCOL_LIST(FIRST)
#undef FIRST
    };
    return first[protocol];
}

moeq_status mq_protocol_windows(const struct mq_protocol_options *options, const int32_t *ids,
                                size_t count, int32_t bos, const char *what,
                                struct mq_text_windows *text, moeq_error *err)
{
    const enum mq_protocol protocol = options->protocol;
    const size_t context = options->context ? options->context : protocols[protocol].context;
    const size_t first = first_scored(protocol, context);
    memset(text, 0, sizeof *text);
    /* The last position has nothing behind it to predict. */
    if (context < 2 || first + 1 >= context)
        return mq_fail(
            err, MOEQ_INVALID_ARGUMENT,
            "windows of %zu tokens (--context) are too short: they leave nothing to score",
            context);
    const bool limited = options->max_tokens && options->max_tokens < count;
    const size_t usable = limited ? options->max_tokens : count;
    if (usable < context)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%s: one window needs %zu tokens (--context), found %zu%s", what, context,
                       usable, limited ? " (limited by --tokens)" : "");
    const size_t windows = usable / context;
    int32_t *cut = malloc(windows * context * sizeof *cut);
    if (!cut)
        return mq_fail_memory(err, "cutting a text into windows");
    memcpy(cut, ids, windows * context * sizeof *cut);
    const bool replace = protocols[protocol].bos && bos >= 0;
    for (size_t w = 0; w < windows && replace; w++)
        cut[w * context] = bos;
    *text = (struct mq_text_windows){
        .windows = {.ids = cut, .count = windows, .length = context},
        .ids = cut,
        .protocol = protocol,
        .text_tokens = count,
        .first_scored = first,
        .scored_window = context - 1 - first,
        .bos = replace ? bos : -1,
        .ids_crc32 = (uint32_t)crc32_z(0, (const Bytef *)cut, windows * context * sizeof *cut),
    };
    return MOEQ_OK;
}

/* What the tokenizer puts before every text: the first id of an empty one, if that is all there is
 * or if it is the model's BOS. */
static moeq_status find_bos(const struct mq_tokenizer *tokenizer, int32_t model_bos, int32_t *bos,
                            moeq_error *err)
{
    struct mq_ids empty = {0};
    const moeq_status status = mq_tokenizer_encode(tokenizer, "", 0, true, &empty, err);
    *bos = -1;
    if (status == MOEQ_OK && empty.size > 0 && (empty.size == 1 || empty.data[0] == model_bos))
        *bos = empty.data[0];
    mq_ids_free(&empty);
    return status;
}

/* A tokenizer may have tokens behind the model's last row, such as a <pad> that was added for
 * training. A text that has one cannot be evaluated. */
static moeq_status refuse_strangers(const struct mq_view *view,
                                    const struct mq_tokenizer *tokenizer, const char *text_path,
                                    const struct mq_ids *ids, moeq_error *err)
{
    const uint32_t vocab = view->hparams.vocab;
    if (mq_tokenizer_vocab_size(tokenizer) <= vocab)
        return MOEQ_OK;
    for (size_t i = 0; i < ids->size; i++) {
        if ((uint32_t)ids->data[i] < vocab)
            continue;
        struct mq_buffer token = {0};
        mq_tokenizer_decode(tokenizer, &ids->data[i], 1, false, &token, NULL);
        const moeq_status status = mq_fail(
            err, MOEQ_INVALID_ARGUMENT,
            "%s: token %zu is '%.60s', whose id %d is beyond %s's vocabulary of %u: the model "
            "has no such token, take it out of the text",
            text_path, i, token.data ? token.data : "", ids->data[i], view->path, vocab);
        mq_buffer_free(&token);
        return status;
    }
    return MOEQ_OK;
}

moeq_status mq_tokenize_text(const struct mq_view *view, const struct mq_text *source,
                             struct mq_ids *ids, int32_t *bos, moeq_error *err)
{
    memset(ids, 0, sizeof *ids);
    *bos = -1;
    if (!view->side[MQ_SIDE_TOKENIZER].size)
        return mq_fail(err, MOEQ_NOT_FOUND,
                       "%s: %s, so a text cannot be tokenized; give token ids (--ids) instead",
                       view->path, mq_view_no_tokenizer(view));
    struct mq_tokenizer *tokenizer = NULL;
    moeq_status status;
    if (!source->size)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, source->name, "holds no text");
    MQ_TRY_OUT(mq_tokenizer_load(view->side[MQ_SIDE_TOKENIZER].data,
                                 view->side[MQ_SIDE_TOKENIZER].size, "tokenizer.json", &tokenizer,
                                 err));
    MQ_TRY_OUT(find_bos(tokenizer, view->hparams.bos, bos, err));
    MQ_TRY_OUT(mq_tokenizer_encode_file(tokenizer, source->name, source->data, source->size, true,
                                        ids, err));
    MQ_TRY_OUT(refuse_strangers(view, tokenizer, source->name, ids, err));
out:
    if (status != MOEQ_OK)
        mq_ids_free(ids);
    mq_tokenizer_free(tokenizer);
    return status;
}

moeq_status mq_protocol_text(const struct mq_protocol_options *options, const struct mq_view *view,
                             const struct mq_text *source, struct mq_text_windows *text,
                             moeq_error *err)
{
    const size_t context =
        options->context ? options->context : protocols[options->protocol].context;
    memset(text, 0, sizeof *text);
    if (view->hparams.max_positions && context > view->hparams.max_positions)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%s: a context of %zu tokens is beyond the model's %u positions", view->path,
                       context, view->hparams.max_positions);
    struct mq_ids ids;
    int32_t bos;
    MQ_TRY(mq_tokenize_text(view, source, &ids, &bos, err));
    const moeq_status status =
        mq_protocol_windows(options, ids.data, ids.size, bos, source->name, text, err);
    mq_ids_free(&ids);
    return status;
}

moeq_status mq_text_windows_append(struct mq_text_windows *all, const struct mq_text_windows *more,
                                   moeq_error *err)
{
    const size_t length = more->windows.length, had = all->windows.count * length;
    const size_t n = more->windows.count * length;
    int32_t *ids = realloc(all->ids, (had + n) * sizeof *ids);
    if (!ids)
        return mq_fail_memory(err, "reading texts");
    memcpy(ids + had, more->ids, n * sizeof *ids);
    all->ids = ids;
    all->windows = (struct mq_windows){ids, all->windows.count + more->windows.count, length};
    all->ids_crc32 = (uint32_t)crc32_z(all->ids_crc32, (const Bytef *)more->ids, n * sizeof *ids);
    return MOEQ_OK;
}

void mq_text_windows_free(struct mq_text_windows *text)
{
    free(text->ids);
    memset(text, 0, sizeof *text);
}
