/* baseline.h: what all candidates of a comparison are judged against: a model, or a recording. */
#ifndef MQ_BASELINE_H
#define MQ_BASELINE_H

#include "open_options.h"
#include "record.h"

struct mq_baseline {
    const char *name;               /* what rows and messages call it: "source" */
    const char *path;               /* as it was given */
    const struct mq_view *view;     /* of a recording: of the weights norm and head alone */
    struct mq_recording *recording; /* NULL: a model */
    struct mq_view *model;          /* what mq_baseline_open opened besides a recording */
};

/* A model that is open, which must outlive the baseline and stays the caller's: "source". */
struct mq_baseline mq_baseline_of(const struct mq_view *view);

/* Opens a model or a recording, whichever is there: "baseline". `path` must outlive it;
 * `open`: how a model is read, NULL: the defaults. To be closed, also after a failure. */
moeq_status mq_baseline_open(const struct mq_context *context, const char *path,
                             const struct mq_open_options *open, struct mq_baseline *baseline,
                             moeq_error *err);
void mq_baseline_close(struct mq_baseline *baseline);

/* The arm that stands for it; `compute`: of a model (a recording was computed long ago). */
struct mq_arm mq_baseline_arm(const struct mq_baseline *baseline, enum mq_compute compute);

/* Its sizes as it is stored. */
struct mq_stored_size mq_baseline_size(const struct mq_baseline *baseline);

/*
 * The windows to evaluate: of a model those of `text` under the protocol. A recording has its own;
 * `text` is NULL then, or must give the same under `reader`'s tokenizer, since the recording has
 * none (*other_text is set with the failure that it does not).
 */
moeq_status mq_baseline_windows(const struct mq_baseline *baseline, const struct mq_view *reader,
                                const struct mq_text *text,
                                const struct mq_protocol_options *protocol,
                                struct mq_text_windows *windows, bool *other_text, moeq_error *err);

#endif
