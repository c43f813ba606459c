/*
 * peers.c: what ranks do together, of messages between two.
 *
 * Rank 0 gathers and hands out, in turn: what goes this way is small (checksums, scores), or sent once.
 */
#include "peers.h"

#include "checked.h"
#include "error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static moeq_status send_to(const struct mq_peers *p, unsigned to, const void *bytes, uint64_t n,
                           moeq_error *err)
{
    struct mq_message *message = NULL;
    if (!n)
        return MOEQ_OK;
    MQ_TRY(p->send(p->user, to, MQ_CHANNEL_TOGETHER, bytes, n, &message, err));
    return p->wait(p->user, &message, NULL, err);
}

static moeq_status receive_from(const struct mq_peers *p, unsigned from, void *bytes, uint64_t n,
                                moeq_error *err)
{
    struct mq_message *message = NULL;
    if (!n)
        return MOEQ_OK;
    MQ_TRY(p->receive(p->user, from, MQ_CHANNEL_TOGETHER, n, &message, err));
    return p->wait(p->user, &message, bytes, err);
}

/* A binomial tree: rank r has it from r without its lowest bit, and hands it to r + every bit below that. */
moeq_status mq_peers_broadcast(const struct mq_peers *p, void *bytes, uint64_t n, moeq_error *err)
{
    if (mq_peers_count(p) == 1 || !n)
        return MOEQ_OK;
    unsigned bit = 1;
    while (bit < p->count && !(p->rank & bit))
        bit <<= 1;
    if (p->rank)
        MQ_TRY(receive_from(p, p->rank - bit, bytes, n, err));
    for (bit >>= 1; bit; bit >>= 1)
        if (p->rank + bit < p->count)
            MQ_TRY(send_to(p, p->rank + bit, bytes, n, err));
    return MOEQ_OK;
}

moeq_status mq_peers_gather(const struct mq_peers *p, const void *bytes, uint64_t n, void *all,
                            moeq_error *err)
{
    if (n)
        memcpy((char *)all + (p ? p->rank : 0) * n, bytes, n);
    if (mq_peers_count(p) == 1)
        return MOEQ_OK;
    if (p->rank)
        MQ_TRY(send_to(p, 0, bytes, n, err));
    for (unsigned r = 1; !p->rank && r < p->count; r++)
        MQ_TRY(receive_from(p, r, (char *)all + r * n, n, err));
    return mq_peers_broadcast(p, all, p->count * n, err);
}

moeq_status mq_peers_gather_all(const struct mq_peers *p, const void *bytes, uint64_t n, void **all,
                                uint64_t *begin, moeq_error *err)
{
    const unsigned count = mq_peers_count(p);
    moeq_status status = mq_peers_gather(p, &n, sizeof n, begin, err);
    *all = NULL;
    if (status != MOEQ_OK)
        return status;
    uint64_t total = 0;
    for (unsigned r = 0; r < count; r++) {
        const uint64_t size = begin[r];
        begin[r] = total;
        total += size;
    }
    begin[count] = total;
    char *joined = malloc(total + 1);
    if (!joined)
        status = mq_fail_memory(err, "gathering what other processes have");
    status = mq_peers_agree(p, status, err);
    if (status == MOEQ_OK && n)
        memcpy(joined + begin[p ? p->rank : 0], bytes, n);
    if (status == MOEQ_OK && count > 1 && p->rank)
        status = send_to(p, 0, bytes, n, err);
    for (unsigned r = 1; count > 1 && !p->rank && r < count && status == MOEQ_OK; r++)
        status = receive_from(p, r, joined + begin[r], begin[r + 1] - begin[r], err);
    if (status == MOEQ_OK)
        status = mq_peers_broadcast(p, joined, total, err);
    if (status == MOEQ_OK)
        *all = joined;
    else
        free(joined);
    return status;
}

