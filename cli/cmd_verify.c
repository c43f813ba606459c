/* cmd_verify.c: moeq verify: a stored model against the original, and against a gate. */
#include "eval_options.h"
#include "metric_list.h"
#include "model_options.h"
#include "report_files.h"
#include "sweep_tables.h"

#include "error.h"
#include "figures.h"
#include "open_options.h"
#include "output_path.h"
#include "policy.h"
#include "verify_json.h"
#include "what_is_it.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "10%", "2.5%". Without the sign it is not clear what is meant. */
static bool parse_margin(const char *text, double *margin)
{
    char *end;
    *margin = 0.1;
    if (!text)
        return true;
    const double percent = strtod(text, &end);
    if (end == text || strcmp(end, "%") != 0 || !(percent >= 0 && percent <= 1000)) {
        mq_usage("verify", "--margin '%s': expected a percentage such as 10%%", text);
        return false;
    }
    *margin = percent / 100;
    return true;
}

/* A file that is neither a recording nor a model, before a text is asked for. */
static moeq_status refuse_other(const char *path, moeq_error *err)
{
    struct mq_what what;
    if (mq_path_is_folder(path) || !mq_path_exists(path))
        return MOEQ_OK;
    MQ_TRY(mq_what_is_file(path, &what, err));
    return mq_refuse_what(path, &what, MQ_FILE_SAFETENSORS | MQ_FILE_GGUF | MQ_FILE_JSON, err);
}

/* What may be asked together. MQ_EXIT_GOOD if it may. */
static enum mq_exit check_options(const struct mq_options *o, const struct mq_open_options *open,
                                  struct mq_verify_options *how, double *margin)
{
    if (!o->against)
        return mq_usage("verify", "--against BASE or REF is missing");
    if (o->junit && !o->gate)
        return mq_usage("verify", "--junit needs --gate GATE.json, whose limits it reports");
    if (o->junit && o->write_gate && strcmp(o->junit, o->write_gate) == 0)
        return mq_usage("verify", "--junit and --write-gate are the same file");
    for (size_t i = 0; i < o->report.count; i++)
        if ((o->junit && strcmp(o->report.values[i], o->junit) == 0) ||
            (o->write_gate && strcmp(o->report.values[i], o->write_gate) == 0))
            return mq_usage("verify", "--report '%s' is another output too", o->report.values[i]);
    if (o->margin && !o->write_gate)
        return mq_usage("verify", "--margin needs --write-gate GATE.json");
    if (!parse_margin(o->margin, margin))
        return MQ_EXIT_USAGE;
    how->against = o->against;
    how->open = open;
    how->swap = o->swap;
    how->noise_floor = o->noise_floor;
    how->has_compute = o->compute;
    if (!mq_option_compute("verify", o, &how->compute))
        return MQ_EXIT_USAGE;
    moeq_error err = {0};
    bool recorded;
    if (mq_is_reference(o->against, &recorded, &err) != MOEQ_OK)
        return mq_report(&err);
    if (!recorded) {
        if (!o->text.count && refuse_other(o->against, &err) != MOEQ_OK)
            return mq_report(&err);
        if (!o->text.count)
            return mq_usage("verify", "--text FILE is missing (%s is no recording)", o->against);
        return mq_option_protocol("verify", o, &how->protocol) ? MQ_EXIT_GOOD : MQ_EXIT_USAGE;
    }
    if (o->protocol || o->context || o->tokens)
        return mq_usage("verify", "%s is a recording and has its own protocol: leave --%s out",
                        o->against,
                        o->protocol  ? "protocol"
                        : o->context ? "context"
                                     : "tokens");
    if (o->noise_floor)
        return mq_usage("verify", "--noise-floor runs the original, of which %s is a recording",
                        o->against);
    return MQ_EXIT_GOOD;
}

/* The files to write, by number; some may be NULL. */
static size_t outputs_count(const struct mq_options *o)
{
    return 2 + o->report.count;
}

static const char *output(const struct mq_options *o, size_t i)
{
    return i == 0 ? o->write_gate : i == 1 ? o->junit : o->report.values[i - 2];
}

