/* verify.c: the baseline, run or played back, beside one or two stored models. */
#include "verify.h"

#include "error.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A tokenizer that differs in one byte may cut texts otherwise: then nothing can be compared. */
static moeq_status check_tokenizer(const struct mq_view *view, const char *against, bool has_base,
                                   uint32_t base, moeq_error *err)
{
    uint32_t mine;
    if (!mq_tokenizer_fingerprint(view, &mine) || !has_base || mine == base)
        return MOEQ_OK;
    return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                   "%s has another tokenizer than %s (CRC-32 of tokenizer.json %08" PRIx32
                   ", expected %08" PRIx32 "): their tokens cannot be compared",
                   view->path, against, mine, base);
}

/* Opens the baseline and says what stands for it. */
static moeq_status open_baseline(const struct mq_context *context,
                                 const struct mq_verify_options *options,
                                 struct mq_verify_result *result, struct mq_arm *arm,
                                 moeq_error *err)
{
    if (mq_is_reference(options->against)) {
        MQ_TRY(mq_reference_open(context, options->against, &result->reference, err));
        *arm = (struct mq_arm){.view = result->reference->view,
                               .recording = &result->reference->playback};
    } else {
        MQ_TRY(mq_model_open(options->against, &result->base, err));
        *arm = (struct mq_arm){.view = result->base};
    }
    arm->name = "baseline";
    arm->routes_from = -1;
    return MOEQ_OK;
}

/* The recording's own windows; a text that is given nevertheless must give the same. */
static moeq_status copy_windows(const struct mq_reference *reference, const struct mq_view *view,
                                const char *text_path, struct mq_text_windows *text,
                                bool *other_text, moeq_error *err)
{
    const struct mq_text_windows *r = &reference->text;
    const size_t tokens = r->windows.count * r->windows.length;
    if (text_path) {
        const struct mq_protocol_options same = {
            .protocol = r->protocol, .context = r->windows.length, .max_tokens = tokens};
        MQ_TRY(mq_protocol_text(&same, view, text_path, text, err));
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
                       text_path, reference->view->path, reference->text_name);
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
                     struct mq_stored_size size)
{
    row->name = name;
    row->kind = kind;
    row->weights = size.weights;
    row->weight_bytes = size.weight_bytes;
    row->file_bytes = size.file_bytes;
    row->bits_per_weight =
        size.weights ? 8.0 * (double)size.weight_bytes / (double)size.weights : 0;
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

static moeq_status evaluate(const struct mq_context *context, const struct mq_arm *arms,
                            size_t count, struct mq_verify_result *result, moeq_error *err)
{
    struct mq_arm_result results[1 + MQ_VERIFY_MODELS];
    struct mq_referee *referee = NULL;
    struct mq_observer observer;
    moeq_status status;
    MQ_TRY_OUT(mq_referee_create(context, arms, count, &result->sweep.text, &referee, err));
    observer = mq_referee_observer(referee);
    MQ_TRY_OUT(mq_evaluate(context, arms, count, &result->sweep.text.windows, &observer, err));
    MQ_TRY_OUT(mq_referee_finish(referee, results, err));
    for (size_t i = 0; i < count; i++)
        result->sweep.rows[i].result = results[i]; /* moves the arrays */
    if (count > 2)
        status = compare_models(referee, result, err);
out:
    mq_referee_free(referee);
    return status;
}

/* Rows' names: short, for tables; the paths are said once. */
static const char *row_name(size_t row, size_t models)
{
    static const char *const names[] = {"baseline", "A", "B"};
    return models == 1 && row == 1 ? "model" : names[row];
}

moeq_status mq_verify(const struct mq_context *context, const struct mq_view *const *views,
                      size_t count, const struct mq_verify_options *options,
                      struct mq_verify_result *result, moeq_error *err)
{
    struct mq_arm arms[1 + MQ_VERIFY_MODELS];
    uint32_t tokenizer;
    moeq_status status;
    memset(result, 0, sizeof *result);
    if (count < 1 || count > MQ_VERIFY_MODELS)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "expected one or two models");
    MQ_TRY_OUT(open_baseline(context, options, result, &arms[0], err));
    const struct mq_reference *reference = result->reference;
    const bool has_tokenizer =
        reference ? reference->has_tokenizer : mq_tokenizer_fingerprint(arms[0].view, &tokenizer);
    if (reference)
        tokenizer = reference->tokenizer_crc32;
    result->sweep.view = arms[0].view;
    result->paths[0] = options->against;
    for (size_t i = 0; i < count; i++) {
        arms[1 + i] =
            (struct mq_arm){.name = row_name(1 + i, count), .view = views[i], .routes_from = -1};
        result->paths[1 + i] = views[i]->path;
    }
    MQ_TRY_OUT(mq_arms_check(arms, 1 + count, err));
    for (size_t i = 0; i < count; i++)
        MQ_TRY_OUT(check_tokenizer(views[i], options->against, has_tokenizer, tokenizer, err));
    result->sweep.rows = calloc(1 + count, sizeof *result->sweep.rows);
    if (!result->sweep.rows) {
        status = mq_fail_memory(err, "preparing a verification");
        goto out;
    }
    result->sweep.rows_count = 1 + count;
    fill_row(&result->sweep.rows[0], row_name(0, count), MQ_SWEEP_BASELINE,
             reference ? (struct mq_stored_size){reference->weights, reference->weight_bytes,
                                                 reference->file_bytes}
                       : mq_stored_size(arms[0].view));
    for (size_t i = 0; i < count; i++)
        fill_row(&result->sweep.rows[1 + i], arms[1 + i].name, MQ_SWEEP_STORED,
                 mq_stored_size(views[i]));
    if (reference) {
        result->sweep.text_path = options->text_path ? options->text_path : reference->text_name;
        MQ_TRY_OUT(copy_windows(reference, views[0], options->text_path, &result->sweep.text,
                                &result->other_text, err));
    } else {
        result->sweep.text_path = options->text_path;
        MQ_TRY_OUT(mq_protocol_text(&options->protocol, arms[0].view, options->text_path,
                                    &result->sweep.text, err));
    }
    MQ_TRY_OUT(evaluate(context, arms, 1 + count, result, err));
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
