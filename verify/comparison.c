/* comparison.c: the baseline and its candidates, side by side. */
#include "comparison.h"

#include "domains.h"
#include "error.h"
#include "token_profile.h"
#include "stored.h"
#include "token_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Squared error and squared weights of each tensor of each candidate, filled in any order by the
 * evaluator and summed in the order of tensors. */
struct errors {
    struct mq_square_sums squares;
    struct mq_loss loss;
    bool seen;
};

/* What runs. Arms in this order: the baseline; the candidates, each followed with `swap` by its
 * weights with the baseline's routes and, unless that is a recording, the baseline's weights with
 * its routes, and with `int8` by its weights computed with as integers; the noise floor. */
struct lineup {
    const struct mq_baseline *baseline;
    const struct mq_comparison_options *options;
    const struct mq_candidate *candidates;
    size_t count;        /* of them */
    size_t swaps;        /* arms of `swap` for each candidate: 0, 1 or 2 */
    struct mq_arm *arms; /* [arms_count] */
    size_t arms_count;
    const struct mq_level **levels; /* [count][tensors of the baseline], of candidates that are */
    struct errors *errors;          /* [count][tensors]                  quantized on the fly   */
    struct mq_referee *referee;
    struct mq_observer inner; /* the referee's */
};

static size_t arms_each(const struct lineup *l)
{
    return 1 + l->swaps + l->options->int8;
}

/* The place of a candidate's arm. */
static size_t arm_of(const struct lineup *l, size_t candidate)
{
    return 1 + candidate * arms_each(l);
}

/* The place of its arm of integers. */
static size_t int8_arm_of(const struct lineup *l, size_t candidate)
{
    return arm_of(l, candidate) + 1 + l->swaps;
}

/* ---- names ---- */

const char *mq_file_letter(size_t i)
{
    static const char letters[MQ_CANDIDATES_MAX][3] = {
        "A",  "B",  "C",  "D",  "E",  "F",  "G",  "H",  "I",  "J",  "K",  "L",  "M",
        "N",  "O",  "P",  "Q",  "R",  "S",  "T",  "U",  "V",  "W",  "X",  "Y",  "Z",
        "AA", "AB", "AC", "AD", "AE", "AF", "AG", "AH", "AI", "AJ", "AK", "AL", "AM",
        "AN", "AO", "AP", "AQ", "AR", "AS", "AT", "AU", "AV", "AW", "AX", "AY", "AZ",
        "BA", "BB", "BC", "BD", "BE", "BF", "BG", "BH", "BI", "BJ", "BK", "BL"};
    return i < MQ_CANDIDATES_MAX ? letters[i] : "?";
}

void mq_row_token_note(const struct mq_comparison_row *row, struct mq_buffer *note)
{
    mq_buffer_printf(note,
                     "not checked: whether both cut the text into the same tokens, since there is "
                     "no tokenizer to be read in the original or in %s",
                     row->file->path);
}

bool mq_row_tells_domain(const struct mq_comparison *comparison, size_t row)
{
    const char *note = comparison->rows[row].domain_note;
    for (size_t i = 0; note && i < row && !comparison->rows[row].file; i++) {
        const struct mq_comparison_row *before = &comparison->rows[i];
        if (!before->file && before->domain_note && strcmp(before->domain_note, note) == 0)
            return false;
    }
    return note != NULL;
}

/* ---- before anything is opened or run ---- */

static moeq_status check_request(const struct mq_baseline *baseline,
                                 const struct mq_candidate *candidates, size_t count,
                                 const struct mq_comparison_options *options, moeq_error *err)
{
    if (count > MQ_CANDIDATES_MAX)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%zu levels and files to compare: expected at most %d", count,
                       MQ_CANDIDATES_MAX);
    if (baseline->recording && !count)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "%s is a recording: expected a model to compare",
                       baseline->path);
    if (options->swap && !mq_view_has_experts(baseline->view))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "%s is a dense model: it has no routes to swap",
                       baseline->view->path);
    if (options->noise_floor && baseline->recording)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%s is a recording: it has no weights to run for the noise floor",
                       baseline->path);
    for (size_t i = 0; i < count; i++) {
        if (!candidates[i].file && baseline->recording)
            return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                           "%s is a recording: it has no weights to quantize to '%s'",
                           baseline->path, candidates[i].name);
        for (size_t k = 0; k < i && candidates[i].file; k++)
            if (candidates[k].file && mq_same_model(candidates[i].file, candidates[k].file))
                return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                               "%s and %s are the same model: give each once",
                               candidates[k].file->path, candidates[i].file->path);
    }
    return MOEQ_OK;
}

