/* domains.c: see domains.h. */
#include "domains.h"

#include "buffer.h"
#include "error.h"

#include <math.h>
#include <stdlib.h>

static moeq_status finish_arm(const struct mq_referee *referee, size_t arm,
                              struct mq_arm_result *result, moeq_error *err)
{
    const struct mq_text_windows *text = mq_referee_text(referee);
    double *means = calloc(text->windows.count, sizeof *means);
    result->domains = calloc(text->domains_count, sizeof *result->domains);
    moeq_status status =
        means && result->domains ? MOEQ_OK : mq_fail_memory(err, "summing up an evaluation");
    if (status == MOEQ_OK && arm)
        mq_referee_window_means(referee, arm, MQ_WINDOW_KLD, means);
    for (size_t i = 0; status == MOEQ_OK && i < text->domains_count; i++) {
        const struct mq_text_domain *d = &text->domains[i];
        struct mq_domain_result *to = &result->domains[result->domains_count++];
        to->name = d->name;
        to->windows = d->windows;
        to->kld = arm ? mq_bootstrap_mean(means + d->first_window, d->windows)
                      : (struct mq_bootstrap){NAN, NAN, NAN, NAN};
        status = mq_referee_range(referee, arm, d->first_window, d->windows, &to->figures, err);
    }
    free(means);
    return status;
}

moeq_status mq_domains_finish(const struct mq_referee *referee, struct mq_arm_result *results,
                              size_t arms, moeq_error *err)
{
    for (size_t a = 0; a < arms && mq_referee_text(referee)->domains_count; a++)
        MQ_TRY(finish_arm(referee, a, &results[a], err));
    return MOEQ_OK;
}

enum mq_domain_state mq_domain_state(const struct mq_domain_result *domain)
{
    return domain->kld.high < MQ_DOMAIN_FINE_KLD   ? MQ_DOMAIN_FINE
           : domain->kld.low >= MQ_DOMAIN_FINE_KLD ? MQ_DOMAIN_NOT_FINE
                                                   : MQ_DOMAIN_UNKNOWN;
}

const char *mq_domain_state_name(enum mq_domain_state state)
{
    static const char *const names[] = {"unknown", "fine", "not fine"};
    return names[state];
}

static size_t count(const struct mq_arm_result *result, enum mq_domain_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < result->domains_count; i++)
        n += mq_domain_state(&result->domains[i]) == state;
    return n;
}

/* "code (0.08 nats) and sql (0.11 nats)" */
static void put_names(const struct mq_arm_result *result, enum mq_domain_state state,
                      struct mq_buffer *b)
{
    size_t left = count(result, state);
    for (size_t i = 0; i < result->domains_count; i++) {
        const struct mq_domain_result *d = &result->domains[i];
        if (mq_domain_state(d) != state)
            continue;
        mq_buffer_printf(b, "%s (%.2g nats)%s", d->name, d->kld.mean,
                         --left == 1 ? " and "
                         : left      ? ", "
                                     : "");
    }
}

bool mq_domains_warning(const struct mq_arm_result *result, struct mq_buffer *b)
{
    if (!count(result, MQ_DOMAIN_FINE) || !count(result, MQ_DOMAIN_NOT_FINE))
        return false;
    mq_buffer_puts(b, "fine in ");
    put_names(result, MQ_DOMAIN_FINE, b);
    mq_buffer_puts(b, ", but not in ");
    put_names(result, MQ_DOMAIN_NOT_FINE, b);
    mq_buffer_printf(
        b,
        ": the 95 %% interval of the mean KL divergence is wholly below %g nats in the former "
        "and not below it in the latter",
        MQ_DOMAIN_FINE_KLD);
    return true;
}
