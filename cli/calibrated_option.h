/* calibrated_option.h: --effort calibrated and --calibration, of convert and export. */
#ifndef MQ_CALIBRATED_OPTION_H
#define MQ_CALIBRATED_OPTION_H

#include "calibrated.h"
#include "importance_option.h"
#include "model_options.h"
#include "protocol.h"

struct mq_calibrated_option {
    bool given;
    struct mq_text_windows windows;
    struct mq_buffer profiles;             /* the texts' tokens, a list as of token_profile.h */
    char sentence[MQ_CALIBRATED_SENTENCE]; /* for plans: by what it was calibrated */
    struct mq_calibrated run;
    struct mq_importance *importance; /* of --calibration; NULL: none */
};

/* Whether a text is given, or a file of token ids. */
bool mq_calibrated_option_text(const struct mq_options *options);

/* False after a message: --effort calibrated without --text, or --text without it; --calibration where
 * nothing is quantized. */
bool mq_calibrated_option_check(const char *command, const struct mq_options *options);

/* Where --effort calibrated is given, reads its text and cuts it; policy->calibration says so. And --calibration,
 * into policy->importance. judging: the text that what is made will be judged on, which must be another; NULL: none. */
moeq_status mq_calibrated_option_read(const struct mq_options *options, struct mq_view *view,
                                      const struct mq_text *judging,
                                      struct mq_calibrated_option *option, struct mq_policy *policy,
                                      moeq_error *err);
/* The windows of --ids, as many as --tokens has room for. identity: see mq_ids_file_read. */
moeq_status mq_calibrated_option_ids(const struct mq_options *options, const struct mq_view *view,
                                     struct mq_text_windows *text, struct mq_file *identity,
                                     moeq_error *err);

void mq_calibrated_option_free(struct mq_calibrated_option *option);

#endif
