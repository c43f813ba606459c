/* verify.c: the baseline, run or played back, beside one or two stored models. */
#include "verify.h"

#include "error.h"
#include "stored.h"
#include "token_check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Opens the baseline and says what stands for it. */
static moeq_status open_baseline(const struct mq_context *context,
                                 const struct mq_verify_options *options,
                                 struct mq_verify_result *result, struct mq_arm *arm,
                                 moeq_error *err)
{
    bool recorded;
    MQ_TRY(mq_is_reference(options->against, &recorded, err));
    if (recorded) {
        MQ_TRY(mq_reference_open(context, options->against, &result->reference, err));
        *arm = (struct mq_arm){.view = result->reference->view,
                               .recording = &result->reference->playback,
                               .compute = result->reference->compute};
    } else {
        MQ_TRY(mq_model_open_with(options->against, options->open, &result->base, err));
        *arm = (struct mq_arm){.view = result->base, .compute = options->compute};
    }
    result->sweep.compute = options->has_compute ? options->compute : arm->compute;
    arm->name = "baseline";
    arm->routes_from = -1;
    return MOEQ_OK;
}

/* The recording's own windows; a text that is given nevertheless must give the same. */
static moeq_status copy_windows(const struct mq_reference *reference, const struct mq_view *view,
                                const struct mq_text *source, struct mq_text_windows *text,
                                bool *other_text, moeq_error *err)
{
    const struct mq_text_windows *r = &reference->text;
    const size_t tokens = r->windows.count * r->windows.length;
    if (source) {
        const struct mq_protocol_options same = {
            .protocol = r->protocol, .context = r->windows.length, .max_tokens = tokens};
        MQ_TRY(mq_protocol_text(&same, view, source, text, err));
        if (text->windows.count == r->windows.count && text->ids_crc32 == r->ids_crc32 &&
            memcmp(text->ids, r->ids, tokens * sizeof *r->ids) == 0) {
            text->text_tokens = r->text_tokens;
            return MOEQ_OK;
        }
        *other_text = true;
        mq_text_windows_free(text);
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%s: its tokens are not those of the recording %s, which has its own text "
                       "('%s'): leave --text out",
                       source->name, reference->view->path, reference->text_name);
    }
    *text = *r;
    text->ids = malloc(tokens * sizeof *text->ids);
    if (!text->ids)
        return mq_fail_memory(err, "preparing a verification");
    memcpy(text->ids, r->ids, tokens * sizeof *text->ids);
    text->windows.ids = text->ids;
    return MOEQ_OK;
}

static void fill_row(struct mq_sweep_row *row, const char *name, enum mq_sweep_kind kind,
                     enum mq_compute compute, struct mq_stored_size size)
{
    row->name = name;
    row->kind = kind;
    row->compute = compute;
    row->weights = size.weights;
    row->weight_bytes = size.weight_bytes;
    row->file_bytes = size.file_bytes;
    row->bits_per_weight = mq_bits_per_weight(size.weight_bytes, size.weights);
}

static moeq_status compare_models(const struct mq_referee *referee, struct mq_verify_result *result,
                                  moeq_error *err)
{
    static const char *const names[MQ_WINDOW_ROUTING] = {
        [MQ_WINDOW_NLL] = "nll_nats",
        [MQ_WINDOW_KLD] = "kld_nats",
        [MQ_WINDOW_SAME_TOP] = "same_top_rate",
    };
    const size_t windows = result->sweep.text.windows.count;
    const bool routing = result->sweep.rows[1].result.has_routing;
    double *a = malloc(windows * sizeof *a), *b = malloc(windows * sizeof *b);
    if (!a || !b) {
        free(a);
        free(b);
        return mq_fail_memory(err, "comparing two models");
    }
    for (int f = 0; f < (routing ? MQ_WINDOW_FIGURES : MQ_WINDOW_ROUTING); f++) {
        mq_referee_window_means(referee, 1, f, a);
        mq_referee_window_means(referee, 2, f, b);
        for (size_t w = 0; w < windows; w++)
            b[w] -= a[w];
        result->differences[result->differences_count++] = (struct mq_paired_difference){
            f < MQ_WINDOW_ROUTING
                ? names[f]
                : mq_routing_metric_name((enum mq_routing_metric)(f - MQ_WINDOW_ROUTING)),
            mq_bootstrap_mean(b, windows)};
    }
    free(a);
    free(b);
    return MOEQ_OK;
}

/* Arms in this order: the baseline; the models; with `swap`, for each model its weights with the
 * baseline's routes and, unless the baseline is a recording, the baseline's weights with its; the
 * noise floor. */
