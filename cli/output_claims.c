/* output_claims.c: see the header. */
#include "output_claims.h"

#include "claim.h"
#include "error.h"

#include <stdlib.h>
#include <string.h>

/* Number i of the files that are to be written; NULL: not asked for. */
static const char *output(const struct mq_options *o, size_t i)
{
    const char *const others[] = {o->card, o->write_gate, o->junit};
    const size_t n = sizeof others / sizeof *others;
    return i < n ? others[i] : o->report.values[i - n];
}

enum { OTHERS = 3 };

static bool is_claimed(const struct mq_output_claims *c, const char *path)
{
    char part[PATH_MAX];
    if (!mq_name_beside(path, ".part", part))
        return false;
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->claims[i].part, part) == 0)
            return true;
    return false;
}

moeq_status mq_output_claims_take(const struct mq_options *options, struct mq_output_claims *c,
                                  moeq_error *err)
{
    const size_t n = OTHERS + options->report.count;
    moeq_status status = MOEQ_OK;
    *c = (struct mq_output_claims){.claims = calloc(n, sizeof *c->claims)};
    if (!c->claims)
        return mq_fail_memory(err, "preparing what is to be written");
    for (size_t i = 0; i < n && status == MOEQ_OK; i++) {
        const char *path = output(options, i);
        if (!path || is_claimed(c, path))
            continue;
        status = mq_claim_take(&c->claims[c->count], path, err);
        c->count += status == MOEQ_OK;
    }
    if (status != MOEQ_OK)
        mq_output_claims_release(c);
    return status;
}

void mq_output_claims_release(struct mq_output_claims *c)
{
    for (size_t i = 0; i < c->count; i++)
        mq_claim_release(&c->claims[i]);
    free(c->claims);
    *c = (struct mq_output_claims){0};
}
