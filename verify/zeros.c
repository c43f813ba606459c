/* zeros.c: finding runs of zero bytes, and judging them. */
#include "zeros.h"

#include "checked.h"
#include "error.h"

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

void mq_zeros_judge(struct mq_zeros *zeros, const struct mq_zero_place *tensor, uint64_t rows,
                    const struct mq_zero_span *span)
{
    struct mq_zero_place place = *tensor;
    const uint64_t row_bytes = rows ? tensor->bytes / rows : 0;
    if (!row_bytes || span->bytes != tensor->bytes)
        return;
    place.whole = span->lead == span->bytes || !span->has_weight;
    if (is_vocabulary(place.role) && !place.whole) {
        const uint64_t padding = span->trail / row_bytes;
        if (padding) {
            struct mq_zero_place *p = &zeros->padding[place.role == MQ_ROLE_HEAD];
            *p = place;
            p->rows = padding;
            p->bytes = padding * row_bytes;
            p->offset = tensor->offset + tensor->bytes - p->bytes;
        }
        if (span->place + span->longest == span->bytes)
            return;
    }
    if (!place.whole && span->longest < MQ_ZEROS_RUN)
        return;
    if (!place.whole) {
        place.offset += span->place;
        place.bytes = span->longest;
    }
    place.rows = place.bytes / row_bytes;
    if (zeros->count < MQ_ZEROS_LISTED)
        zeros->listed[zeros->count] = place;
    zeros->count++;
}

void mq_zeros_describe(const struct mq_zero_place *p, char *text, size_t room)
{
    snprintf(text, room,
             p->whole ? "all of it (%" PRIu64 " bytes) is zero"
                      : "%" PRIu64 " bytes in a row are zero",
             p->bytes);
}

void mq_zeros_where(const struct mq_zero_place *p, char *text, size_t room)
{
    char layer[32] = "", expert[32] = "";
    if (p->layer >= 0)
        snprintf(layer, sizeof layer, "layer %d, ", p->layer);
    if (p->expert >= 0)
        snprintf(expert, sizeof expert, "expert %d, ", p->expert);
    snprintf(text, room, "%s%s%s", layer, expert, mq_role_name(p->role));
}

moeq_status mq_zeros_status(const struct mq_zeros *zeros, moeq_error *err)
{
    if (!zeros->count)
        return MOEQ_OK;
    const struct mq_zero_place *p = &zeros->listed[0];
    char what[80], where[96], more[64] = "";
    mq_zeros_describe(p, what, sizeof what);
    mq_zeros_where(p, where, sizeof where);
    if (zeros->count > 1)
        snprintf(more, sizeof more, " (and so in %" PRIu64 " more)", zeros->count - 1);
    return mq_fail_tensor(err, MOEQ_CORRUPT, p->path, p->name, p->offset,
                          "%s: %s: no trained matrix has such; was a download or a disk's copy "
                          "incomplete? Compare the file's SHA-256 with its source's%s",
                          where, what, more);
}