/* ---- what runs ---- */

moeq_status mq_comparison_levels(const struct mq_view *view, const struct mq_policy *policy,
                                 const struct mq_level **levels, moeq_error *err)
{
    MQ_TRY(mq_policy_apply(policy, view, levels, err));
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_level *stored;
        MQ_TRY(mq_tensor_level(view, &view->tensors[i], &stored, err));
        if (levels[i] == stored)
            levels[i] = NULL;
    }
    return MOEQ_OK;
}

/* The arms of a candidate, from arm[0] on. */
static moeq_status add_candidate(struct lineup *l, size_t candidate, enum mq_compute compute,
                                 moeq_error *err)
{
    const struct mq_candidate *c = &l->candidates[candidate];
    struct mq_arm *arm = &l->arms[arm_of(l, candidate)];
    arm[0] = (struct mq_arm){
        .name = c->name, .view = l->baseline->view, .routes_from = -1, .compute = compute};
    if (c->file || c->made) {
        arm[0].view = c->file ? c->file : c->made;
    } else {
        const struct mq_level **levels = l->levels + candidate * l->baseline->view->tensors_count;
        MQ_TRY(mq_comparison_levels(l->baseline->view, &c->policy, levels, err));
        arm[0].levels = levels;
        arm[0].effort = c->policy.effort;
        arm[0].importance = c->policy.importance;
    }
    if (l->swaps) {
        arm[1] = arm[0];
        arm[1].routes_from = 0;
    }
    if (l->swaps == 2) {
        arm[2] = l->arms[0];
        arm[2].routes_from = (int)(arm - l->arms);
    }
    if (l->options->int8) {
        struct mq_arm *int8 = &l->arms[int8_arm_of(l, candidate)];
        *int8 = arm[0];
        int8->compute = MQ_COMPUTE_INT8;
    }
    return MOEQ_OK;
}

static moeq_status line_up(struct lineup *l, enum mq_compute *compute, moeq_error *err)
{
    const struct mq_comparison_options *o = l->options;
    const size_t n = l->count * l->baseline->view->tensors_count;
    l->swaps = !o->swap ? 0 : l->baseline->recording ? 1 : 2;
    l->arms_count = arm_of(l, l->count) + o->noise_floor;
    l->arms = calloc(l->arms_count, sizeof *l->arms);
    l->levels = calloc(n + 1, sizeof *l->levels);
    l->errors = calloc(n + 1, sizeof *l->errors);
    if (!l->arms || !l->levels || !l->errors)
        return mq_fail_memory(err, "preparing a comparison");
    l->arms[0] = mq_baseline_arm(l->baseline, o->compute);
    *compute = o->has_compute ? o->compute : l->arms[0].compute;
    for (size_t i = 0; i < l->count; i++)
        MQ_TRY(add_candidate(l, i, *compute, err));
    if (o->noise_floor) {
        l->arms[l->arms_count - 1] = l->arms[0];
        l->arms[l->arms_count - 1].bf16_activations = true;
    }
    return MOEQ_OK;
}

/* ---- rows ---- */

static void set_size(struct mq_comparison_row *row, struct mq_stored_size size)
{
    row->weights = size.weights;
    row->weight_bytes = size.weight_bytes;
    row->file_bytes = size.file_bytes;
    row->bits_per_weight = mq_bits_per_weight(size.weight_bytes, size.weights);
}

/* Of a level the sizes come from a plan: nothing is written. */
static moeq_status add_row(const struct mq_view *view, const struct mq_candidate *c,
                           enum mq_compute compute, struct mq_comparison_row *row, moeq_error *err)
{
    *row = (struct mq_comparison_row){
        .name = c->name, .kind = MQ_ROW_FILE, .compute = compute, .file = c->file};
    if (c->file) {
        set_size(row, mq_stored_size(c->file));
        return MOEQ_OK;
    }
    struct mq_plan *plan;
    MQ_TRY(mq_plan_create(view, &c->policy, &plan, err));
    row->kind = MQ_ROW_LEVEL;
    row->policy = c->policy;
    set_size(row,
             (struct mq_stored_size){plan->total.weights, plan->total.bytes, plan->output_bytes});
    mq_plan_free(plan);
    return MOEQ_OK;
}

