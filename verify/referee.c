/*
 * referee.c: collecting per-token figures and reducing them.
 *
 * Tokens are judged in parallel, each into its own slot; sums run over the slots in order on one
 * thread, those of a layer are exact. So results do not depend on threads, nor on how the evaluator cuts its passes
 * and divides them among processes.
 */
#include "referee_int.h"

#include "error.h"
#include "kld.h"
#include "portable_math.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { ROUTE_BLOCK = 512 }; /* tokens judged in parallel before their figures are summed */

static const struct mq_hparams *hparams(const struct mq_referee *r)
{
    return &r->arms[0].view->hparams;
}

static const struct mq_layer *layer_of(const struct mq_referee *r, uint32_t layer)
{
    return &r->arms[0].view->program->layers[layer]->layer;
}

static uint32_t most_experts(const struct mq_referee *r)
{
    uint32_t most = 0;
    for (uint32_t layer = 0; layer < hparams(r)->layers; layer++)
        if (layer_of(r, layer)->ffn.router.experts > most)
            most = layer_of(r, layer)->ffn.router.experts;
    return most;
}

/* calloc that tells overflow and out of memory alike, and never returns NULL for nothing. */
static void *allocate(size_t count, size_t size)
{
    return calloc(count ? count : 1, size);
}

static bool allocate_arm(struct mq_referee *r, size_t a)
{
    struct arm_record *record = &r->records[a];
    const size_t scored = mq_scored_tokens(r->text);
    const size_t tokens = r->text->windows.count * r->text->windows.length;
    record->nll = allocate(scored, sizeof *record->nll);
    record->choices =
        allocate((size_t)hparams(r)->layers * r->most_experts, sizeof *record->choices);
    if (r->text->tasks &&
        !(record->task_nll = allocate(r->text->tasks->scored, sizeof *record->task_nll)))
        return false;
    if (a == 0)
        return record->nll && record->choices;
    record->kld = allocate(scored, sizeof *record->kld);
    record->same_top = allocate(scored, sizeof *record->same_top);
    record->tokens = allocate(tokens, sizeof *record->tokens);
    record->layers = allocate(hparams(r)->layers, sizeof *record->layers);
    return record->nll && record->choices && record->kld && record->same_top && record->tokens &&
           record->layers;
}

moeq_status mq_referee_create(const struct mq_context *context, const struct mq_arm *arms,
                              size_t arms_count, const struct mq_text_windows *text,
                              struct mq_referee **out, moeq_error *err)
{
    *out = NULL;
    struct mq_referee *r = calloc(1, sizeof *r);
    if (!r)
        return mq_fail_memory(err, "preparing an evaluation");
    r->context = context;
    r->arms = arms;
    r->arms_count = arms_count;
    r->text = text;
    r->records = allocate(arms_count, sizeof *r->records);
    r->routed = allocate(hparams(r)->layers, sizeof *r->routed);
    r->exps_stride = mq_softmax_room(hparams(r)->vocab);
    r->most_experts = most_experts(r);
    r->scratch_stride = mq_routing_scratch(r->most_experts);
    if (arms_count > 1) {
        r->exps = allocate(context->threads * r->exps_stride, sizeof *r->exps);
        r->scratch = allocate(context->threads * r->scratch_stride, sizeof *r->scratch);
        r->figures = allocate(ROUTE_BLOCK, sizeof *r->figures);
    }
    bool ok = r->records && r->routed && (arms_count == 1 || (r->exps && r->scratch && r->figures));
    for (size_t a = 0; a < arms_count && ok; a++)
        ok = allocate_arm(r, a);
    if (!ok) {
        mq_referee_free(r);
        return mq_fail_memory(err, "preparing an evaluation");
    }
    *out = r;
    return MOEQ_OK;
}

void mq_referee_free(struct mq_referee *r)
{
    if (!r)
        return;
    for (size_t a = 0; r->records && a < r->arms_count; a++) {
        free(r->records[a].nll);
        free(r->records[a].kld);
        free(r->records[a].same_top);
        free(r->records[a].tokens);
        free(r->records[a].layers);
        free(r->records[a].choices);
        free(r->records[a].task_nll);
    }
    free(r->records);
    free(r->routed);
    free(r->exps);
    free(r->scratch);
    free(r->figures);
    free(r);
}