enum { MOST_ARMS = 1 + 3 * MQ_VERIFY_MODELS + 1 };

struct arms {
    struct mq_arm arm[MOST_ARMS];
    size_t count, models_count;
    size_t swaps; /* arms of `swap` for each model: 0, 1 or 2 */
};

/* The place of a model's arms of `swap`. */
static size_t swap_of(const struct arms *a, size_t model)
{
    return 1 + a->models_count + model * a->swaps;
}

/* The arms behind the models'. */
static moeq_status add_arms(struct arms *a, const struct mq_verify_options *options,
                            moeq_error *err)
{
    const struct mq_arm *base = &a->arm[0];
    if (options->swap && base->view->hparams.experts == 0)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "%s is a dense model: it has no routes to swap",
                       base->view->path);
    if (options->noise_floor && base->recording)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%s is a recording: it has no weights to run for the noise floor",
                       options->against);
    a->swaps = !options->swap ? 0 : base->recording ? 1 : 2;
    for (size_t m = 0; m < a->models_count && a->swaps; m++) {
        a->arm[a->count] = a->arm[1 + m];
        a->arm[a->count++].routes_from = 0;
        if (a->swaps == 2) {
            a->arm[a->count] = *base;
            a->arm[a->count++].routes_from = 1 + (int)m;
        }
    }
    if (options->noise_floor) {
        a->arm[a->count] = *base;
        a->arm[a->count++].bf16_activations = true;
    }
    return MOEQ_OK;
}

/* Moves the results of a model's arms of `swap` to its row. */
static moeq_status finish_swap(const struct mq_referee *referee, const struct arms *a, size_t model,
                               struct mq_arm_result *results, struct mq_sweep_row *row,
                               moeq_error *err)
{
    const size_t weights = swap_of(a, model), routes = a->swaps == 2 ? weights + 1 : 0;
    row->swap = calloc(1, sizeof *row->swap);
    if (!row->swap)
        return mq_fail_memory(err, "summing up a verification");
    row->swap->weights = results[weights];
    row->swap->has_routes = routes;
    if (routes)
        row->swap->routes = results[routes];
    memset(&results[weights], 0, a->swaps * sizeof *results);
    return mq_referee_shares(referee, 1 + model, weights, routes, &row->swap->nll_shares,
                             &row->swap->kld_shares, err);
}

/* Moves the arms' results to their rows; what is left in `results` is the caller's to free. */
static moeq_status fill_results(const struct mq_referee *referee, const struct arms *a,
                                struct mq_arm_result *results, struct mq_verify_result *result,
                                moeq_error *err)
{
    for (size_t i = 0; i < result->sweep.rows_count; i++) {
        struct mq_sweep_row *row = &result->sweep.rows[i];
        const size_t arm = row->kind == MQ_SWEEP_NOISE_FLOOR ? a->count - 1 : i;
        row->result = results[arm];
        memset(&results[arm], 0, sizeof *results);
        if (row->kind == MQ_SWEEP_STORED && a->swaps)
            MQ_TRY(finish_swap(referee, a, i - 1, results, row, err));
    }
    return a->models_count > 1 ? compare_models(referee, result, err) : MOEQ_OK;
}

static moeq_status evaluate(const struct mq_context *context, const struct arms *a,
                            struct mq_verify_result *result, moeq_error *err)
{
    struct mq_arm_result results[MOST_ARMS] = {0};
    struct mq_referee *referee = NULL;
    struct mq_observer observer;
    moeq_status status;
    MQ_TRY_OUT(mq_referee_create(context, a->arm, a->count, &result->sweep.text, &referee, err));
    observer = mq_referee_observer(referee);
    MQ_TRY_OUT(mq_evaluate(context, a->arm, a->count, &result->sweep.text.windows, &observer, err));
    MQ_TRY_OUT(mq_referee_finish(referee, results, err));
    MQ_TRY_OUT(fill_results(referee, a, results, result, err));
out:
    for (size_t i = 0; i < a->count; i++)
        mq_arm_result_free(&results[i]);
    mq_referee_free(referee);
    return status;
}

/* Rows' names: short, for tables; the paths are said once. */
static const char *row_name(size_t row, size_t models)
{
    static const char *const names[] = {"baseline", "A", "B"};
    return models == 1 && row == 1 ? "model" : names[row];
}

