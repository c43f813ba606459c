/* calibrated_states.c: see the header. */
#include "calibrated_states.h"

#include <time.h>

/* States are kept when writing them takes no more than this part of the time. */
enum { LEAST_TIMES = 20 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

uint64_t mq_calibrated_states_bytes(const struct mq_calibrated *c)
{
    return (uint64_t)c->windows->count * c->windows->length * c->view->hparams.hidden *
           sizeof(float);
}

void mq_calibrated_states_begin(struct mq_calibrated_states *s, double least_seconds)
{
    s->least_seconds = least_seconds != 0 ? least_seconds : MQ_CALIBRATED_KEEP_SECONDS;
    s->since = now();
}

moeq_status mq_calibrated_states_restore(struct mq_calibrated_states *s, size_t tokens,
                                         float *hidden, uint32_t *layer, moeq_error *err)
{
    struct mq_calibrated_result *r = s->result;
    struct mq_convert_point point = {.bytes = (uint64_t)tokens * s->hidden * sizeof(float)};
    moeq_error why = {0};
    bool there = false;
    (void)err;
    if (s->least_seconds < 0)
        return MOEQ_OK;
    if (mq_convert_kept(s->sink, &point, &there, &why) != MOEQ_OK ||
        (there && mq_convert_load_kept(s->sink, hidden, &why) != MOEQ_OK)) {
        r->states_error = why;
        return MOEQ_OK; /* from the first layer on, then */
    }
    if (!there)
        return MOEQ_OK;
    *layer = r->layers_resumed = (uint32_t)point.step;
    r->matrices = point.own[0];
    r->experts = point.own[1];
    r->few = point.own[2];
    r->without = point.own[3];
    return MOEQ_OK;
}

moeq_status mq_calibrated_states_keep(struct mq_calibrated_states *s, uint32_t layer, size_t tokens,
                                      const float *hidden, moeq_error *err)
{
    struct mq_calibrated_result *r = s->result;
    const double begin = now(), least = s->least_seconds > LEAST_TIMES * s->writing
                                            ? s->least_seconds
                                            : LEAST_TIMES * s->writing;
    const struct mq_convert_point point = {
        .step = layer,
        .own = {r->matrices + *s->attention_matrices, r->experts, r->few, r->without},
        .bytes = (uint64_t)tokens * s->hidden * sizeof(float)};
    moeq_error why = {0};
    if (layer == 0 || layer == r->layers_resumed || s->least_seconds < 0 ||
        begin - s->since < least)
        return MOEQ_OK;
    MQ_TRY(mq_convert_note(s->sink, err));
    if (mq_convert_keep(s->sink, &point, hidden, &why) != MOEQ_OK) {
        r->states_error = why;
        s->least_seconds = -1;
        return MOEQ_OK;
    }
    r->states_kept++;
    s->since = now();
    s->writing = s->since - begin;
    return MOEQ_OK;
}