/* ---- while the evaluation runs ---- */

static bool wants_logits(void *user, size_t token)
{
    const struct mq_text_windows *text = ((const struct mq_referee *)user)->text;
    const size_t position = token % text->windows.length;
    return position >= text->first_scored && position + 1 < text->windows.length;
}

/* One token: row `row` of every arm's logits. Returns the first arm whose logits are not finite, or
 * arms_count. */
static size_t judge_logits(struct mq_referee *r, size_t token, size_t row,
                           const float *const *logits, double *exps)
{
    const struct mq_text_windows *text = r->text;
    const size_t length = text->windows.length, vocab = hparams(r)->vocab;
    const size_t slot = token / length * text->scored_window + token % length - text->first_scored;
    const int32_t target = text->windows.ids[token + 1];
    const enum mq_isa isa = r->context->isa;
    const float *base = logits[0] + row * vocab;
    struct mq_softmax base_softmax;
    mq_softmax_of(isa, base, vocab, exps, &base_softmax);
    if (!base_softmax.finite)
        return 0;
    r->records[0].nll[slot] = mq_softmax_nll(&base_softmax, base, target);
    for (size_t a = 1; a < r->arms_count; a++) {
        struct arm_record *record = &r->records[a];
        const float *arm = logits[a] + row * vocab;
        struct mq_softmax softmax;
        mq_softmax_of(isa, arm, vocab, NULL, &softmax);
        if (!softmax.finite)
            return a;
        record->nll[slot] = mq_softmax_nll(&softmax, arm, target);
        record->kld[slot] = mq_softmax_kl(isa, base, &base_softmax, exps, arm, &softmax, vocab);
        record->same_top[slot] = softmax.top == base_softmax.top;
    }
    return r->arms_count;
}

static moeq_status on_logits(void *user, const size_t *token_index, size_t tokens,
                             const float *const *logits, moeq_error *err)
{
    struct mq_referee *r = user;
    size_t bad_row = SIZE_MAX, bad_arm = 0;
#pragma omp parallel num_threads(r->context->threads)
    {
        double *exps = r->exps ? r->exps + (size_t)omp_get_thread_num() * r->exps_stride : NULL;
#pragma omp for schedule(static)
        for (size_t i = 0; i < tokens; i++) {
            if (!wants_logits(r, token_index[i]))
                continue; /* given though not asked for */
            const size_t arm = judge_logits(r, token_index[i], i, logits, exps);
            if (arm < r->arms_count) {
#pragma omp critical(mq_referee_bad)
                if (i < bad_row) { /* the first one, whichever thread finds it */
                    bad_row = i;
                    bad_arm = arm;
                }
            }
        }
    }
    if (bad_row == SIZE_MAX)
        return MOEQ_OK;
    const size_t token = token_index[bad_row], length = r->text->windows.length;
    return mq_fail(
        err, MOEQ_UNSUPPORTED, "%s: arm '%s', window %zu, position %zu: logits are not finite",
        r->arms[bad_arm].view->path, r->arms[bad_arm].name, token / length, token % length);
}

/* Adds a block's figures: to the layer, and to each token. */
static void add_figures(struct arm_record *record, uint32_t layer, size_t first_token, size_t n,
                        const struct mq_routing_figures *figures, const uint8_t *bins)
{
    struct layer_sums *sums = &record->layers[layer];
    for (size_t i = 0; i < n; i++) {
        const double *m = figures[i].metric;
        for (int k = 0; k < MQ_ROUTING_COUNT; k++) {
            mq_fine_sum_add(&sums->sum[k], m[k]);
            mq_fine_sum_add(&sums->squares[k], m[k] * m[k]);
            record->tokens[first_token + i].metric[k] += m[k];
        }
        record->margin_flips[bins[i]] += m[MQ_ROUTING_CR2] != 0;
    }
    for (int k = 0; k < MQ_ROUTING_COUNT; k++) {
        mq_fine_sum_carry(&sums->sum[k]);
        mq_fine_sum_carry(&sums->squares[k]);
    }
}