/* None of the files to write may be one that is read; of the original's see conclude. */
static moeq_status check_outputs(const struct mq_options *o, struct mq_view *const *views,
                                 size_t count, moeq_error *err)
{
    const char *const inputs[] = {o->against, o->gate};
    for (size_t i = 0; i < outputs_count(o); i++) {
        const char *path = output(o, i);
        if (!path)
            continue;
        for (size_t v = 0; v < count; v++)
            MQ_TRY(mq_refuse_output(views[v], NULL, path, err));
        for (size_t k = 0; k < sizeof inputs / sizeof *inputs; k++)
            if (inputs[k] && mq_same_file(path, inputs[k]))
                return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                                    "the output would replace an input; choose another name");
        for (size_t k = 0; k < o->text.count; k++)
            if (mq_same_file(path, o->text.values[k]))
                return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                                    "the output would replace an input; choose another name");
    }
    return MOEQ_OK;
}

/* ---- output ---- */

static void print_differences(const struct mq_verify_result *r)
{
    if (!r->differences_count)
        return;
    printf("\nB minus A%24s %11s   95 %% interval\n", "mean", "± se");
    for (size_t i = 0; i < r->differences_count; i++) {
        const struct mq_bootstrap *b = &r->differences[i].b_minus_a;
        printf("  %-22s %+9.6f", mq_figure_by_difference(r->differences[i].name)->title, b->mean);
        if (isnan(b->se))
            printf(" %11s   (one window: none)\n", "-");
        else
            printf(" %10.6f   %+9.6f to %+9.6f%s\n", b->se, b->low, b->high,
                   b->low > 0 || b->high < 0 ? "  *" : "");
    }
    printf("  * the interval leaves out 0. Block bootstrap: %zu windows, %d resamples,\n"
           "    splitmix64 seed %llu\n",
           r->sweep.text.windows.count, MQ_BOOTSTRAP_RESAMPLES,
           (unsigned long long)MQ_BOOTSTRAP_SEED);
}

/* Of the original, and of the models what is not said of it already. */
static void print_notes(const struct mq_verify_result *r, const struct mq_options *options)
{
    const struct mq_view *base = r->sweep.view;
    for (size_t i = 0; i < r->models_count; i++) {
        struct mq_buffer text = {0};
        if (!r->tokens_compared[i])
            mq_verify_token_note(r, i, &text);
        if (!r->tokens_compared[i] && mq_buffer_ok(&text))
            mq_print_note(options, text.data);
        mq_buffer_free(&text);
    }
    for (size_t i = 0; i <= r->models_count; i++) {
        const struct mq_view *view = i ? r->models[i - 1] : base;
        for (size_t k = 0; k < view->notes_count; k++) {
            struct mq_buffer text = {0};
            mq_buffer_printf(&text, "%s: %s", r->paths[i], view->notes[k]);
            if (!i || !mq_view_has_note(base, view->notes[k]))
                mq_print_note(options, mq_buffer_ok(&text) ? text.data : view->notes[k]);
            mq_buffer_free(&text);
        }
    }
}

static void print_result(const struct mq_verify_result *r, const struct mq_options *options)
{
    for (size_t i = 1; i <= r->models_count; i++)
        printf("%s%s%s\n", r->models_count > 1 ? r->sweep.rows[i].name : "",
               r->models_count > 1 ? ": " : "", r->paths[i]);
    printf("against %s%s on %s\n", r->paths[0], r->reference ? " (a recording)" : "",
           r->sweep.text_path);
    char more[96] = "";
    if (!mq_verify_same_compute(r))
        snprintf(more, sizeof more,
                 "\n  the recording was made with %s: the figures hold that difference, too",
                 mq_compute_name(r->sweep.rows[0].compute));
    mq_print_protocol(&r->sweep.text, r->sweep.compute, more);
    print_notes(r, options);
    mq_print_sweep_tables(&r->sweep, options->verbose);
    print_differences(r);
}

/* One line a broken limit; with --json on stderr, since stdout has one document and nothing else.
 */
static void print_judgement(const struct mq_gate *gate, const struct mq_options *options)
{
    FILE *out = options->json ? stderr : stdout;
    char line[256];
    if (!gate->broken) {
        fprintf(out, "%sgate %s: all %zu limits kept\n", options->json ? "" : "\n", gate->path,
                gate->count);
        return;
    }
    fprintf(out, "%sREGRESSION: %zu of %zu limits of %s broken\n", options->json ? "" : "\n",
            gate->broken, gate->count, gate->path);
    for (size_t i = 0; i < gate->count; i++) {
        if (gate->limits[i].kept)
            continue;
        mq_gate_describe(&gate->limits[i], line, sizeof line);
        fprintf(out, "  %s\n", line);
    }
}

/* ---- the command ---- */

