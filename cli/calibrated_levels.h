/* calibrated_levels.h: levels of a sweep made with --effort calibrated. */
#ifndef MQ_CALIBRATED_LEVELS_H
#define MQ_CALIBRATED_LEVELS_H

#include "calibrated.h"
#include "command.h"
#include "comparison.h"

/* False after a message: --effort calibrated without --calibration-text, or that without it. */
bool mq_calibrated_levels_check(const struct mq_options *options);

/* Where --effort calibrated is given: makes a model by each candidate's policy, in a file that has no name any more when
 * this returns, and sets `made`, which is the caller's to close; `sentence` says by what, for the policies. judging: the sweep's text, which must be another. */
moeq_status mq_calibrated_levels_make(const struct mq_options *options,
                                      const struct mq_context *context, struct mq_view *source,
                                      const struct mq_text *judging, struct mq_candidate *candidates,
                                      size_t count,
                                      struct mq_view **made, char sentence[MQ_CALIBRATED_SENTENCE],
                                      moeq_error *err);

#endif