static moeq_status add_rows(const struct lineup *l, struct mq_comparison *result, moeq_error *err)
{
    struct mq_comparison_row *rows = calloc(2 + l->count, sizeof *rows);
    if (!rows)
        return mq_fail_memory(err, "preparing a comparison");
    result->rows = rows;
    result->rows_count = 1 + l->count + l->options->noise_floor;
    result->candidates_count = l->count;
    rows[0].name = l->baseline->name;
    rows[0].compute = l->arms[0].compute;
    set_size(&rows[0], mq_baseline_size(l->baseline));
    for (size_t i = 0; i < l->count; i++) {
        MQ_TRY(add_row(l->baseline->view, &l->candidates[i], result->compute, &rows[1 + i], err));
        result->files_count += rows[1 + i].kind == MQ_ROW_FILE;
    }
    if (l->options->noise_floor) { /* the baseline in all but its activations */
        rows[1 + l->count] = rows[0];
        rows[1 + l->count].name = "bf16 activations";
        rows[1 + l->count].kind = MQ_ROW_NOISE_FLOOR;
    }
    return MOEQ_OK;
}

/* Whether the files can be compared with the baseline at all. */
static moeq_status check_files(const struct lineup *l, struct mq_comparison *result,
                               moeq_error *err)
{
    const struct mq_protocol_options *p = &l->options->protocol;
    const struct mq_recording *recording = l->baseline->recording;
    const size_t window = recording    ? recording->text.windows.length
                          : p->context ? p->context
                                       : mq_protocol_default_context(p->protocol);
    if (!result->files_count)
        return MOEQ_OK;
    MQ_TRY(mq_arms_check(l->arms, l->arms_count, window, err));
    for (size_t i = 1; i <= result->candidates_count; i++) {
        struct mq_comparison_row *row = &result->rows[i];
        if (!row->file)
            continue;
        MQ_TRY(mq_token_check(row->file, l->baseline->view, recording, l->baseline->path,
                              l->options->text, p->max_tokens, &row->tokens_compared, err));
        if (p->tasks)
            MQ_TRY(mq_token_check_tasks(row->file, l->baseline->view, l->baseline->path, p->tasks,
                                        err));
    }
    return MOEQ_OK;
}

/* Whether what was calibrated was so on such text. */
static moeq_status compare_domains(const struct lineup *l, struct mq_comparison *result,
                                   moeq_error *err)
{
    const struct mq_windows *w = &result->text.windows;
    for (size_t i = 0; i < l->count; i++) {
        const struct mq_candidate *c = &l->candidates[i];
        const struct mq_view *file = c->file ? c->file : c->made;
        const char *list = file ? file->calibrated_on
                           : c->policy.importance
                               ? mq_importance_calibrated_on(c->policy.importance)
                               : NULL;
        struct mq_profile_distance distance;
        struct mq_buffer note = {0};
        if (!list)
            continue;
        const moeq_status status = mq_profile_compare(
            list, file ? file->path : mq_importance_source(c->policy.importance), w->ids,
            w->count * w->length, l->baseline->view->hparams.vocab, &distance, &note, err);
        result->rows[1 + i].domain_note = note.data;
        MQ_TRY(status);
    }
    return MOEQ_OK;
}

/* ---- the evaluation ---- */

static moeq_status on_router(void *user, uint32_t layer, size_t first_token, size_t tokens,
                             const struct mq_routes *routes, moeq_error *err)
{
    struct lineup *l = user;
    return l->inner.on_router(l->inner.user, layer, first_token, tokens, routes, err);
}

static size_t carry_bytes(void *user)
{
    struct lineup *l = user;
    return l->inner.carry_bytes(l->inner.user);
}

static void pack(void *user, size_t first_token, size_t tokens, void *out)
{
    struct lineup *l = user;
    l->inner.pack(l->inner.user, first_token, tokens, out);
}

