/* hand_over.c: messages of one batch are sent and asked for in the same order: that of the arms, then the carry. */
#include "hand_over.h"

#include "error.h"

#include <stdlib.h>

/* Batches under way: one that comes in, and two that go out. */
enum { OUTGOING = 2, UNDER_WAY = 1 + OUTGOING };

static size_t carry_bytes(const struct mq_observer *observer)
{
    return observer->carry_bytes ? observer->carry_bytes(observer->user) : 0;
}

uint64_t mq_hand_over_bytes(const struct mq_arm *arms, size_t count,
                            const struct mq_observer *observer)
{
    uint64_t floats = 0;
    for (size_t a = 0; a < count; a++)
        floats += arms[a].playback ? 0 : arms[a].view->hparams.hidden;
    return UNDER_WAY * (floats * sizeof(float) + carry_bytes(observer)) + carry_bytes(observer);
}

moeq_status mq_hand_over_create(struct mq_hand_over *h, size_t tokens, moeq_error *err)
{
    const size_t messages = h->pass->arms_count + 1;
    h->carry_bytes = carry_bytes(h->observer);
    h->carry = malloc(tokens * h->carry_bytes + 1);
    h->incoming = calloc(messages, sizeof *h->incoming);
    h->outgoing = calloc(OUTGOING * messages, sizeof *h->outgoing);
    return h->carry && h->incoming && h->outgoing ? MOEQ_OK
                                                  : mq_fail_memory(err, "handing states on");
}

void mq_hand_over_destroy(struct mq_hand_over *h)
{
    free(h->carry);
    free(h->incoming);
    free(h->outgoing);
}

static uint64_t states_bytes(const struct mq_hand_over *h, size_t tokens)
{
    return (uint64_t)tokens * h->pass->sizes.hidden * sizeof(float);
}

moeq_status mq_hand_over_ask(struct mq_hand_over *h, size_t tokens, moeq_error *err)
{
    const struct mq_peers *p = h->peers;
    const size_t arms = h->pass->arms_count;
    for (size_t a = 0; a < arms; a++)
        if (mq_pass_has_own(h->pass, a, h->part->layer_begin))
            MQ_TRY(p->receive(p->user, p->rank - 1, MQ_CHANNEL_STATES, states_bytes(h, tokens),
                              &h->incoming[a], err));
    return h->carry_bytes ? p->receive(p->user, p->rank - 1, MQ_CHANNEL_STATES,
                                       tokens * h->carry_bytes, &h->incoming[arms], err)
                          : MOEQ_OK;
}

moeq_status mq_hand_over_take(struct mq_hand_over *h, moeq_error *err)
{
    const struct mq_peers *p = h->peers;
    const struct mq_pass *pass = h->pass;
    for (size_t a = 0; a < pass->arms_count; a++)
        MQ_TRY(p->wait(p->user, &h->incoming[a], pass->arms[a].hidden, err));
    MQ_TRY(p->wait(p->user, &h->incoming[pass->arms_count], h->carry, err));
    if (h->carry_bytes)
        h->observer->unpack(h->observer->user, pass->first_window * pass->windows->length,
                            pass->tokens, h->carry);
    return MOEQ_OK;
}

static moeq_status wait_for(struct mq_hand_over *h, size_t batch, moeq_error *err)
{
    const size_t messages = h->pass->arms_count + 1;
    struct mq_message **of = h->outgoing + batch % OUTGOING * messages;
    for (size_t i = 0; i < messages; i++)
        MQ_TRY(h->peers->wait(h->peers->user, &of[i], NULL, err));
    return MOEQ_OK;
}

moeq_status mq_hand_over_send(struct mq_hand_over *h, moeq_error *err)
{
    const struct mq_peers *p = h->peers;
    const struct mq_pass *pass = h->pass;
    struct mq_message **of = h->outgoing + h->sent % OUTGOING * (pass->arms_count + 1);
    MQ_TRY(wait_for(h, h->sent, err));
    for (size_t a = 0; a < pass->arms_count; a++)
        if (mq_pass_has_own(pass, a, h->part->layer_end))
            MQ_TRY(p->send(p->user, p->rank + 1, MQ_CHANNEL_STATES, pass->arms[a].hidden,
                           states_bytes(h, pass->tokens), &of[a], err));
    if (h->carry_bytes) {
        h->observer->pack(h->observer->user, pass->first_window * pass->windows->length,
                          pass->tokens, h->carry);
        MQ_TRY(p->send(p->user, p->rank + 1, MQ_CHANNEL_STATES, h->carry,
                       pass->tokens * h->carry_bytes, &of[pass->arms_count], err));
    }
    h->sent++;
    return MOEQ_OK;
}

moeq_status mq_hand_over_finish(struct mq_hand_over *h, moeq_error *err)
{
    for (size_t batch = 0; batch < OUTGOING; batch++)
        MQ_TRY(wait_for(h, batch, err));
    return MOEQ_OK;
}