/* Counts how often each expert was chosen. */
static void count_choices(struct mq_referee *r, uint32_t layer, size_t tokens,
                          const struct mq_routes *routes)
{
    for (size_t a = 0; a < r->arms_count; a++) {
        uint64_t *choices = r->records[a].choices + (size_t)layer * r->most_experts;
        for (size_t i = 0; i < tokens * routes[a].router->top_k; i++)
            choices[routes[a].experts[i]]++;
    }
}

static double *scratch_of(const struct mq_referee *r)
{
    return r->scratch + (size_t)omp_get_thread_num() * r->scratch_stride;
}

/* Judges a block of tokens, the first of which is the routes' `from`. */
static void judge_routes(struct mq_referee *r, uint32_t layer, size_t first_token, size_t from,
                         size_t n, const struct mq_routes *routes)
{
    uint8_t bins[ROUTE_BLOCK];
    const enum mq_isa isa = r->context->isa;
#pragma omp parallel for schedule(static) num_threads(r->context->threads)
    for (size_t i = 0; i < n; i++)
        bins[i] = (uint8_t)mq_margin_bin(
            mq_routing_margin(isa, &routes[0], from + i, scratch_of(r)));
    for (size_t i = 0; i < n; i++)
        r->margin_choices[bins[i]]++;
    for (size_t a = 1; a < r->arms_count; a++) {
#pragma omp parallel for schedule(static) num_threads(r->context->threads)
        for (size_t i = 0; i < n; i++)
            mq_routing_compare(isa, &routes[0], &routes[a], from + i, scratch_of(r),
                               &r->figures[i]);
        add_figures(&r->records[a], layer, first_token + from, n, r->figures, bins);
    }
}

static moeq_status on_router(void *user, uint32_t layer, size_t first_token, size_t tokens,
                             const struct mq_routes *routes, moeq_error *err)
{
    struct mq_referee *r = user;
    (void)err;
    r->routed[layer] = 1;
    if (r->arms_count == 1)
        return MOEQ_OK;
    count_choices(r, layer, tokens, routes);
    for (size_t from = 0; from < tokens; from += ROUTE_BLOCK)
        judge_routes(r, layer, first_token, from,
                     tokens - from < ROUTE_BLOCK ? tokens - from : ROUTE_BLOCK, routes);
    return MOEQ_OK;
}

static size_t carry_bytes(void *user)
{
    const struct mq_referee *r = user;
    return r->most_experts ? (r->arms_count - 1) * sizeof *r->figures : 0;
}

/* [arms but the baseline][tokens] */
static void pack(void *user, size_t first_token, size_t tokens, void *out)
{
    const struct mq_referee *r = user;
    struct mq_routing_figures *figures = out;
    for (size_t a = 1; a < r->arms_count; a++)
        memcpy(figures + (a - 1) * tokens, r->records[a].tokens + first_token,
               tokens * sizeof *figures);
}

static void unpack(void *user, size_t first_token, size_t tokens, const void *in)
{
    const struct mq_referee *r = user;
    const struct mq_routing_figures *figures = in;
    for (size_t a = 1; a < r->arms_count; a++)
        memcpy(r->records[a].tokens + first_token, figures + (a - 1) * tokens,
               tokens * sizeof *figures);
}

struct mq_observer mq_referee_observer(struct mq_referee *r)
{
    return (struct mq_observer){.user = r,
                                .carry_bytes = carry_bytes,
                                .pack = pack,
                                .unpack = unpack,
                                .on_router = r->arms_count > 1 ? on_router : NULL,
                                .wants_logits = wants_logits,
                                .on_logits = on_logits};
}

/* ---- tasks ---- */

static bool task_wants_logits(void *user, size_t token)
{
    const struct mq_task_set *tasks = ((const struct mq_referee *)user)->text->tasks;
    return mq_task_wants(tasks, token / tasks->length, token % tasks->length);
}

