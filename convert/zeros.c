/* zeros.c: finding runs of zero bytes, and judging them. */
#include "zeros.h"

#include "checked.h"
#include "error.h"
#include "tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- runs ---- */

/* How many of n bytes are zero from the first on. */
static uint64_t zeros_from(const unsigned char *p, uint64_t n)
{
    uint64_t i = 0, word;
    for (; i + sizeof word <= n; i += sizeof word) {
        memcpy(&word, p + i, sizeof word);
        if (word)
            break;
    }
    while (i < n && !p[i])
        i++;
    return i;
}

static void note_run(struct mq_zero_span *s, uint64_t place, uint64_t n)
{
    if (n > s->longest) {
        s->longest = n;
        s->place = place;
    }
}

/*
 * A run that begins at `at` and is long enough covers the byte MQ_ZEROS_RUN - 1 behind it. So that
 * byte is looked at, and from it backwards as long as there are zeros: each byte is read once, and
 * most are never read.
 */
struct mq_zero_span mq_zeros_scan(const void *bytes, uint64_t n)
{
    const unsigned char *p = bytes;
    struct mq_zero_span s = {.bytes = n, .lead = zeros_from(p, n)};
    note_run(&s, 0, s.lead);
    while (s.trail < n - s.lead && !p[n - 1 - s.trail])
        s.trail++;
    if (s.lead == n)
        s.trail = n;
    s.has_weight = s.lead < n;
    note_run(&s, n - s.trail, s.trail);
    for (uint64_t at = s.lead; n - at >= MQ_ZEROS_RUN;) {
        uint64_t end = at + MQ_ZEROS_RUN;
        while (end > at && !p[end - 1])
            end--;
        if (end > at) { /* byte end - 1 is none */
            at = end;
            continue;
        }
        const uint64_t run =
            MQ_ZEROS_RUN + zeros_from(p + at + MQ_ZEROS_RUN, n - at - MQ_ZEROS_RUN);
        note_run(&s, at, run);
        at += run;
    }
    return s;
}

void mq_zeros_join(struct mq_zero_span *sum, const struct mq_zero_span *next)
{
    const struct mq_zero_span before = *sum;
    note_run(sum, before.bytes - before.trail, before.trail + next->lead);
    note_run(sum, before.bytes + next->place, next->longest);
    if (before.lead == before.bytes)
        sum->lead = before.bytes + next->lead;
    sum->trail = next->trail == next->bytes ? before.trail + next->bytes : next->trail;
    sum->bytes = before.bytes + next->bytes;
    sum->has_weight = before.has_weight || next->has_weight;
}

/* ---- judgement ---- */

static bool is_vocabulary(enum mq_role role)
{
    return mq_role_class(role) == MQ_CLASS_EMBEDDINGS;
}

/* So many zero rows at the end are padding, whatever the tokenizer. */
static uint64_t padding_limit(uint64_t rows)
{
    return mq_max_u64(rows / 100, mq_min_u64(MQ_ZEROS_PADDING, rows / 8));
}

static uint64_t tail_rows(uint64_t rows, uint64_t bytes, const struct mq_zero_span *span)
{
    return rows && bytes >= rows ? span->trail / (bytes / rows) : 0;
}

bool mq_zeros_want_tokens(enum mq_role role, uint64_t rows, uint64_t bytes,
                          const struct mq_zero_span *span)
{
    return is_vocabulary(role) && span->has_weight &&
           tail_rows(rows, bytes, span) > padding_limit(rows);
}

/* Rows for ids that no token has are [UNUSED<id>] where a GGUF file said so, or [PAD<id>]. */
uint64_t mq_zeros_tokens(const struct mq_view *view)
{
    static const char *const fillers[] = {"[UNUSED%" PRIu64 "]", "[PAD%" PRIu64 "]"};
    const struct mq_buffer *json = &view->side[MQ_SIDE_TOKENIZER];
    struct mq_tokenizer *tokenizer = NULL;
    uint64_t n = 0;
    if (!json->size ||
        mq_tokenizer_load(json->data, json->size, view->path, &tokenizer, NULL) != MOEQ_OK)
        return 0;
    bool filler = true;
    for (n = mq_tokenizer_vocab_size(tokenizer); n && filler; n -= filler) {
        filler = false;
        for (size_t i = 0; i < sizeof fillers / sizeof *fillers && !filler; i++) {
            char name[40];
            snprintf(name, sizeof name, fillers[i], n - 1);
            filler = mq_tokenizer_token_id(tokenizer, name) == (int32_t)(n - 1);
        }
    }
    mq_tokenizer_free(tokenizer);
    return n;
}

