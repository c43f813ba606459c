/* fit.c: rows, and which of them to take. */
#include "fit_int.h"

#include "checked.h"
#include "error.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

const char *mq_fit_verdict_name(enum mq_fit_verdict verdict)
{
    static const char *const names[] = {
        [MQ_FIT_FITS] = "fits",
        [MQ_FIT_SHORTER] = "shorter_context",
        [MQ_FIT_OFFLOAD] = "offload",
        [MQ_FIT_NO] = "does_not_fit",
    };
    return names[verdict];
}

moeq_status mq_fit_begin(const struct mq_view *view, const struct mq_fit_target *target,
                         uint64_t context, const struct mq_kv_kind *kv, struct mq_fit *fit,
                         moeq_error *err)
{
    enum { DEFAULT_CONTEXT = 8192 };
    if (!context)
        context = mq_min_u64(view->hparams.max_positions, DEFAULT_CONTEXT);
    if (context > MQ_FIT_MAX_CONTEXT)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a context of %" PRIu64 " tokens: at most %d",
                       context, MQ_FIT_MAX_CONTEXT);
    memset(fit, 0, sizeof *fit);
    fit->view = view;
    fit->target = *target;
    fit->context = context;
    fit->kv = kv;
    return mq_fit_measure(fit, err);
}

/* Of a tensor in a runtime's folder: scales of several blocks count once. */
static uint64_t folder_bytes(const struct mq_runtime_form *form, const struct mq_plan_entry *e)
{
    const struct mq_split *split = mq_split_find(form->format, e->level);
    uint64_t bytes = 0;
    if (!split || e->tensor->cols % e->level->block_weights)
        return e->size_bytes;
    for (uint32_t i = 0; i < split->parts_count; i++)
        bytes += mq_split_rows(split, i, e->tensor->rows) *
                 mq_split_row_bytes(split, i, e->tensor->cols);
    return bytes;
}

/* What files have instead of blocks row by row: the source's own, or with a form those of a folder. */
static void take_bytes(const struct mq_view *view, const struct mq_runtime_form *form,
                       struct mq_plan *plan)
{
    plan->total = (struct mq_plan_total){0};
    memset(plan->by_class, 0, sizeof plan->by_class);
    for (size_t i = 0; i < view->tensors_count; i++) {
        struct mq_plan_entry *e = &plan->entries[i];
        e->size_bytes = form ? folder_bytes(form, e) : mq_tensor_stored_bytes(e->tensor);
        mq_plan_total_add(&plan->total, e->tensor, e->size_bytes);
        mq_plan_total_add(&plan->by_class[mq_view_class(view, e->tensor->role)], e->tensor,
                          e->size_bytes);
    }
}

static moeq_status add_row(struct mq_fit *fit, const char *name, const struct mq_policy *policy,
                           bool as_stored, moeq_error *err)
{
    if (fit->rows_count == MQ_FIT_MAX_ROWS)
        return mq_fail(err, MOEQ_LIMIT, "at most %d levels at once", MQ_FIT_MAX_ROWS);
    struct mq_fit_row *row = &fit->rows[fit->rows_count];
    struct mq_plan *plan = NULL;
    struct mq_fit_parts parts;
    *row =
        (struct mq_fit_row){.name = name, .kld_mean = NAN, .ppl_ratio = NAN, .exact_set_rate = NAN};
    MQ_TRY(mq_plan_create_sizes(fit->view, policy, &plan, err));
    row->as_stored = as_stored;
    const struct mq_runtime_form *form =
        mq_runtime_form_of(mq_fit_target_runtime(&fit->target), name);
    if (as_stored || form)
        take_bytes(fit->view, as_stored ? NULL : form, plan);
    row->weights = plan->total.weights;
    row->weight_bytes = plan->total.bytes;
    row->bits_per_weight = mq_bits_per_weight(plan->total.bytes, plan->total.weights);
    row->expert_bits = mq_bits_per_weight(plan->by_class[MQ_CLASS_EXPERTS].bytes,
                                          plan->by_class[MQ_CLASS_EXPERTS].weights);
    for (size_t i = 0; i < fit->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        row->quantized |= e->level->quantized;
        row->requantized |= e->source->quantized && e->level != e->source;
    }
    const moeq_status status = mq_fit_collect(fit, plan, &parts, row, err);
    if (status == MOEQ_OK) {
        mq_fit_place(&parts, row);
        fit->rows_count++;
    }
    mq_plan_free(plan);
    return status;
}