/* One token of a task's window: what it predicts is the next one, or the last of a choice that shares the window. */
static size_t judge_task(struct mq_referee *r, size_t token, size_t row, const float *const *logits)
{
    const struct mq_task_set *tasks = r->text->tasks;
    const size_t vocab = hparams(r)->vocab;
    const size_t at = token % tasks->length, window = token / tasks->length;
    for (size_t a = 0; a < r->arms_count; a++) {
        const float *arm = logits[a] + row * vocab;
        struct mq_softmax softmax;
        mq_softmax_of(r->context->isa, arm, vocab, NULL, &softmax);
        if (!softmax.finite)
            return a;
        for (size_t i = tasks->window_sequences[window]; i < tasks->window_sequences[window + 1];
             i++) {
            const struct mq_task_sequence *s = &tasks->sequences[i];
            const int32_t target = at + 1 < s->end ? tasks->ids[token + 1] : s->last;
            r->records[a].task_nll[s->slot + at - s->from] = mq_softmax_nll(&softmax, arm, target);
        }
    }
    return r->arms_count;
}

static moeq_status on_task_logits(void *user, const size_t *token_index, size_t tokens,
                                  const float *const *logits, moeq_error *err)
{
    struct mq_referee *r = user;
    size_t bad = tokens, bad_arm = 0;
#pragma omp parallel for schedule(static) num_threads(r->context->threads)
    for (size_t i = 0; i < tokens; i++) {
        if (!task_wants_logits(r, token_index[i]))
            continue;
        const size_t arm = judge_task(r, token_index[i], i, logits);
        if (arm < r->arms_count) {
#pragma omp critical(mq_referee_bad)
            if (i < bad) {
                bad = i;
                bad_arm = arm;
            }
        }
    }
    if (bad == tokens)
        return MOEQ_OK;
    const size_t length = r->text->tasks->length;
    return mq_fail(err, MOEQ_UNSUPPORTED,
                   "%s: arm '%s', choice %zu of the tasks, position %zu: logits are not finite",
                   r->arms[bad_arm].view->path, r->arms[bad_arm].name, token_index[bad] / length,
                   token_index[bad] % length);
}

moeq_status mq_referee_tasks(struct mq_referee *r, struct mq_arm *arms,
                             const struct mq_playback *playback, moeq_error *err)
{
    const struct mq_observer observer = {
        .user = r, .wants_logits = task_wants_logits, .on_logits = on_task_logits};
    if (!r->text->tasks)
        return MOEQ_OK;
    const struct mq_windows windows = mq_task_windows(r->text->tasks);
    const struct mq_playback *text = arms[0].playback;
    arms[0].playback = text ? playback : NULL;
    moeq_status status = mq_evaluate(r->context, arms, r->arms_count, &windows, &observer, err);
    if (status == MOEQ_OK)
        status = mq_referee_merge_tasks(r, arms, &windows, &observer, err);
    arms[0].playback = text;
    return status;
}

/* ---- afterwards ---- */

struct mq_perplexity mq_perplexity_of(const double *nll, size_t n)
{
    struct mq_perplexity p = {.nll = mq_estimate_mean(nll, n), .scored_tokens = n};
    p.ppl = mq_estimate_exp(p.nll);
    return p;
}

static uint32_t flip_group(double changed_layers)
{
    return changed_layers < MQ_FLIP_GROUPS ? (uint32_t)changed_layers : MQ_FLIP_GROUPS - 1;
}

/* Mean KL divergence by the number of layers that chose otherwise. `room`: a scratch of one double
 * a scored token. */
static void finish_flips(const struct mq_referee *r, const struct arm_record *record,
                         uint32_t routed_layers, double *room, struct mq_routing_result *result)
{
    const struct mq_text_windows *text = r->text;
    const size_t scored = mq_scored_tokens(text);
    result->flips_count = flip_group(routed_layers) + 1;
    for (uint32_t g = 0; g < result->flips_count; g++) {
        size_t n = 0;
        for (size_t slot = 0; slot < scored; slot++) {
            const size_t token = slot / text->scored_window * text->windows.length +
                                 slot % text->scored_window + text->first_scored;
            if (flip_group(record->tokens[token].metric[MQ_ROUTING_CR2]) == g)
                room[n++] = record->kld[slot];
        }
        result->flips[g] = (struct mq_flip_group){g, n, mq_estimate_mean(room, n)};
    }
}

