/*
 * samples.h: what a model and quantized ones say after a few prompts, for people to read: a section
 * of sweep's report. Greedy, each by itself.
 */
#ifndef MQ_SAMPLES_H
#define MQ_SAMPLES_H

#include "comparison.h"
#include "generation.h"
#include "json_tree.h"
#include "prompt.h"

enum { MQ_SAMPLES_MAX = 64, MQ_SAMPLE_TOKENS = 64 };

/* One prompt, and the baseline's and each candidate's continuations. */
struct mq_sample {
    size_t line;           /* of the file */
    char *prompt, *system; /* system: of a chat; NULL: none */
    bool chat;
    struct mq_ids ids, ends;
    struct mq_generation *said; /* [1 + candidates] */
    char **texts;               /* [1 + candidates] */
};

struct mq_samples {
    const char *path;
    struct mq_sample samples[MQ_SAMPLES_MAX];
    size_t count, arms;
};

/* Reads a file: a prompt a line (empty lines are left out), or, where a line begins with '{', JSON:
 * {"prompt": TEXT} or {"chat": TEXT, "system": TEXT}. A message names the line. */
moeq_status mq_samples_read(const char *path, struct mq_samples *samples, moeq_error *err);
void mq_samples_free(struct mq_samples *samples);

/* Tokenizes the prompts, and refuses what leaves no room: before a long evaluation. */
moeq_status mq_samples_prepare(const struct mq_view *view, const char *date,
                               struct mq_samples *samples, moeq_error *err);
/* Runs the baseline and the candidates, one after the other. */
moeq_status mq_samples_run(const struct mq_context *context, const struct mq_view *baseline,
                           const struct mq_candidate *candidates, size_t count,
                           struct mq_samples *samples, moeq_error *err);

/* {"tokens", "prompts": [{"prompt" or "chat", "system", "baseline": {...}, "rows": [{"name", "text",
 * ..., "parting"}]}]}, as mq_generation_json and mq_parting_json have them. */
cJSON *mq_samples_json(struct mq_json_tree *tree, const struct mq_view *view,
                       const struct mq_candidate *candidates, const struct mq_samples *samples);

#endif