static void unpack(void *user, size_t first_token, size_t tokens, const void *in)
{
    struct lineup *l = user;
    l->inner.unpack(l->inner.user, first_token, tokens, in);
}

static bool wants_logits(void *user, size_t position)
{
    struct lineup *l = user;
    return l->inner.wants_logits(l->inner.user, position);
}

static moeq_status on_logits(void *user, const size_t *token_index, size_t tokens,
                             const float *const *logits, moeq_error *err)
{
    struct lineup *l = user;
    return l->inner.on_logits(l->inner.user, token_index, tokens, logits, err);
}

/* Of a matrix in parts, or of one that is met more than once, it is the worst that counts. */
static moeq_status on_quantized(void *user, const struct mq_quantized *q, moeq_error *err)
{
    struct lineup *l = user;
    const struct mq_view *view = l->baseline->view;
    const size_t candidate = ((size_t)q->arm - 1) / arms_each(l);
    struct errors *e =
        &l->errors[candidate * view->tensors_count + (size_t)(q->tensor - view->tensors)];
    const struct mq_loss loss = mq_loss_of(&q->squares, q->rows * q->tensor->cols);
    if (arm_of(l, candidate) != (size_t)q->arm)
        return MOEQ_OK;
    if (!e->seen || mq_relative_error(&q->squares) > mq_relative_error(&e->squares))
        *e = (struct errors){q->squares, loss, true};
    return l->options->allow_loss ? MOEQ_OK : mq_loss_judge(view, q->tensor, q->level, &loss, err);
}

/* A tensor's are those of the one process that runs its layer for the first windows. */
static moeq_status merge_errors(const struct lineup *l, const struct mq_peers *peers,
                                moeq_error *err)
{
    struct seen {
        size_t at;
        struct errors errors;
    } *mine = NULL;
    const size_t n = l->count * l->baseline->view->tensors_count;
    size_t count = 0;
    void *all = NULL;
    uint64_t *begin = NULL;
    moeq_status status = MOEQ_OK;
    if (mq_peers_count(peers) == 1)
        return MOEQ_OK;
    for (size_t i = 0; i < n; i++)
        count += l->errors[i].seen;
    mine = calloc(count + 1, sizeof *mine);
    begin = calloc((size_t)peers->count + 1, sizeof *begin);
    if (!mine || !begin)
        MQ_TRY_OUT(mq_fail_memory(err, "summing up a comparison"));
    count = 0;
    for (size_t i = 0; i < n; i++)
        if (l->errors[i].seen)
            mine[count++] = (struct seen){i, l->errors[i]};
    MQ_TRY_OUT(mq_peers_gather_all(peers, mine, count * sizeof *mine, &all, begin, err));
    for (size_t i = 0; i < begin[peers->count] / sizeof *mine; i++) {
        const struct seen *seen = (const struct seen *)all + i;
        l->errors[seen->at] = seen->errors;
    }
out:
    free(mine);
    free(begin);
    free(all);
    return status;
}

static void sum_errors(const struct lineup *l, size_t candidate, struct mq_comparison_row *row)
{
    const struct mq_view *view = l->baseline->view;
    const struct errors *errors = l->errors + candidate * view->tensors_count;
    const struct mq_level *const *levels = l->levels + candidate * view->tensors_count;
    double error = 0, weights = 0;
    for (size_t i = 0; i < view->tensors_count; i++) {
        if (!errors[i].seen)
            continue;
        mq_losses_add(&row->losses, &view->tensors[i], levels[i], &errors[i].loss);
        if (mq_view_class(view, view->tensors[i].role) != MQ_CLASS_EXPERTS)
            continue;
        error += errors[i].squares.lost;
        weights += errors[i].squares.weights;
        row->expert_tensors_quantized++;
    }
    row->expert_relative_rmse = l->candidates[candidate].made ? (double)NAN
                                : weights > 0                 ? sqrt(error / weights)
                                                              : 0;
}

