/* calibrate_texts.h: the texts of `moeq calibrate`, as domains: --text [NAME=]FILE, --holdout NAME; or --ids. */
#ifndef MQ_CALIBRATE_TEXTS_H
#define MQ_CALIBRATE_TEXTS_H

#include "buffer.h"
#include "calibration.h"
#include "model_options.h"
#include "protocol.h"

struct mq_domain {
    char *name;
    const char **paths; /* joined as --text joins them; of the command line */
    size_t paths_count; /* 0: the windows are those of --ids */
    struct mq_text text;
    struct mq_text_windows windows;
    double common; /* its tokens, see token_profile.h */
    struct mq_buffer profile;
};

struct mq_domains {
    struct mq_domain *all; /* what is held out last */
    size_t count;
    bool holds_out;
    /* Windows of all, those that are held out last; and what the others are. */
    struct mq_text_windows windows;
    struct mq_calibration_text *texts;
    size_t texts_count;
};

/* Says what is wrong: a mistake in --text or --holdout, or no memory. Free it either way. */
enum mq_exit mq_domains_parse(const struct mq_options *options, struct mq_domains *domains);

/* Reads, tokenizes and cuts them: each of its own, --tokens of each. An output that is one of them is
 * refused. */
moeq_status mq_domains_read(const struct mq_options *options, struct mq_view *view,
                            struct mq_domains *domains, moeq_error *err);

static inline size_t mq_domains_held_out(const struct mq_domains *d)
{
    return d->holds_out ? d->all[d->count - 1].windows.windows.count : 0;
}

void mq_domains_free(struct mq_domains *domains);

#endif
