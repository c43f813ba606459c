/*
 * referee_merge.c: what the processes of a job have seen, brought together.
 *
 * Tokens' figures stand with those that had the head, each for its own windows; what is counted and summed up of a layer
 * is spread over those that ran it, and adds up exactly.
 */
#include "referee_int.h"

#include "error.h"

#include <stdlib.h>
#include <string.h>

/* Bytes that are written one after the other, or read again into what they were of; NULL: counted. */
struct cursor {
    char *bytes;
    size_t at;
    bool reads;
};

static void move(struct cursor *c, void *values, size_t n)
{
    if (c->bytes && c->reads)
        memcpy(values, c->bytes + c->at, n);
    else if (c->bytes)
        memcpy(c->bytes + c->at, values, n);
    c->at += n;
}

/* ---- of windows ---- */

static void move_windows(const struct mq_referee *r, const struct mq_part *part, struct cursor *c)
{
    const struct mq_text_windows *text = r->text;
    const size_t length = text->windows.length, windows = part->window_end - part->window_begin;
    const size_t from = part->window_begin * text->scored_window,
                 scored = windows * text->scored_window;
    if (!part->head)
        return;
    for (size_t a = 0; a < r->arms_count; a++) {
        struct arm_record *record = &r->records[a];
        move(c, record->nll + from, scored * sizeof *record->nll);
        if (a == 0)
            continue;
        move(c, record->kld + from, scored * sizeof *record->kld);
        move(c, record->same_top + from, scored * sizeof *record->same_top);
        if (r->most_experts)
            move(c, record->tokens + part->window_begin * length,
                 windows * length * sizeof *record->tokens);
    }
}

/* A window's slots are those of the choices that it holds. */
static void move_tasks(const struct mq_referee *r, const struct mq_part *part, struct cursor *c)
{
    const struct mq_task_set *tasks = r->text->tasks;
    if (!part->head)
        return;
    for (size_t a = 0; a < r->arms_count; a++)
        for (size_t i = tasks->window_sequences[part->window_begin];
             i < tasks->window_sequences[part->window_end]; i++) {
            const struct mq_task_sequence *s = &tasks->sequences[i];
            move(c, r->records[a].task_nll + s->slot, (s->end - s->from) * sizeof(double));
        }
}

typedef void move_part(const struct mq_referee *r, const struct mq_part *part, struct cursor *c);

static moeq_status exchange(const struct mq_referee *r, const struct mq_part *parts,
                            move_part *move_of, moeq_error *err)
{
    const struct mq_peers *peers = r->context->peers;
    struct cursor mine = {0};
    void *all = NULL;
    uint64_t *begin = calloc((size_t)peers->count + 1, sizeof *begin);
    moeq_status status = MOEQ_OK;
    move_of(r, &parts[peers->rank], &mine);
    mine.bytes = malloc(mine.at + 1);
    if (!mine.bytes || !begin)
        MQ_TRY_OUT(mq_fail_memory(err, "summing up an evaluation"));
    mine.at = 0;
    move_of(r, &parts[peers->rank], &mine);
    MQ_TRY_OUT(mq_peers_gather_all(peers, mine.bytes, mine.at, &all, begin, err));
    for (unsigned rank = 0; rank < peers->count; rank++) {
        struct cursor theirs = {.bytes = (char *)all + begin[rank], .reads = true};
        move_of(r, &parts[rank], &theirs);
    }
out:
    free(mine.bytes);
    free(all);
    free(begin);
    return status;
}

moeq_status mq_referee_merge_tasks(struct mq_referee *r, const struct mq_arm *arms,
                                   const struct mq_windows *windows,
                                   const struct mq_observer *observer, moeq_error *err)
{
    struct mq_part *parts;
    if (mq_peers_count(r->context->peers) == 1)
        return MOEQ_OK;
    MQ_TRY(mq_evaluation_parts(r->context, arms, r->arms_count, windows, observer, &parts, NULL,
                               err));
    const moeq_status status = exchange(r, parts, move_tasks, err);
    free(parts);
    return status;
}

/* ---- of layers ---- */

/* Everything that adds up, one after the other. */
static void move_sums(const struct mq_referee *r, struct cursor *c)
{
    const size_t layers = r->arms[0].view->hparams.layers;
    move(c, r->routed, layers * sizeof *r->routed);
    move(c, (void *)r->margin_choices, sizeof r->margin_choices);
    for (size_t a = 0; a < r->arms_count; a++) {
        struct arm_record *record = &r->records[a];
        move(c, record->choices, layers * r->most_experts * sizeof *record->choices);
        if (a == 0)
            continue;
        move(c, record->margin_flips, sizeof record->margin_flips);
        move(c, record->layers, layers * sizeof *record->layers);
    }
}

static moeq_status add_up(const struct mq_referee *r, moeq_error *err)
{
    struct cursor c = {0};
    move_sums(r, &c);
    uint64_t *sums = malloc(c.at + 1);
    if (!sums)
        return mq_fail_memory(err, "summing up an evaluation");
    const size_t count = c.at / sizeof *sums;
    c = (struct cursor){.bytes = (char *)sums};
    move_sums(r, &c);
    const moeq_status status = mq_peers_reduce(r->context->peers, MQ_SUM, sums, count, err);
    c = (struct cursor){.bytes = (char *)sums, .reads = true};
    if (status == MOEQ_OK)
        move_sums(r, &c);
    free(sums);
    return status;
}

moeq_status mq_referee_merge(struct mq_referee *r, const struct mq_observer *observer,
                             moeq_error *err)
{
    struct mq_part *parts;
    if (mq_peers_count(r->context->peers) == 1)
        return MOEQ_OK;
    MQ_TRY(mq_evaluation_parts(r->context, r->arms, r->arms_count, &r->text->windows, observer,
                               &parts, NULL, err));
    moeq_status status = exchange(r, parts, move_windows, err);
    if (status == MOEQ_OK)
        status = add_up(r, err);
    free(parts);
    return status;
}