/* Moves the results of a candidate's arms of `swap` to its row. */
static moeq_status finish_swap(const struct lineup *l, size_t candidate,
                               struct mq_arm_result *results, struct mq_comparison_row *row,
                               moeq_error *err)
{
    const size_t own = arm_of(l, candidate), routes = l->swaps == 2 ? own + 2 : 0;
    row->swap = calloc(1, sizeof *row->swap);
    if (!row->swap)
        return mq_fail_memory(err, "summing up a comparison");
    row->swap->weights = results[own + 1];
    row->swap->has_routes = routes;
    if (routes)
        row->swap->routes = results[routes];
    memset(&results[own + 1], 0, l->swaps * sizeof *results);
    return mq_referee_shares(l->referee, own, own + 1, routes, &row->swap->nll_shares,
                             &row->swap->kld_shares, err);
}

static moeq_status finish_int8(const struct lineup *l, size_t candidate,
                               struct mq_arm_result *results, struct mq_comparison_row *row,
                               moeq_error *err)
{
    struct mq_arm_result *result = &results[int8_arm_of(l, candidate)];
    row->int8 = malloc(sizeof *row->int8);
    if (!row->int8)
        return mq_fail_memory(err, "summing up a comparison");
    *row->int8 = *result;
    memset(result, 0, sizeof *result);
    return MOEQ_OK;
}

/* Moves the arms' results to their rows; what is left in `results` is the caller's to free. */
static moeq_status fill_results(const struct lineup *l, struct mq_arm_result *results,
                                struct mq_comparison *result, moeq_error *err)
{
    for (size_t i = 0; i < result->rows_count; i++) {
        struct mq_comparison_row *row = &result->rows[i];
        const bool candidate = row->kind == MQ_ROW_LEVEL || row->kind == MQ_ROW_FILE;
        const size_t arm = candidate ? arm_of(l, i - 1) : i ? l->arms_count - 1 : 0;
        row->result = results[arm];
        memset(&results[arm], 0, sizeof *results);
        if (!candidate)
            continue;
        sum_errors(l, i - 1, row);
        if (l->swaps)
            MQ_TRY(finish_swap(l, i - 1, results, row, err));
        if (l->options->int8)
            MQ_TRY(finish_int8(l, i - 1, results, row, err));
    }
    return MOEQ_OK;
}

/* ---- differences ---- */

/* Of the rows d->row and d->minus; a and b: room for a number a window. */
static void subtract(const struct lineup *l, bool routing, size_t windows, double *a, double *b,
                     struct mq_difference *d)
{
    for (int f = 0; f < (routing ? MQ_WINDOW_FIGURES : MQ_WINDOW_ROUTING); f++) {
        mq_referee_window_means(l->referee, arm_of(l, d->minus - 1), f, a);
        mq_referee_window_means(l->referee, arm_of(l, d->row - 1), f, b);
        for (size_t w = 0; w < windows; w++)
            b[w] -= a[w];
        d->figures[d->figures_count].figure = mq_figure_of_difference((size_t)f);
        d->figures[d->figures_count++].difference = mq_bootstrap_mean(b, windows);
    }
}

static moeq_status fill_differences(const struct lineup *l, struct mq_comparison *result,
                                    moeq_error *err)
{
    const size_t windows = result->text.windows.count;
    if (!result->files_count || l->count < 2)
        return MOEQ_OK;
    double *means = malloc(2 * windows * sizeof *means);
    result->differences = calloc(l->count - 1, sizeof *result->differences);
    if (!means || !result->differences) {
        free(means);
        return mq_fail_memory(err, "comparing models");
    }
    for (size_t row = 2; row <= l->count; row++) {
        struct mq_difference *d = &result->differences[result->differences_count++];
        *d = (struct mq_difference){.row = row, .minus = 1};
        subtract(l, result->rows[1].result.has_routing, windows, means, means + windows, d);
    }
    free(means);
    return MOEQ_OK;
}

