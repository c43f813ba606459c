/*
 * gate.h: limits on metrics, for `verify --gate`: broken or kept, nothing between.
 *
 *     {
 *       "moeq_gate": 1,
 *       "token_ids_crc32": "1a2b3c4d",          optional: the tokens that it is about
 *       "compute": "int8",                      the models' arithmetic; absent: f32
 *       "baseline_compute": "f32",              the baseline's, where it is another
 *       "made": {...},                          optional, not read: how it came about
 *       "limits": {
 *         "kld.mean": {"max": 0.02},
 *         "code/kld.mean": {"max": 0.03},         of the text that is called "code"
 *         "routing.layers.3.exact_set": {"min": 0.93}
 *       }
 *     }
 *
 * Strict, because a gate that is not understood must not pass: unknown keys and metrics, no limits,
 * a limit without "min" or "max", and a metric that has no value are failures. docs/gates.md
 * explains it to users.
 */
#ifndef MQ_GATE_H
#define MQ_GATE_H

#include "claim.h"
#include "metrics.h"

/* One bound of one metric. */
struct mq_gate_limit {
    const char *name;
    bool is_max;
    double bound;
    /* by mq_gate_resolve: */
    struct mq_metric metric;
    const char *text; /* the named text that it is about; NULL: all there is */
    size_t row; /* of the model that it is about; 0: the last one's, see mq_gate_for_all */
    /* by mq_gate_judge: */
    const char *model; /* the row's name; NULL: the last one's */
    struct mq_estimate found;
    bool kept;
};

struct mq_gate {
    char *path;
    struct mq_gate_limit *limits; /* in the file's order; a metric with both bounds has two */
    size_t count, broken;
    bool has_ids_crc32;
    uint32_t ids_crc32;
    enum mq_compute compute, baseline_compute;
    struct mq_arena *arena;
};

moeq_status mq_gate_read(const char *path, struct mq_gate **gate, moeq_error *err);
void mq_gate_free(struct mq_gate *gate); /* NULL is fine */

/* Finds the metrics of all names; to be called before the evaluation, which may take hours. */
moeq_status mq_gate_resolve(struct mq_gate *gate, const struct mq_view *view, bool pair,
                            moeq_error *err);

/* Repeats the limits for each of `models` models; of B minus A not for the first, which is A. After
 * mq_gate_resolve; without it, the last model alone is judged. */
moeq_status mq_gate_for_all(struct mq_gate *gate, size_t models, moeq_error *err);

/* Fails if the gate is about other tokens, texts or another arithmetic than the result: of that only what
 * mq_comparison_options.before finds is looked at. */
moeq_status mq_gate_check(const struct mq_gate *gate, const struct mq_comparison *result,
                          moeq_error *err);

/* Compares the last model of the result, or all of them, with the limits. Fails where mq_gate_check does. */
moeq_status mq_gate_judge(struct mq_gate *gate, const struct mq_comparison *result,
                          moeq_error *err);

/* One line about a limit, kept or broken: "kld.mean 0.045 > max 0.02 by 0.025 (se 0.0008)"; of all
 * models with its name before it: "A: kld.mean ...". */
void mq_gate_describe(const struct mq_gate_limit *limit, char *text, size_t room);

/* The last model's file, or its level. */
const char *mq_gate_judged_name(const struct mq_comparison *result);

/* Writes a gate that the last model of the result passes, and any other that is at most `margin`
 * (0.1: 10 %) further from perfect: see mq_figure_ideal. texts: with limits for each named text, too.
 * claims, here and below: what the caller has claimed (claim.h), or NULL. */
moeq_status mq_gate_write(const char *path, const struct mq_comparison *result, double margin,
                          bool texts, const struct mq_claims *claims, moeq_error *err);

/* JUnit XML of a judgement that there is none of: one test case, `what`, that could not be run, and why. */
moeq_status mq_gate_write_junit_error(const char *path, const char *what, const char *reason,
                                      moeq_error *err);

/* The judgement as JUnit XML: one test case a limit. */
moeq_status mq_gate_write_junit(const char *path, const struct mq_gate *gate,
                                const struct mq_comparison *result, const struct mq_claims *claims,
                                moeq_error *err);

/* What a verification has to do with gates; NULL: not asked for. */
struct mq_gate_request {
    const char *limits; /* the gate to judge by, */
    bool all;           /* every model and not the last alone; */
    const char *junit;  /* the judgement, to be written here */
    const char *write;  /* a gate to write, */
    double margin;      /* by this margin, */
    bool texts;         /* with limits for each named text; */
    const struct mq_claims *claims;
};

/* Before the evaluation: *gate is read and resolved; NULL where none is to be judged by. */
moeq_status mq_gate_prepare(const struct mq_gate_request *request, const struct mq_view *view,
                            size_t models, struct mq_gate **gate, moeq_error *err);
/* After it: judges, and writes what is asked for. */
moeq_status mq_gate_conclude(const struct mq_gate_request *request, struct mq_gate *gate,
                             const struct mq_comparison *result, moeq_error *err);

#endif
