/* protocol.c: windows of tokens. */
#include "protocol.h"

#include "checked.h"
#include "error.h"
#include "tokenizer.h"
#include "view_tokenizer.h"

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
    struct mq_tokenizer *tokenizer = NULL;
    moeq_status status;
    memset(ids, 0, sizeof *ids);
    *bos = -1;
    if (view->side[MQ_SIDE_TOKENIZER].size && !source->size)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, source->name, "holds no text");
    MQ_TRY(mq_view_tokenizer(view, &tokenizer, bos, err));
    MQ_TRY_OUT(mq_tokenizer_encode_file(tokenizer, source->name, source->data, source->size, true,
                                        ids, err));
    MQ_TRY_OUT(refuse_strangers(view, tokenizer, source->name, ids, err));
out:
    if (status != MOEQ_OK)
        mq_ids_free(ids);
    mq_tokenizer_free(tokenizer);
    return status;
}

/* One text without domains. */
static moeq_status cut(const struct mq_protocol_options *options, const struct mq_view *view,
                       const struct mq_text *source, struct mq_text_windows *text, moeq_error *err)
{
    struct mq_ids ids;
    int32_t bos;
    MQ_TRY(mq_tokenize_text(view, source, &ids, &bos, err));
    const moeq_status status =
        mq_protocol_windows(options, ids.data, ids.size, bos, source->name, text, err);
    mq_ids_free(&ids);
    return status;
}

/* Each domain by itself. */
static moeq_status cut_domains(const struct mq_protocol_options *options,
                               const struct mq_view *view, const struct mq_text *source,
                               struct mq_text_windows *all, moeq_error *err)
{
    const size_t n = mq_text_domains(source);
    const struct mq_text_windows *like = options->like;
    struct mq_protocol_options each = *options;
    struct mq_text_windows one = {0};
    moeq_status status = MOEQ_OK;
    for (size_t i = 0; i < n; i++) {
        const struct mq_text domain = mq_text_domain(source, i);
        if (like && like->domains_count == n)
            each.max_tokens = like->domains[i].windows * like->windows.length;
        MQ_TRY_OUT(cut(&each, view, &domain, &one, err));
        const size_t windows = one.windows.count, tokens = one.text_tokens;
        if (i == 0) {
            *all = one;
            one = (struct mq_text_windows){0};
        } else {
            all->text_tokens += tokens;
            MQ_TRY_OUT(mq_text_windows_append(all, &one, err));
            mq_text_windows_free(&one);
        }
        MQ_TRY_OUT(mq_text_windows_name(all, domain.sources[0].domain, windows, tokens, err));
    }
out:
    mq_text_windows_free(&one);
    if (status != MOEQ_OK)
        mq_text_windows_free(all);
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
    MQ_TRY(mq_text_domains(source) ? cut_domains(options, view, source, text, err)
                                   : cut(options, view, source, text, err));
    if (!options->tasks)
        return MOEQ_OK;
    const moeq_status status = mq_task_set_create(view, options->tasks, &text->tasks, err);
    if (status != MOEQ_OK)
        mq_text_windows_free(text);
    return status;
}

moeq_status mq_text_windows_name(struct mq_text_windows *text, const char *name, size_t windows,
                                 size_t text_tokens, moeq_error *err)
{
    struct mq_text_domain *domains =
        realloc(text->domains, (text->domains_count + 1) * sizeof *domains);
    if (!domains)
        return mq_fail_memory(err, "reading texts");
    text->domains = domains;
    domains[text->domains_count] =
        (struct mq_text_domain){strdup(name), text->windows.count - windows, windows, text_tokens};
    return domains[text->domains_count++].name ? MOEQ_OK : mq_fail_memory(err, "reading texts");
}

moeq_status mq_text_windows_copy(const struct mq_text_windows *from, struct mq_text_windows *to,
                                 moeq_error *err)
{
    *to = *from;
    to->ids = NULL;
    to->domains = NULL;
    to->domains_count = 0;
    to->windows.count = 0;
    to->tasks = NULL;
    MQ_TRY(mq_text_windows_append(to, from, err));
    to->ids_crc32 = from->ids_crc32;
    for (size_t i = 0; i < from->domains_count; i++) {
        const struct mq_text_domain *d = &from->domains[i];
        MQ_TRY(mq_text_windows_name(to, d->name, d->windows, d->text_tokens, err));
        to->domains[i].first_window = d->first_window;
    }
    return from->tasks ? mq_task_set_copy(from->tasks, &to->tasks, err) : MOEQ_OK;
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
    for (size_t i = 0; i < text->domains_count; i++)
        free(text->domains[i].name);
    free(text->domains);
    mq_task_set_free(text->tasks);
    free(text->ids);
    memset(text, 0, sizeof *text);
}