static void shares(const uint64_t *choices, uint32_t experts, double total, double *load)
{
    for (uint32_t e = 0; e < experts; e++)
        load[e] = (double)choices[e] / total;
}

/* Expert loads of a layer, the result's `index`-th. */
static void finish_load(const struct mq_referee *r, const struct arm_record *record, size_t index,
                        struct mq_routing_result *result)
{
    struct mq_routing_layer *l = &result->layers[index];
    const uint32_t experts = l->experts;
    const size_t at = (size_t)l->layer * r->most_experts;
    const double total = (double)result->tokens * l->top_k;
    double *base = result->loads + 2 * index * r->most_experts, *arm = base + experts;
    shares(r->records[0].choices + at, experts, total, base);
    shares(record->choices + at, experts, total, arm);
    double sum = 0;
    for (uint32_t e = 0; e < experts; e++)
        sum += fabs(arm[e] - base[e]);
    l->base_load = base;
    l->load = arm;
    l->load_shift = sum / 2;
    result->load_shift += l->load_shift;
}

static void describe_layer(const struct mq_referee *r, uint32_t layer, struct mq_routing_layer *l)
{
    const struct mq_layer_ffn *ffn = &layer_of(r, layer)->ffn;
    l->layer = layer;
    l->experts = ffn->router.experts;
    l->top_k = ffn->router.top_k;
    l->shared = ffn->shared_rows || ffn->dense_rows;
    l->compares_scores = mq_router_compares_scores(&ffn->router);
}

static moeq_status finish_routing(const struct mq_referee *r, const struct arm_record *record,
                                  struct mq_routing_result *result, moeq_error *err)
{
    const size_t tokens = r->text->windows.count * r->text->windows.length;
    result->tokens = tokens;
    result->layers = allocate(hparams(r)->layers, sizeof *result->layers);
    result->loads =
        allocate((size_t)hparams(r)->layers * 2 * r->most_experts, sizeof *result->loads);
    double *room = allocate(tokens, sizeof *room);
    if (!result->layers || !result->loads || !room) {
        free(room);
        return mq_fail_memory(err, "summing up an evaluation");
    }
    for (uint32_t layer = 0; layer < hparams(r)->layers; layer++) {
        if (!r->routed[layer])
            continue;
        struct mq_routing_layer *l = &result->layers[result->layers_count++];
        describe_layer(r, layer, l);
        for (int k = 0; k < MQ_ROUTING_COUNT; k++)
            l->rates.metric[k] =
                mq_estimate_sums(mq_fine_sum_value(record->layers[layer].sum[k]),
                                 mq_fine_sum_value(record->layers[layer].squares[k]), tokens);
        finish_load(r, record, result->layers_count - 1, result);
    }
    result->load_shift /= (double)result->layers_count;
    for (int k = 0; k < MQ_ROUTING_COUNT; k++) {
        for (size_t t = 0; t < tokens; t++)
            room[t] = record->tokens[t].metric[k] / (double)result->layers_count;
        result->overall.metric[k] = mq_estimate_mean(room, tokens);
    }
    finish_flips(r, record, (uint32_t)result->layers_count, room, result);
    memcpy(result->margin_choices, r->margin_choices, sizeof result->margin_choices);
    memcpy(result->margin_flips, record->margin_flips, sizeof result->margin_flips);
    free(room);
    return MOEQ_OK;
}

static double routed_layers(const struct mq_referee *r)
{
    double n = 0;
    for (uint32_t layer = 0; layer < hparams(r)->layers; layer++)
        n += r->routed[layer] != 0;
    return n;
}

static bool any_router(const struct mq_referee *r)
{
    return routed_layers(r) > 0;
}

