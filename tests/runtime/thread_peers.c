/* thread_peers.c: a message is a copy in a list, from which the receiver takes the first of its sender and channel. */
#include "thread_peers.h"

#include "test_support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct mq_message {
    struct mq_message *next;
    unsigned from, to;
    enum mq_channel channel;
    uint64_t n;
    bool received; /* asked for: still to be found */
    char bytes[];
};

struct world {
    pthread_mutex_t lock;
    pthread_cond_t sent;
    struct mq_message *first, **end;
};

struct member {
    struct mq_peers peers;
    struct world *world;
    void (*rank)(void *user, const struct mq_peers *peers);
    void *user;
};

static struct mq_message *make(unsigned from, unsigned to, enum mq_channel channel, uint64_t n,
                               uint64_t room)
{
    struct mq_message *m = calloc(1, sizeof *m + room);
    ck_assert_ptr_nonnull(m);
    m->from = from;
    m->to = to;
    m->channel = channel;
    m->n = n;
    return m;
}

static moeq_status send_to(void *user, unsigned to, enum mq_channel channel, const void *bytes,
                           uint64_t n, struct mq_message **message, moeq_error *err)
{
    const struct member *member = user;
    struct world *w = member->world;
    struct mq_message *m = make(member->peers.rank, to, channel, n, n);
    (void)err;
    memcpy(m->bytes, bytes, n);
    pthread_mutex_lock(&w->lock);
    *w->end = m;
    w->end = &m->next;
    pthread_cond_broadcast(&w->sent);
    pthread_mutex_unlock(&w->lock);
    *message = make(member->peers.rank, to, channel, n, 0);
    return MOEQ_OK;
}

static moeq_status receive(void *user, unsigned from, enum mq_channel channel, uint64_t n,
                           struct mq_message **message, moeq_error *err)
{
    const struct member *member = user;
    (void)err;
    *message = make(from, member->peers.rank, channel, n, 0);
    (*message)->received = true;
    return MOEQ_OK;
}

static struct mq_message **find(struct world *w, const struct mq_message *like)
{
    struct mq_message **at = &w->first;
    while (*at && ((*at)->from != like->from || (*at)->to != like->to ||
                   (*at)->channel != like->channel))
        at = &(*at)->next;
    return *at ? at : NULL;
}

static moeq_status wait_for(void *user, struct mq_message **message, void *bytes, moeq_error *err)
{
    struct world *w = ((const struct member *)user)->world;
    struct mq_message *m = *message, **at;
    (void)err;
    if (!m)
        return MOEQ_OK;
    *message = NULL;
    if (m->received) {
        pthread_mutex_lock(&w->lock);
        while (!(at = find(w, m)))
            pthread_cond_wait(&w->sent, &w->lock);
        struct mq_message *found = *at;
        *at = found->next;
        if (w->end == &found->next)
            w->end = at;
        pthread_mutex_unlock(&w->lock);
        ck_assert_uint_eq(found->n, m->n);
        memcpy(bytes, found->bytes, m->n);
        free(found);
    }
    free(m);
    return MOEQ_OK;
}

/* All of them are here. */
static const char *host(void *user, unsigned rank)
{
    (void)user, (void)rank;
    return "here";
}

static unsigned host_number(void *user, unsigned rank)
{
    (void)user, (void)rank;
    return 0;
}

static void *run(void *user)
{
    struct member *m = user;
    m->rank(m->user, &m->peers);
    return NULL;
}

void thread_peers_run(unsigned count, void (*rank)(void *user, const struct mq_peers *peers),
                      void *user)
{
    struct world world = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, &world.first};
    struct member members[THREAD_PEERS_MAX];
    pthread_t threads[THREAD_PEERS_MAX];
    ck_assert_uint_le(count, THREAD_PEERS_MAX);
    for (unsigned r = 0; r < count; r++) {
        members[r] = (struct member){.peers = {.user = &members[r],
                                               .rank = r,
                                               .count = count,
                                               .send = send_to,
                                               .receive = receive,
                                               .wait = wait_for,
                                               .host = host,
                                               .host_number = host_number},
                                     .world = &world,
                                     .rank = rank,
                                     .user = user};
        ck_assert_int_eq(pthread_create(&threads[r], NULL, run, &members[r]), 0);
    }
    for (unsigned r = 0; r < count; r++)
        pthread_join(threads[r], NULL);
    ck_assert_ptr_null(world.first);
}