/* `baseline`: its arithmetic. */
static moeq_status fill_rows(struct mq_verify_result *result, enum mq_compute baseline,
                             bool noise_floor, moeq_error *err)
{
    const struct mq_reference *reference = result->reference;
    const size_t count = result->models_count;
    struct mq_sweep_row *rows = calloc(2 + count, sizeof *rows);
    if (!rows)
        return mq_fail_memory(err, "preparing a verification");
    result->sweep.rows = rows;
    result->sweep.rows_count = 1 + count + noise_floor;
    fill_row(&rows[0], row_name(0, count), MQ_SWEEP_BASELINE, baseline,
             reference ? (struct mq_stored_size){reference->weights, reference->weight_bytes,
                                                 reference->file_bytes}
                       : mq_stored_size(result->sweep.view));
    for (size_t i = 0; i < count; i++)
        fill_row(&rows[1 + i], row_name(1 + i, count), MQ_SWEEP_STORED, result->sweep.compute,
                 mq_stored_size(result->models[i]));
    if (noise_floor) { /* the original in all but its activations */
        rows[1 + count] = rows[0];
        rows[1 + count].name = "bf16 activations";
        rows[1 + count].kind = MQ_SWEEP_NOISE_FLOOR;
    }
    return MOEQ_OK;
}

/* Whether the models can be compared with the baseline at all. */
static moeq_status check_models(const struct arms *a, const struct mq_verify_options *options,
                                const struct mq_reference *reference, bool *tokens_compared,
                                moeq_error *err)
{
    const struct mq_protocol_options *p = &options->protocol;
    const size_t window = reference    ? reference->text.windows.length
                          : p->context ? p->context
                                       : mq_protocol_default_context(p->protocol);
    MQ_TRY(mq_arms_check(a->arm, 1 + a->models_count, window, err));
    for (size_t i = 0; i < a->models_count; i++)
        MQ_TRY(mq_token_check(a->arm[1 + i].view, a->arm[0].view, reference, options->against,
                              options->text, p->max_tokens, &tokens_compared[i], err));
    return MOEQ_OK;
}

moeq_status mq_verify(const struct mq_context *context, const struct mq_view *const *views,
                      size_t count, const struct mq_verify_options *options,
                      struct mq_verify_result *result, moeq_error *err)
{
    struct arms a = {.count = 1 + count, .models_count = count};
    moeq_status status;
    memset(result, 0, sizeof *result);
    if (count < 1 || count > MQ_VERIFY_MODELS)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "expected one or two models");
    MQ_TRY_OUT(open_baseline(context, options, result, &a.arm[0], err));
    const struct mq_reference *reference = result->reference;
    result->sweep.view = a.arm[0].view;
    result->sweep.source = options->text;
    result->paths[0] = options->against;
    result->models_count = count;
    for (size_t i = 0; i < count; i++) {
        a.arm[1 + i] = (struct mq_arm){.name = row_name(1 + i, count),
                                       .view = views[i],
                                       .routes_from = -1,
                                       .compute = result->sweep.compute};
        result->models[i] = views[i];
        result->paths[1 + i] = views[i]->path;
    }
    MQ_TRY_OUT(check_models(&a, options, reference, result->tokens_compared, err));
    MQ_TRY_OUT(add_arms(&a, options, err));
    MQ_TRY_OUT(fill_rows(result, a.arm[0].compute, options->noise_floor, err));
    if (reference) {
        result->sweep.text_path = options->text ? options->text->name : reference->text_name;
        MQ_TRY_OUT(copy_windows(reference, views[0], options->text, &result->sweep.text,
                                &result->other_text, err));
    } else {
        result->sweep.text_path = options->text->name;
        MQ_TRY_OUT(mq_protocol_text(&options->protocol, a.arm[0].view, options->text,
                                    &result->sweep.text, err));
    }
    if (options->before)
        MQ_TRY_OUT(options->before(options->before_user, result, err));
    MQ_TRY_OUT(evaluate(context, &a, result, err));
out:
    if (status != MOEQ_OK)
        mq_verify_result_free(result);
    return status;
}

void mq_verify_result_free(struct mq_verify_result *result)
{
    const bool other_text = result->other_text;
    mq_sweep_result_free(&result->sweep);
    mq_reference_close(result->reference);
    mq_view_close(result->base);
    *result = (struct mq_verify_result){.other_text = other_text};
}

void mq_verify_token_note(const struct mq_verify_result *result, size_t i, struct mq_buffer *note)
{
    mq_buffer_printf(note,
                     "not checked: whether both cut the text into the same tokens, since there is "
                     "no tokenizer to be read in the original or in %s",
                     result->paths[i + 1]);
}
