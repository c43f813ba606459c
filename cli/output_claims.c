/* output_claims.c: see the header. */
#include "output_claims.h"

#include "error.h"

#include <stdlib.h>

enum { OTHERS = 3 };

const char *mq_output_path(const struct mq_options *o, size_t i)
{
    const char *const others[OTHERS] = {o->card, o->write_gate, o->junit};
    return i < OTHERS ? others[i] : o->report.values[i - OTHERS];
}

size_t mq_outputs_count(const struct mq_options *o)
{
    return OTHERS + o->report.count;
}

moeq_status mq_output_claims_take(const struct mq_options *options, struct mq_claims *c,
                                  moeq_error *err)
{
    const size_t n = mq_is_speaker() ? mq_outputs_count(options) : 0;
    moeq_status status = MOEQ_OK;
    *c = (struct mq_claims){.held = calloc(n + 1, sizeof *c->held)};
    if (!c->held)
        return mq_fail_memory(err, "preparing what is to be written");
    for (size_t i = 0; i < n && status == MOEQ_OK; i++) {
        const char *path = mq_output_path(options, i);
        if (!path || mq_claims_hold(c, path))
            continue;
        status = mq_claim_take(&c->held[c->count], path, err);
        c->count += status == MOEQ_OK;
    }
    if (status != MOEQ_OK)
        mq_output_claims_release(c);
    return status;
}

void mq_output_claims_release(struct mq_claims *c)
{
    for (size_t i = 0; i < c->count; i++)
        mq_claim_release(&c->held[i]);
    free(c->held);
    *c = (struct mq_claims){0};
}
