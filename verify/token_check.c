/* token_check.c: comparing the ids of a text under two tokenizers. */
#include "token_check.h"

#include "checked.h"
#include "error.h"
#include "tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What the messages are about. */
struct names {
    const char *model, *base, *text;
};

/* The text of n ids under a model's tokenizer, appended; nothing if that fails. */
static void decode(const struct mq_view *view, const int32_t *ids, size_t n, struct mq_buffer *text)
{
    struct mq_tokenizer *tokenizer = NULL;
    const struct mq_buffer *json = &view->side[MQ_SIDE_TOKENIZER];
    if (mq_tokenizer_load(json->data, json->size, view->path, &tokenizer, NULL) == MOEQ_OK)
        mq_tokenizer_decode(tokenizer, ids, n, true, text, NULL);
    mq_tokenizer_free(tokenizer);
}

/* The message: token `at` of the text is the first to differ. The place is where the tokens before
 * it, which are the same, end. */
static moeq_status fail_at(const struct names *names, const struct mq_view *view,
                           const struct mq_ids *mine, const struct mq_ids *theirs, size_t at,
                           moeq_error *err)
{
    struct mq_buffer before = {0};
    char own[32] = "nothing", other[32] = "nothing";
    decode(view, mine->data, at, &before);
    if (at < mine->size)
        snprintf(own, sizeof own, "%" PRId32, mine->data[at]);
    if (at < theirs->size)
        snprintf(other, sizeof other, "%" PRId32, theirs->data[at]);
    const moeq_status status = mq_fail(
        err, MOEQ_INVALID_ARGUMENT,
        "%s has another tokenizer than %s: token %zu of %s, at byte %zu of the text, is %s, "
        "expected %s: their tokens cannot be compared",
        names->model, names->base, at, names->text, before.size, own, other);
    mq_buffer_free(&before);
    return status;
}

/* Of both lists the first max_tokens (0: all). */
static moeq_status compare(const struct names *names, const struct mq_view *view,
                           const struct mq_ids *mine, const struct mq_ids *theirs,
                           size_t max_tokens, moeq_error *err)
{
    const size_t longer = mine->size > theirs->size ? mine->size : theirs->size;
    const size_t n = max_tokens && max_tokens < longer ? max_tokens : longer;
    for (size_t i = 0; i < n; i++)
        if (i >= mine->size || i >= theirs->size || mine->data[i] != theirs->data[i])
            return fail_at(names, view, mine, theirs, i, err);
    return MOEQ_OK;
}

/* The windows of a recording, or of its domain number `part`: the ids of the text but for those that BOS replaced. */
static moeq_status compare_windows(const struct names *names, const struct mq_view *view,
                                   const struct mq_recording *recording, size_t part,
                                   struct mq_ids *mine, moeq_error *err)
{
    const struct mq_text_windows *r = &recording->text;
    const struct mq_text_domain *domain = part < r->domains_count ? &r->domains[part] : NULL;
    const size_t n = (domain ? domain->windows : r->windows.count) * r->windows.length;
    const struct mq_ids theirs = {
        .data = r->ids + (domain ? domain->first_window * r->windows.length : 0), .size = n};
    for (size_t i = 0; i < n && i < mine->size && r->bos >= 0; i += r->windows.length)
        mine->data[i] = r->bos;
    return compare(names, view, mine, &theirs, n, err);
}

/* One text: of several domains number `number`. */
static moeq_status check_part(const struct names *names, const struct mq_view *view,
                              const struct mq_view *base, const struct mq_recording *recording,
                              size_t number, const struct mq_text *text, size_t max_tokens,
                              moeq_error *err)
{
    struct mq_ids mine = {0}, theirs = {0};
    int32_t bos;
    moeq_status status = mq_tokenize_text(view, text, &mine, &bos, err);
    if (status == MOEQ_OK && recording) {
        status = compare_windows(names, view, recording, number, &mine, err);
    } else if (status == MOEQ_OK) {
        status = mq_tokenize_text(base, text, &theirs, &bos, err);
        if (status == MOEQ_OK)
            status = compare(names, view, &mine, &theirs, max_tokens, err);
    }
    mq_ids_free(&mine);
    mq_ids_free(&theirs);
    return status;
}