moeq_status mq_fit_add(struct mq_fit *fit, const char *name, const struct mq_policy *policy,
                       moeq_error *err)
{
    return add_row(fit, name, policy, false, err);
}

moeq_status mq_fit_add_stored(struct mq_fit *fit, const char *name, moeq_error *err)
{
    const struct mq_policy as_stored = {0};
    return add_row(fit, name, &as_stored, true, err);
}

/* More bytes than the source's say no more than it does. */
static bool is_blown_up(const struct mq_fit *fit, const struct mq_fit_row *row)
{
    const struct mq_fit_row *first = &fit->rows[0]; /* where mq_fit_add_usual puts it */
    return first->as_stored && row != first && row->weight_bytes >= first->weight_bytes;
}

int mq_fit_best(const struct mq_fit *fit)
{
    int best = -1;
    if (fit->rows_count && fit->rows[0].as_stored && fit->rows[0].verdict == MQ_FIT_FITS)
        return 0;
    for (size_t i = 0; i < fit->rows_count; i++) {
        const struct mq_fit_row *r = &fit->rows[i], *b = best < 0 ? NULL : &fit->rows[best];
        if (r->verdict != MQ_FIT_FITS)
            continue;
        bool better = !b;
        if (b && r->has_quality && b->has_quality)
            better = r->kld_mean < b->kld_mean ||
                     (r->kld_mean == b->kld_mean && r->weight_bytes < b->weight_bytes);
        else if (b && r->has_quality == b->has_quality)
            better = r->weight_bytes > b->weight_bytes;
        else if (b)
            better = r->has_quality;
        best = better ? (int)i : best;
    }
    return best;
}

static double offload_rate(const struct mq_fit_row *row)
{
    return mq_fit_row_offload(row)->tokens_per_second;
}

uint64_t mq_fit_row_host_bytes(const struct mq_fit_row *row)
{
    return mq_fit_row_offload(row)->bytes + row->host_embedding_bytes;
}

/* Of the rows larger than `least` that can be split so that the host holds its part: the largest that is as
 * fast as asked for; else, if none is, the smallest, or where nothing fits the fastest, or what the host
 * is least too small for. */
static int choose_offload(const struct mq_fit *fit, uint64_t least, double rate, bool nothing_fits)
{
    int large = -1, small = -1, fast = -1, near = -1;
    for (size_t i = 0; i < fit->rows_count; i++) {
        const struct mq_fit_row *r = &fit->rows[i];
        if (!mq_fit_row_offload(r) || r->weight_bytes <= least || is_blown_up(fit, r))
            continue;
        if (near < 0 || mq_fit_row_host_bytes(r) < mq_fit_row_host_bytes(&fit->rows[near]))
            near = (int)i;
        if (mq_fit_row_host_bytes(r) > mq_fit_target_host(&fit->target))
            continue;
        if (offload_rate(r) >= rate &&
            (large < 0 || r->weight_bytes > fit->rows[large].weight_bytes))
            large = (int)i;
        if (small < 0 || r->weight_bytes < fit->rows[small].weight_bytes)
            small = (int)i;
        if (fast < 0 || offload_rate(r) > offload_rate(&fit->rows[fast]))
            fast = (int)i;
    }
    if (large >= 0 || !nothing_fits)
        return large >= 0 ? large : small;
    return fast >= 0 ? fast : near;
}

/* Output of 3 bits and worse: see the bands of report_doc.h, and bits where nothing was measured. */
static bool is_poor(const struct mq_fit_row *row)
{
    return row->has_quality ? row->kld_mean > 0.1 : row->expert_bits < 4;
}

struct mq_fit_choice mq_fit_choose(const struct mq_fit *fit)
{
    const int on_card = mq_fit_best(fit);
    const struct mq_fit_row *here = on_card < 0 ? NULL : &fit->rows[on_card];
    const double rate = here ? here->tokens_per_second / 2 : MQ_FIT_READING;
    const int offload = choose_offload(fit, here ? here->weight_bytes : 0, rate, !here);
    struct mq_fit_choice c = {on_card, offload, on_card};
    if (offload < 0)
        return c;
    const struct mq_fit_row *there = &fit->rows[offload];
    const bool worth = here && is_poor(here) && !is_poor(there) && offload_rate(there) >= rate &&
                       rate > 0 && (!here->has_quality || there->has_quality);
    if (!here || worth)
        c.take = offload;
    return c;
}