moeq_status mq_peers_reduce(const struct mq_peers *p, enum mq_reduction how, uint64_t *numbers,
                            size_t count, moeq_error *err)
{
    const unsigned ranks = mq_peers_count(p);
    if (ranks == 1 || !count)
        return MOEQ_OK;
    uint64_t *all = calloc(ranks * count, sizeof *all);
    moeq_status status = all ? MOEQ_OK : mq_fail_memory(err, "gathering what other processes have");
    if (status == MOEQ_OK)
        status = mq_peers_gather(p, numbers, count * sizeof *numbers, all, err);
    for (size_t i = 0; i < count && status == MOEQ_OK; i++) {
        uint64_t x = all[i];
        for (unsigned r = 1; r < ranks; r++) {
            const uint64_t y = all[r * count + i];
            x = how == MQ_SUM ? x + y : how == MQ_LEAST ? mq_min_u64(x, y) : mq_max_u64(x, y);
        }
        numbers[i] = x;
    }
    free(all);
    return status;
}

/* What the lowest rank that failed says; unless all do, with its name. */
static void choose_failure(const struct mq_peers *p, const moeq_error *all, unsigned failed,
                           moeq_error *why)
{
    bool everyones = true;
    for (unsigned r = 0; r < p->count; r++)
        everyones = everyones && strcmp(all[r].message, all[failed].message) == 0;
    *why = all[failed];
    /* what is wrong with the arguments is nobody's fault, though one alone may have looked */
    if (!everyones && why->status != MOEQ_CANCELLED && why->status != MOEQ_INVALID_ARGUMENT)
        snprintf(why->message, sizeof why->message, "rank %u on %.99s: %.1200s", failed,
                 p->host(p->user, failed),
                 all[failed].message[0] ? all[failed].message : moeq_status_text(why->status));
}

moeq_status mq_peers_agree(const struct mq_peers *p, moeq_status status, moeq_error *err)
{
    if (mq_peers_count(p) == 1)
        return status;
    /* the lowest rank that failed, and what it was */
    uint64_t failed = status == MOEQ_OK ? p->count : p->rank;
    moeq_error none = {0}, *other = status == MOEQ_OK && err ? err : &none;
    const moeq_status told = mq_peers_reduce(p, MQ_LEAST, &failed, 1, other);
    if (told != MOEQ_OK)
        return status == MOEQ_OK ? told : status;
    if (failed == p->count)
        return MOEQ_OK;
    moeq_error why = {0};
    if (status != MOEQ_OK && err)
        why = *err;
    why.status = status;
    moeq_error *all = calloc(p->count, sizeof *all);
    if (!all)
        return mq_fail_memory(err, "gathering what other processes have");
    if (mq_peers_gather(p, &why, sizeof why, all, &none) == MOEQ_OK)
        choose_failure(p, all, (unsigned)failed, &why);
    free(all);
    if (err)
        *err = why;
    return why.status == MOEQ_OK ? MOEQ_CANCELLED : why.status;
}

moeq_status mq_peers_same(const struct mq_peers *p, const uint32_t *numbers,
                          const char *const *words, size_t count, moeq_error *err)
{
    const unsigned ranks = mq_peers_count(p);
    if (ranks == 1)
        return MOEQ_OK;
    uint32_t *all = calloc(ranks * count, sizeof *all);
    moeq_status status = all ? MOEQ_OK : mq_fail_memory(err, "comparing with other processes");
    if (status == MOEQ_OK)
        status = mq_peers_gather(p, numbers, count * sizeof *numbers, all, err);
    for (size_t i = 0; status == MOEQ_OK && i < ranks * count; i++)
        if (all[i] != all[i % count])
            status = mq_fail(err, MOEQ_INVALID_ARGUMENT, "rank %zu on %s has %s than rank 0 on %s",
                             i / count, p->host(p->user, (unsigned)(i / count)), words[i % count],
                             p->host(p->user, 0));
    free(all);
    return status;
}