moeq_status mq_token_check(const struct mq_view *view, const struct mq_view *base,
                           const struct mq_recording *recording, const char *base_path,
                           const struct mq_text *text, size_t max_tokens, bool *compared,
                           moeq_error *err)
{
    uint32_t mine_crc, base_crc = recording ? recording->tokenizer_crc32 : 0;
    const bool has_base =
        recording ? recording->has_tokenizer : mq_tokenizer_fingerprint(base, &base_crc);
    *compared = mq_tokenizer_fingerprint(view, &mine_crc) && has_base;
    if (!*compared || mine_crc == base_crc)
        return MOEQ_OK;
    struct mq_buffer bytes = {0};
    if (!text && recording)
        MQ_TRY(mq_recording_text(recording, &bytes, err));
    if (!text && !bytes.size)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%s has another tokenizer than %s (CRC-32 of tokenizer.json %08" PRIx32
                       ", expected %08" PRIx32 "): without the text (--text FILE), their tokens "
                       "cannot be compared",
                       view->path, base_path, mine_crc, base_crc);
    struct mq_text recorded = {.name = recording ? (char *)recording->text_name : NULL,
                               .data = bytes.data,
                               .size = bytes.size};
    const bool own = !text;
    const size_t parts = own ? recording->text.domains_count : mq_text_domains(text);
    moeq_status status = MOEQ_OK;
    for (size_t i = 0; status == MOEQ_OK && i < (parts ? parts : 1); i++) {
        struct mq_text part = own ? recorded : mq_text_domain(text, i);
        if (own && parts) { /* the domains' texts stand one behind the other */
            part.size = (size_t)mq_min_u64(recording->domain_bytes[i], recorded.size);
            recorded.data += part.size;
            recorded.size -= part.size;
        }
        const struct names names = {view->path, base_path, part.name};
        status = check_part(&names, view, base, recording, i, &part, max_tokens, err);
    }
    mq_buffer_free(&bytes);
    return status;
}

static bool same_sequences(const struct mq_task_set *a, const struct mq_task_set *b)
{
    bool same = a->windows == b->windows && a->length == b->length &&
                a->sequences_count == b->sequences_count && a->ids_crc32 == b->ids_crc32;
    for (size_t i = 0; i < a->sequences_count && same; i++)
        same = a->sequences[i].from == b->sequences[i].from &&
               a->sequences[i].end == b->sequences[i].end &&
               a->sequences[i].last == b->sequences[i].last;
    return same;
}

moeq_status mq_token_check_tasks(const struct mq_view *view, const struct mq_view *base,
                                 const char *base_path, const struct mq_task_files *tasks,
                                 moeq_error *err)
{
    uint32_t mine_crc, base_crc;
    struct mq_task_set *mine = NULL, *theirs = NULL;
    if (!mq_tokenizer_fingerprint(view, &mine_crc) || !mq_tokenizer_fingerprint(base, &base_crc) ||
        mine_crc == base_crc)
        return MOEQ_OK;
    moeq_status status = mq_task_set_create(view, tasks, &mine, err);
    if (status == MOEQ_OK)
        status = mq_task_set_create(base, tasks, &theirs, err);
    if (status == MOEQ_OK && !same_sequences(mine, theirs))
        status = mq_fail(err, MOEQ_INVALID_ARGUMENT,
                         "%s has another tokenizer than %s: it cuts the tasks into other tokens "
                         "(CRC-32 of their ids %08" PRIx32 ", expected %08" PRIx32
                         "): their choices cannot be compared, leave --tasks out",
                         view->path, base_path, mine->ids_crc32, theirs->ids_crc32);
    mq_task_set_free(mine);
    mq_task_set_free(theirs);
    return status;
}