static bool is_padding(const struct mq_zeros *zeros, uint64_t rows, uint64_t tail)
{
    const bool behind = zeros->tokens && tail <= rows && rows - tail >= zeros->tokens;
    return tail && (tail <= padding_limit(rows) || behind);
}

static void list_problem(struct mq_zeros *zeros, const struct mq_zero_place *place)
{
    if (zeros->count < MQ_ZEROS_LISTED)
        zeros->listed[zeros->count] = *place;
    zeros->count++;
}

/* A run that the tensor before ends with and this one begins with, which are both too short. */
static void judge_border(struct mq_zeros *zeros, const struct mq_zero_place *tensor, uint64_t lead)
{
    enum { MAX_GAP = 4096 }; /* of alignment */
    struct mq_zero_place run = zeros->last;
    const uint64_t end = run.offset + run.bytes;
    if (!run.bytes || !lead || strcmp(run.path, tensor->path) != 0 || tensor->offset < end ||
        tensor->offset - end > MAX_GAP)
        return;
    run.bytes = tensor->offset + lead - run.offset;
    run.into = tensor->name;
    if (run.bytes >= MQ_ZEROS_RUN)
        list_problem(zeros, &run);
}

/* The zeros at the tensor's end that may go on; none of what has been told already. */
static void keep_end(struct mq_zeros *zeros, const struct mq_zero_place *tensor, uint64_t trail,
                     uint64_t row_bytes)
{
    zeros->last = *tensor;
    zeros->last.bytes = trail;
    zeros->last.offset = tensor->offset + tensor->bytes - trail;
    zeros->last.rows = trail / row_bytes;
}

static void note_padding(struct mq_zeros *zeros, const struct mq_zero_place *tensor, uint64_t rows,
                         uint64_t row_bytes)
{
    struct mq_zero_place *p = &zeros->padding[tensor->role == MQ_ROLE_HEAD];
    *p = *tensor;
    p->rows = rows;
    p->bytes = rows * row_bytes;
    p->offset = tensor->offset + tensor->bytes - p->bytes;
}

void mq_zeros_judge(struct mq_zeros *zeros, const struct mq_zero_place *tensor, uint64_t rows,
                    const struct mq_zero_span *span)
{
    struct mq_zero_place place = *tensor;
    const uint64_t row_bytes = rows ? tensor->bytes / rows : 0;
    if (!row_bytes || span->bytes != tensor->bytes)
        return;
    place.whole = span->lead == span->bytes || !span->has_weight;
    const uint64_t tail = tail_rows(rows, tensor->bytes, span);
    const bool padded = is_vocabulary(place.role) && !place.whole && is_padding(zeros, rows, tail);
    const bool at_end = span->place + span->longest == span->bytes;
    const bool found = place.whole || (span->longest >= MQ_ZEROS_RUN && !(padded && at_end));
    if (!place.whole && span->lead < MQ_ZEROS_RUN)
        judge_border(zeros, tensor, span->lead);
    keep_end(zeros, tensor, padded || place.whole || span->trail >= MQ_ZEROS_RUN ? 0 : span->trail,
             row_bytes);
    if (padded)
        note_padding(zeros, tensor, tail, row_bytes);
    if (!found)
        return;
    if (!place.whole) {
        place.offset += span->place;
        place.bytes = span->longest;
    }
    place.rows = place.bytes / row_bytes;
    list_problem(zeros, &place);
}

void mq_zeros_describe(const struct mq_zero_place *p, char *text, size_t room)
{
    const int n = snprintf(text, room,
                           p->whole ? "all of it (%" PRIu64 " bytes) is zero"
                                    : "%" PRIu64 " bytes in a row are zero",
                           p->bytes);
    if (p->into && n >= 0 && (size_t)n < room)
        snprintf(text + n, room - (size_t)n, ", on into %s", p->into);
}

void mq_zeros_where(const struct mq_zero_place *p, char *text, size_t room)
{
    mq_role_place(p->layer, p->expert, mq_role_name(p->role), text, room);
}

moeq_status mq_zeros_status(const struct mq_zeros *zeros, moeq_error *err)
{
    if (!zeros->count)
        return MOEQ_OK;
    const struct mq_zero_place *p = &zeros->listed[0];
    char what[256], where[96], more[64] = "";
    mq_zeros_describe(p, what, sizeof what);
    mq_zeros_where(p, where, sizeof where);
    if (zeros->count > 1)
        snprintf(more, sizeof more, " (and so in %" PRIu64 " more)", zeros->count - 1);
    return mq_fail_tensor(err, MOEQ_CORRUPT, p->path, p->name, p->offset,
                          "%s: %s: no trained matrix has such; was a download or a disk's copy "
                          "incomplete? Compare the file's SHA-256 with its source's%s",
                          where, what, more);
}