static moeq_status run(struct lineup *l, const struct mq_context *context,
                       struct mq_comparison *result, moeq_error *err)
{
    MQ_TRY(mq_referee_create(context, l->arms, l->arms_count, &result->text, &l->referee, err));
    l->inner = mq_referee_observer(l->referee);
    const struct mq_observer observer = {
        .user = l,
        .carry_bytes = carry_bytes,
        .pack = pack,
        .unpack = unpack,
        .on_router = l->inner.on_router ? on_router : NULL,
        .wants_logits = wants_logits,
        .on_logits = on_logits,
        .on_quantized = on_quantized,
    };
    MQ_TRY(mq_evaluate(context, l->arms, l->arms_count, &result->text.windows, &observer, err));
    MQ_TRY(mq_referee_merge(l->referee, &observer, err));
    MQ_TRY(merge_errors(l, context->peers, err));
    MQ_TRY(mq_referee_tasks(l->referee, l->arms,
                            l->baseline->recording ? &l->baseline->recording->task_playback : NULL,
                            err));
    struct mq_arm_result *results = calloc(l->arms_count, sizeof *results);
    if (!results)
        return mq_fail_memory(err, "summing up a comparison");
    moeq_status status = mq_referee_finish(l->referee, results, err);
    if (status == MOEQ_OK)
        status = mq_domains_finish(l->referee, results, l->arms_count, err);
    if (status == MOEQ_OK)
        status = fill_results(l, results, result, err);
    if (status == MOEQ_OK)
        status = fill_differences(l, result, err);
    for (size_t a = 0; a < l->arms_count; a++)
        mq_arm_result_free(&results[a]);
    free(results);
    return status;
}

/* What it will take. */
static moeq_status foresee(const struct lineup *l, const struct mq_context *context,
                           struct mq_comparison *result, moeq_error *err)
{
    const struct mq_windows *w = &result->text.windows;
    MQ_TRY(mq_arms_check(l->arms, l->arms_count, w->length, err));
    const size_t step = mq_evaluation_step(context, l->arms, l->arms_count, w);
    result->arms_count = l->arms_count;
    result->passes = (w->count + step - 1) / step;
    result->pass_bytes = mq_evaluation_bytes(context, l->arms, l->arms_count, w->length,
                                             step < w->count ? step : w->count);
    return MOEQ_OK;
}

moeq_status mq_compare(const struct mq_context *context, const struct mq_baseline *baseline,
                       const struct mq_candidate *candidates, size_t count,
                       const struct mq_comparison_options *options, struct mq_comparison *result,
                       moeq_error *err)
{
    struct lineup l = {
        .baseline = baseline, .options = options, .candidates = candidates, .count = count};
    const struct mq_recording *recording = baseline->recording;
    const struct mq_view *reader = NULL;
    moeq_status status;
    memset(result, 0, sizeof *result);
    result->baseline = baseline;
    result->source = options->text;
    result->text_path = options->text ? options->text->name : recording->text_name;
    MQ_TRY(check_request(baseline, candidates, count, options, err));
    reader = recording ? candidates[0].file : baseline->view;
    MQ_TRY_OUT(line_up(&l, &result->compute, err));
    MQ_TRY_OUT(add_rows(&l, result, err));
    MQ_TRY_OUT(check_files(&l, result, err));
    MQ_TRY_OUT(mq_baseline_windows(baseline, reader, options->text, &options->protocol,
                                   &result->text, &result->other_text, err));
    MQ_TRY_OUT(compare_domains(&l, result, err));
    MQ_TRY_OUT(foresee(&l, context, result, err));
    if (options->before)
        MQ_TRY_OUT(options->before(options->before_user, result, err));
    MQ_TRY_OUT(run(&l, context, result, err));
    MQ_TRY_OUT(mq_view_check_unchanged(baseline->view, err)); /* a recording is read besides */
out:
    mq_referee_free(l.referee);
    free(l.arms);
    free(l.levels);
    free(l.errors);
    if (status != MOEQ_OK)
        mq_comparison_free(result);
    return status;
}

void mq_comparison_free(struct mq_comparison *comparison)
{
    const bool other_text = comparison->other_text;
    for (size_t i = 0; i < comparison->rows_count; i++) {
        struct mq_comparison_row *row = &comparison->rows[i];
        mq_arm_result_free(&row->result);
        if (row->swap) {
            mq_arm_result_free(&row->swap->weights);
            mq_arm_result_free(&row->swap->routes);
        }
        free(row->swap);
        if (row->int8)
            mq_arm_result_free(row->int8);
        free(row->int8);
        free(row->domain_note);
    }
    free(comparison->rows);
    free(comparison->differences);
    mq_text_windows_free(&comparison->text);
    *comparison = (struct mq_comparison){.other_text = other_text};
}
