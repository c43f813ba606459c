/*
 * tasks.h: multiple choice by log-likelihood: which choice does a model find most likely behind its context?
 *
 * As lm-evaluation-harness does (lm_eval/api/model.py, TemplateLM._encode_pair):
 *
 *     blanks at the context's end go to the choice's beginning
 *     tokens of the context, then of context + choice together; the choice's are what comes behind as many as the
 *     context has. Both with the token that the tokenizer begins a text with (an empty context is that token alone)
 *     log-likelihood of a choice: the sum over its tokens of ln p(token | those before)
 *
 * The choice with the largest sum is the model's (of equals the first): its accuracy is lm-eval's `acc`. Divided by the
 * choice's bytes in UTF-8, without blanks at its beginning, it is `acc_bytes`; and `acc_norm`, which divides by
 * characters, where those are ASCII.
 *
 * Sequences are windows of an evaluation of their own, as long as the longest, the others padded at their ends: attention
 * is causal, so no token sees what stands behind it. (In the text's windows, of 512 tokens and more, most would be
 * padding, which costs far more than reading the weights once more.) Choices of one token share a window.
 */
#ifndef MQ_TASKS_H
#define MQ_TASKS_H

#include "evaluator.h"
#include "statistics.h"
#include "tasks_file.h"

/* A choice behind its context. */
struct mq_task_sequence {
    size_t window; /* number among the tasks' windows */
    /* The logits at positions [from, end) are scored: each predicts the next token, */
    uint32_t from, end;
    int32_t last;   /* and those at end - 1 this one, which the window may lack */
    uint32_t bytes; /* of the choice */
    size_t slot;    /* of its first score */
};

struct mq_task {
    size_t first; /* sequence */
    uint32_t choices, answer;
};

struct mq_task_group { /* a file */
    char *name;
    size_t first, count; /* tasks */
};

struct mq_task_set {
    struct mq_task_group *groups;
    size_t groups_count;
    struct mq_task *tasks;
    size_t tasks_count;
    struct mq_task_sequence *sequences;
    size_t sequences_count;
    size_t windows, length; /* tokens of each */
    int32_t *ids;           /* [windows][length] */
    uint32_t ids_crc32;
    size_t *window_sequences; /* [windows + 1]: the first sequence of each */
    size_t scored;            /* slots */
};

static inline struct mq_windows mq_task_windows(const struct mq_task_set *set)
{
    return (struct mq_windows){set->ids, set->windows, set->length};
}

/* Tokenizes tasks with the model's tokenizer. Fails for a choice that the model's positions do not hold, or that adds no
 * token to its context, naming the line. */
moeq_status mq_task_set_create(const struct mq_view *view, const struct mq_task_files *files,
                               struct mq_task_set **set, moeq_error *err);
/* An empty set with room for so many; NULL if memory is short. */
struct mq_task_set *mq_task_set_allocate(size_t groups, size_t tasks, size_t sequences);
/* Sets window_sequences, slots, `scored` and the ids' CRC of what is otherwise complete. False if memory is short. */
bool mq_task_set_index(struct mq_task_set *set);
moeq_status mq_task_set_copy(const struct mq_task_set *from, struct mq_task_set **to,
                             moeq_error *err);
void mq_task_set_free(struct mq_task_set *set); /* NULL is fine */

/* Whether the logits at a position of a window are scored. */
bool mq_task_wants(const struct mq_task_set *set, size_t window, size_t position);

/* Of one model: shares of tasks. Agreement: the choice is the original's, whether it is right or not; NaN of the original. */
struct mq_task_result {
    const char *name; /* the file's; of all together NULL */
    size_t count;
    struct mq_estimate accuracy, accuracy_norm, agreement, agreement_norm;
};

/* Of group number `group`, or of all (groups_count). nll: [scored]; base: the original's, or NULL. */
moeq_status mq_task_judge(const struct mq_task_set *set, size_t group, const double *nll,
                          const double *base, struct mq_task_result *result, moeq_error *err);

#endif