/* Everything behind the evaluation. */
static enum mq_exit conclude(const struct mq_options *options, double margin, unsigned threads,
                             struct mq_gate *gate, const struct mq_verify_result *result)
{
    moeq_error err = {0};
    if (gate && mq_gate_judge(gate, result, &err) != MOEQ_OK)
        return mq_report(&err);
    for (size_t i = 0; i < outputs_count(options); i++)
        /* result->base: the original, not a recording of it */
        if (output(options, i) && result->base &&
            mq_refuse_output(result->base, NULL, output(options, i), &err) != MOEQ_OK)
            return mq_report(&err);
    if (options->write_gate && mq_gate_write(options->write_gate, result, margin, &err) != MOEQ_OK)
        return mq_report(&err);
    if (gate && options->junit &&
        mq_gate_write_junit(options->junit, gate, result, &err) != MOEQ_OK)
        return mq_report(&err);
    enum mq_exit code = MQ_EXIT_GOOD;
    if (options->json) {
        code = mq_print_json(mq_verify_json(result, gate));
    } else {
        print_result(result, options);
        if (options->write_gate && !options->quiet)
            printf("\nwrote %s: limits %g %% further from perfect than %s\n", options->write_gate,
                   100 * margin, result->paths[result->models_count]);
    }
    if (gate)
        print_judgement(gate, options);
    if (!options->json)
        code = mq_finish_output();
    if (code == MQ_EXIT_GOOD && options->report.count) /* a regression is to be read about too */
        code = mq_report_files_write(options, threads, mq_verify_json(result, gate));
    return code == MQ_EXIT_GOOD && gate && gate->broken ? MQ_EXIT_REGRESSION : code;
}

/* A gate about other tokens or another arithmetic must not cost an evaluation first. */
static moeq_status check_gate(void *gate, const struct mq_verify_result *result, moeq_error *err)
{
    return mq_gate_check(gate, result, err);
}

enum mq_exit mq_cmd_verify(const struct mq_options *options)
{
    if (options->list_metrics)
        return mq_list_metrics(options);
    if (!options->positional_count)
        return mq_usage("verify", "expected: moeq verify MODEL [MODEL_B] --against BASE|REF");
    const size_t count = (size_t)options->positional_count;
    struct mq_verify_options how = {0};
    struct mq_verify_result result = {0};
    struct mq_view *views[MQ_VERIFY_MODELS] = {NULL};
    struct mq_gate *gate = NULL;
    struct mq_text text = {0};
    struct mq_job_ui ui;
    moeq_error err = {0};
    double margin = 0.1;
    const struct mq_open_options open = mq_option_open(options);
    enum mq_exit code = check_options(options, &open, &how, &margin);
    if (code != MQ_EXIT_GOOD)
        return code;
    if (!mq_report_files_ok("verify", options, (const char *[]){options->against, NULL}) ||
        (options->text.count && !mq_report_files_ok("verify", options, options->text.values)))
        return MQ_EXIT_USAGE;
    if (!mq_job_begin(options, &ui))
        return MQ_EXIT_USAGE;
    moeq_status status = MOEQ_OK;
    for (size_t i = 0; i < count && status == MOEQ_OK; i++)
        status = mq_open_model(options, options->positional[i], &views[i], &err);
    /* a gate that is not understood must not cost an evaluation first */
    if (status == MOEQ_OK && options->gate)
        status = mq_gate_read(options->gate, &gate, &err);
    if (status == MOEQ_OK)
        status = check_outputs(options, views, count, &err);
    if (status == MOEQ_OK && gate)
        status = mq_gate_resolve(gate, views[0], count == 2, &err);
    if (status == MOEQ_OK && options->text.count) {
        status = mq_read_text(options, views[0], &text, &err);
        how.text = &text;
    }
    how.before = gate ? check_gate : NULL;
    how.before_user = gate;
    if (status == MOEQ_OK)
        status = mq_verify(&ui.context, (const struct mq_view *const *)views, count, &how, &result,
                           &err);
    mq_job_end(&ui);
    code = status == MOEQ_OK ? conclude(options, margin, ui.context.threads, gate, &result)
                             : mq_report(&err);
    if (status != MOEQ_OK && result.other_text)
        code = MQ_EXIT_USAGE;
    mq_verify_result_free(&result);
    mq_text_free(&text);
    mq_gate_free(gate);
    for (size_t i = 0; i < count; i++)
        mq_view_close(views[i]);
    return code;
}