/* What `windows` windows from `first` on say of an arm's output. `room`: a double a scored token. */
static void finish_output(const struct mq_referee *r, size_t arm, size_t first, size_t windows,
                          double *room, struct mq_arm_result *result)
{
    const size_t from = first * r->text->scored_window, n = windows * r->text->scored_window;
    const struct arm_record *record = &r->records[arm];
    const double *base = r->records[0].nll + from, *nll = record->nll + from;
    result->perplexity = mq_perplexity_of(nll, n);
    if (arm == 0)
        return;
    result->log_ppl_ratio = mq_estimate_difference(base, nll, n);
    result->ppl_ratio = mq_estimate_exp(result->log_ppl_ratio);
    for (size_t i = 0; i < n; i++)
        room[i] = record->same_top[from + i];
    result->same_top = mq_estimate_mean(room, n);
    for (size_t i = 0; i < n; i++)
        room[i] = mq_exp(-nll[i]) - mq_exp(-base[i]);
    result->delta_p_rms = mq_estimate_rms(room, n);
    memcpy(room, record->kld + from, n * sizeof *room);
    result->kld = mq_distribution_of(room, n);
    result->has_routing = any_router(r);
}

static moeq_status finish_tasks(const struct mq_referee *r, size_t arm,
                                struct mq_arm_result *result, moeq_error *err)
{
    const struct mq_task_set *tasks = r->text->tasks;
    const double *nll = r->records[arm].task_nll, *base = arm ? r->records[0].task_nll : NULL;
    const struct mq_estimate none = {NAN, NAN};
    result->tasks = (struct mq_task_result){NULL, 0, none, none, none, none};
    if (!tasks)
        return MOEQ_OK;
    result->task_groups = allocate(tasks->groups_count, sizeof *result->task_groups);
    if (!result->task_groups)
        return mq_fail_memory(err, "summing up an evaluation");
    result->task_groups_count = tasks->groups_count;
    for (size_t g = 0; g < tasks->groups_count; g++)
        MQ_TRY(mq_task_judge(tasks, g, nll, base, &result->task_groups[g], err));
    return mq_task_judge(tasks, tasks->groups_count, nll, base, &result->tasks, err);
}

moeq_status mq_referee_finish(struct mq_referee *r, struct mq_arm_result *results, moeq_error *err)
{
    memset(results, 0, r->arms_count * sizeof *results);
    double *room = allocate(mq_scored_tokens(r->text), sizeof *room);
    if (!room)
        return mq_fail_memory(err, "summing up an evaluation");
    moeq_status status = MOEQ_OK;
    for (size_t a = 0; a < r->arms_count && status == MOEQ_OK; a++) {
        finish_output(r, a, 0, r->text->windows.count, room, &results[a]);
        if (results[a].has_routing)
            status = finish_routing(r, &r->records[a], &results[a].routing, err);
        if (status == MOEQ_OK)
            status = finish_tasks(r, a, &results[a], err);
    }
    free(room);
    for (size_t a = 0; a < r->arms_count && status != MOEQ_OK; a++)
        mq_arm_result_free(&results[a]);
    return status;
}

moeq_status mq_referee_range(const struct mq_referee *r, size_t arm, size_t first, size_t windows,
                             struct mq_arm_result *result, moeq_error *err)
{
    const size_t length = r->text->windows.length, tokens = windows * length;
    double *room = allocate(tokens, sizeof *room);
    *result = (struct mq_arm_result){0};
    if (!room)
        return mq_fail_memory(err, "summing up an evaluation");
    finish_output(r, arm, first, windows, room, result);
    result->routing.tokens = tokens;
    result->routing.load_shift = NAN; /* of whole layers alone */
    for (int k = 0; result->has_routing && k < MQ_ROUTING_COUNT; k++) {
        for (size_t t = 0; t < tokens; t++)
            room[t] = r->records[arm].tokens[first * length + t].metric[k] / routed_layers(r);
        result->routing.overall.metric[k] = mq_estimate_mean(room, tokens);
    }
    free(room);
    return MOEQ_OK;
}

