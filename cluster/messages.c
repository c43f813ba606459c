/*
 * messages.c: bytes from rank to rank. A message is cut into pieces, since MPI counts in int, and owns its bytes: of one
 * that is abandoned, because a rank has failed, MPI may still use them until the process ends.
 */
#include "ranks.h"

#include "error.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct mq_message {
    char *bytes;
    uint64_t n;
    bool received;
    size_t pieces, done;
    MPI_Request requests[]; /* [pieces]; the first `done` of them are */
};

static moeq_status make(const struct mq_ranks *r, uint64_t n, struct mq_message **message,
                        moeq_error *err)
{
    const size_t pieces = (size_t)((n + r->piece_bytes - 1) / r->piece_bytes);
    struct mq_message *m = calloc(1, sizeof *m + pieces * sizeof *m->requests);
    *message = m;
    if (m && (m->bytes = malloc(n + 1))) {
        m->n = n;
        m->pieces = pieces;
        return MOEQ_OK;
    }
    free(m);
    *message = NULL;
    return mq_fail_memory(err, "handing bytes from rank to rank");
}

static int piece_bytes(const struct mq_ranks *r, const struct mq_message *m, size_t i)
{
    const uint64_t left = m->n - i * r->piece_bytes;
    return (int)(left < r->piece_bytes ? left : r->piece_bytes);
}

static moeq_status begin_send(void *user, unsigned to, enum mq_channel channel, const void *bytes,
                              uint64_t n, struct mq_message **message, moeq_error *err)
{
    struct mq_ranks *r = user;
    MQ_TRY(make(r, n, message, err));
    struct mq_message *m = *message;
    memcpy(m->bytes, bytes, n);
    atomic_fetch_add(&r->under_way, 1);
    for (size_t i = 0; i < m->pieces; i++)
        MPI_Isend(m->bytes + i * r->piece_bytes, piece_bytes(r, m, i), MPI_BYTE, (int)to,
                  (int)channel, r->data, &m->requests[i]);
    return MOEQ_OK;
}

static moeq_status begin_receive(void *user, unsigned from, enum mq_channel channel, uint64_t n,
                                 struct mq_message **message, moeq_error *err)
{
    struct mq_ranks *r = user;
    MQ_TRY(make(r, n, message, err));
    struct mq_message *m = *message;
    m->received = true;
    atomic_fetch_add(&r->under_way, 1);
    for (size_t i = 0; i < m->pieces; i++)
        MPI_Irecv(m->bytes + i * r->piece_bytes, piece_bytes(r, m, i), MPI_BYTE, (int)from,
                  (int)channel, r->data, &m->requests[i]);
    return MOEQ_OK;
}

/* Between two looks: at first at once, so that what is due is had at once; then ever less often, since the core is the
 * threads' that compute. */
static void pause_before(unsigned look)
{
    enum { AT_ONCE = 200 };
    struct timespec some = {0, 20000};
    if (look < AT_ONCE) {
        sched_yield();
        return;
    }
    some.tv_nsec *= (long)(look - AT_ONCE) / 8 + 1;
    if (some.tv_nsec > 1000000)
        some.tv_nsec = 1000000;
    nanosleep(&some, NULL);
}

static bool is_done(struct mq_message *m)
{
    for (; m->done < m->pieces; m->done++) {
        int done;
        MPI_Test(&m->requests[m->done], &done, MPI_STATUS_IGNORE);
        if (!done)
            return false;
    }
    return true;
}

static moeq_status wait_for(void *user, struct mq_message **message, void *bytes, moeq_error *err)
{
    struct mq_ranks *r = user;
    struct mq_message *m = *message;
    if (!m)
        return MOEQ_OK;
    *message = NULL;
    for (unsigned look = 0; !is_done(m); look += look < 1000000) {
        const moeq_status status = mq_control_check(r, err);
        if (status != MOEQ_OK) { /* m is MPI's from now on */
            atomic_store(&r->abandoned, true);
            return status;
        }
        pause_before(look);
    }
    if (bytes)
        memcpy(bytes, m->bytes, m->n);
    atomic_fetch_add(m->received ? &r->received : &r->sent, m->n);
    atomic_fetch_sub(&r->under_way, 1);
    free(m->bytes);
    free(m);
    return MOEQ_OK;
}

void mq_messages_begin(struct mq_ranks *r)
{
    /* Tests make pieces small, to have several of them. */
    const char *bytes = getenv("MOEQ_MPI_PIECE_BYTES");
    const unsigned long long n = bytes ? strtoull(bytes, NULL, 10) : 0;
    r->piece_bytes = n > 0 && n < 1 << 28 ? n : 1 << 28;
    r->peers.send = begin_send;
    r->peers.receive = begin_receive;
    r->peers.wait = wait_for;
}
