/*
 * domains.h: figures of each named text (mq_text_domain), and whether a model is fine in one and not in another.
 *
 * The rule: of a domain, the mean KL divergence pairs each scored token of the model with the original's same token; its
 * 95 % interval is a block bootstrap over the domain's windows (bootstrap.h). A model is fine there if the whole
 * interval is below MQ_DOMAIN_FINE_KLD, not fine if the whole interval is at or above it, and else it is not known.
 * Where it is fine in some domain and not fine in another there is a warning. One window gives no interval.
 */
#ifndef MQ_DOMAINS_H
#define MQ_DOMAINS_H

#include "bootstrap.h"
#include "referee.h"

/* Nats: as far as pages call a model usable (report_doc.h: the band of 4 bits). */
#define MQ_DOMAIN_FINE_KLD 0.05

enum mq_domain_state { MQ_DOMAIN_UNKNOWN, MQ_DOMAIN_FINE, MQ_DOMAIN_NOT_FINE };

struct mq_domain_result {
    const char *name; /* the windows' */
    size_t windows;
    struct mq_arm_result figures; /* without layers, tasks and domains: mq_referee_range */
    struct mq_bootstrap kld;      /* of the mean KL divergence; NaN of the baseline */
};

/* Fills the domains of what mq_referee_finish gave, where the text has some. */
moeq_status mq_domains_finish(const struct mq_referee *referee, struct mq_arm_result *results,
                              size_t arms, moeq_error *err);

enum mq_domain_state mq_domain_state(const struct mq_domain_result *domain);
const char *mq_domain_state_name(enum mq_domain_state state); /* "fine", "not fine", "unknown" */

/* "fine in chat, but not in code and sql: ..." appended; false, and nothing, where it is not so. */
struct mq_buffer;
bool mq_domains_warning(const struct mq_arm_result *result, struct mq_buffer *sentence);

#endif