const double *mq_referee_task_nll(const struct mq_referee *r, size_t arm)
{
    return r->records[arm].task_nll;
}

const struct mq_text_windows *mq_referee_text(const struct mq_referee *r)
{
    return r->text;
}

void mq_arm_result_free(struct mq_arm_result *result)
{
    free(result->routing.layers);
    free(result->routing.loads);
    free(result->task_groups);
    free(result->domains);
    memset(result, 0, sizeof *result);
}

/* Shares of the mean of `whole`; `part` is room for one figure a token. */
static struct mq_loss_shares loss_shares(const double *whole, const double *weights,
                                         const double *routes, size_t n, double *part)
{
    const struct mq_estimate undefined = {NAN, NAN}, mean = mq_estimate_mean(whole, n);
    if (!(mean.value > 0) || !(mean.value > 2 * mean.se))
        return (struct mq_loss_shares){undefined, undefined, undefined};
    for (size_t i = 0; i < n; i++)
        part[i] = whole[i] - weights[i] - routes[i];
    return (struct mq_loss_shares){mq_estimate_ratio(weights, whole, n),
                                   mq_estimate_ratio(routes, whole, n),
                                   mq_estimate_ratio(part, whole, n)};
}

moeq_status mq_referee_shares(const struct mq_referee *r, size_t whole, size_t weights,
                              size_t routes, struct mq_loss_shares *nll, struct mq_loss_shares *kld,
                              moeq_error *err)
{
    const size_t arms[3] = {whole, weights, routes}, n = mq_scored_tokens(r->text);
    double *room = allocate(n, 4 * sizeof *room);
    if (!room)
        return mq_fail_memory(err, "summing up an evaluation");
    double *rows[4] = {room, room + n, room + 2 * n, room + 3 * n};
    for (size_t i = 0; i < 3; i++)
        for (size_t t = 0; t < n; t++)
            rows[i][t] = r->records[arms[i]].nll[t] - r->records[0].nll[t];
    *nll = loss_shares(rows[0], rows[1], rows[2], n, rows[3]);
    /* `routes` may be the baseline, which has no divergence: its differences above are all 0 */
    *kld = loss_shares(r->records[whole].kld, r->records[weights].kld,
                       routes ? r->records[routes].kld : rows[2], n, rows[3]);
    if (!routes) {
        const struct mq_estimate undefined = {NAN, NAN};
        nll->routes = nll->interaction = kld->routes = kld->interaction = undefined;
    }
    free(room);
    return MOEQ_OK;
}

/* ---- window by window ---- */

/* Of a scored token. No default: the compiler names what has no line. */
static double token_value(const struct arm_record *record, enum mq_window_figure figure, size_t i)
{
    switch (figure) {
    case MQ_WINDOW_NLL:
        return record->nll[i];
    case MQ_WINDOW_KLD:
        return record->kld[i];
    case MQ_WINDOW_SAME_TOP:
        return record->same_top[i];
    case MQ_WINDOW_ROUTING:
    case MQ_WINDOW_FIGURES:
        break;
    }
    return NAN;
}

static double window_mean(const struct mq_referee *r, const struct arm_record *record, int figure,
                          size_t window, double layers)
{
    const size_t scored = r->text->scored_window, length = r->text->windows.length;
    double sum = 0;
    if (figure >= MQ_WINDOW_ROUTING) {
        for (size_t t = 0; t < length; t++)
            sum += record->tokens[window * length + t].metric[figure - MQ_WINDOW_ROUTING] / layers;
        return sum / (double)length;
    }
    for (size_t i = window * scored; i < (window + 1) * scored; i++)
        sum += token_value(record, (enum mq_window_figure)figure, i);
    return sum / (double)scored;
}

void mq_referee_window_means(const struct mq_referee *r, size_t arm, int figure, double *means)
{
    const double layers = routed_layers(r); /* none: 0 / 0 is NaN */
    for (size_t w = 0; w < r->text->windows.count; w++)
        means[w] = window_mean(r, &r->records[arm], figure, w, layers);
}
