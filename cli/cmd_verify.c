/* cmd_verify.c: moeq verify: stored models against the original, and against a gate. */
#include "comparison_announce.h"
#include "comparison_print.h"
#include "eval_options.h"
#include "level_candidates.h"
#include "metric_list.h"
#include "model_options.h"
#include "output_claims.h"
#include "report_files.h"
#include "verify_failure.h"
#include "source_card.h"
#include "text_option.h"

#include "comparison_json.h"
#include "error.h"
#include "output_path.h"
#include "policy.h"
#include "spellings.h"
#include "what_is_it.h"

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

/* The name of a level or recipe in a file's place. */
static enum mq_exit refuse_level(const struct mq_options *o)
{
    struct mq_named named;
    for (int i = 0; i < o->positional_count; i++) {
        const char *name = o->positional[i];
        char about[256];
        if (mq_path_exists(name) || !mq_name_find(name, &named) || !(named.level || named.recipe))
            continue;
        snprintf(about, sizeof about,
                 "'%s' is a %s, and verify takes files here; levels and recipes", name,
                 named.level ? "level" : "recipe");
        return mq_usage_instead(
            "verify", about, "moeq verify [FILE...] --against BASE --text FILE --levels %", &name);
    }
    return MQ_EXIT_GOOD;
}

/* What may be asked together. MQ_EXIT_GOOD if it may. */
static enum mq_exit check_options(const struct mq_options *o, struct mq_comparison_options *how,
                                  struct mq_gate_request *wanted, moeq_error *err)
{
    if (o->positional_count > MQ_CANDIDATES_MAX)
        return mq_usage("verify", "%d models: expected at most %d", o->positional_count,
                        MQ_CANDIDATES_MAX);
    if (!o->against)
        return mq_usage("verify", "--against BASE or REF is missing");
    if (o->junit && !o->gate)
        return mq_usage("verify", "--junit needs --gate GATE.json, whose limits it reports");
    if (o->gate_all && !o->gate)
        return mq_usage("verify", "--gate-all needs --gate GATE.json");
    if (o->margin && !o->write_gate)
        return mq_usage("verify", "--margin needs --write-gate GATE.json");
    if (o->gate_texts && !o->write_gate)
        return mq_usage("verify", "--gate-texts needs --write-gate GATE.json");
    *wanted = (struct mq_gate_request){.limits = o->gate,
                                       .all = o->gate_all,
                                       .junit = o->junit,
                                       .write = o->write_gate,
                                       .texts = o->gate_texts};
    if (!parse_margin(o->margin, &wanted->margin) || refuse_level(o) != MQ_EXIT_GOOD)
        return MQ_EXIT_USAGE;
    how->swap = o->swap;
    how->noise_floor = o->noise_floor;
    how->allow_loss = o->allow_loss;
    struct mq_table_choice columns;
    if (!mq_table_choose("verify", o, &columns))
        return MQ_EXIT_USAGE;
    how->has_compute = o->compute;
    if (!mq_option_compute("verify", o, &how->compute))
        return MQ_EXIT_USAGE;
    bool recorded;
    if (mq_is_recording(o->against, &recorded, err) != MOEQ_OK)
        return mq_report(err);
    if (!recorded) {
        if (!o->text.count && refuse_other(o->against, err) != MOEQ_OK)
            return mq_report(err);
        if (!o->text.count)
            return mq_usage("verify", "--text FILE is missing (%s is no recording)", o->against);
        return mq_option_protocol("verify", o, &how->protocol) ? MQ_EXIT_GOOD : MQ_EXIT_USAGE;
    }
    if (o->tasks.count)
        return mq_usage("verify",
                        "%s is a recording and has its own tasks, if any: leave --tasks out",
                        o->against);
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

/* None of the files to write may be one that is read. */
static moeq_status check_outputs(const struct mq_options *o, struct mq_view *const *views,
                                 size_t count, moeq_error *err)
{
    const char *const inputs[] = {o->against, o->gate};
    for (size_t i = 0; i < mq_outputs_count(o); i++) {
        const char *path = mq_output_path(o, i);
        if (!path)
            continue;
        for (size_t v = 0; v < count; v++)
            MQ_TRY(mq_refuse_output(views[v], NULL, path, err));
        for (size_t k = 0; k < sizeof inputs / sizeof *inputs; k++)
            if (inputs[k] && mq_same_file(path, inputs[k]))
                return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                                    "the output would replace an input; choose another name");
        if (mq_text_option_names(o, path))
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                                "the output would replace an input; choose another name");
        if (path == o->write_gate || path == o->junit)
            MQ_TRY(mq_refuse_foreign(path, err));
    }
    return MOEQ_OK;
}

/* ---- output ---- */

static void print_result(const struct mq_comparison *r, const struct mq_options *options)
{
    mq_print_files(r);
    mq_print_line(2, "against %s%s on %s", r->baseline->path,
                  r->baseline->recording ? " (a recording)" : "", r->text_path);
    mq_print_protocol(&r->text, r->compute, NULL);
    if (!mq_same_compute(r))
        mq_print_line(4, "  the recording was made with %s: the figures hold that difference, too",
                      mq_compute_name(r->rows[0].compute));
    mq_print_comparison_notes(options, r);
    struct mq_table_choice choice;
    if (mq_table_choose("verify", options, &choice))
        mq_print_comparison(r, &choice);
}

/* One line a broken limit; with --json on stderr, since stdout has one document and nothing else.
 */
static void print_judgement(const struct mq_gate *gate, const struct mq_options *options)
{
    void (*const say)(int, const char *, ...) __attribute__((format(printf, 2, 3))) =
        options->json ? mq_say : mq_print_line;
    const bool color = !options->json && mq_color_wanted(options);
    char line[256], limits[64];
    if (!options->json)
        putchar('\n');
    if (!gate->broken) {
        say(2, "%sgate %s: %s%s kept%s", mq_color(color, MQ_COLOR_GOOD), gate->path,
            gate->count == 1 ? "" : "all ", mq_counted(gate->count, "limit", limits),
            mq_color(color, MQ_COLOR_NONE));
        return;
    }
    say(2, "%sREGRESSION: %zu of %s of %s broken%s", mq_color(color, MQ_COLOR_BAD), gate->broken,
        mq_counted(gate->count, "limit", limits), gate->path, mq_color(color, MQ_COLOR_NONE));
    for (size_t i = 0; i < gate->count; i++) {
        if (gate->limits[i].kept)
            continue;
        mq_gate_describe(&gate->limits[i], line, sizeof line);
        say(4, "  %s", line);
    }
}

/* ---- the command ---- */

/* What a verification holds until its end. */
struct verification {
    struct mq_job_ui *ui;
    struct mq_view *views[MQ_CANDIDATES_MAX];
    struct mq_candidate candidates[MQ_CANDIDATES_MAX];
    struct mq_option_levels levels; /* before the files */
    size_t files_count, count;
    struct mq_gate_request wanted;
    struct mq_gate *gate;
    struct mq_text text;
    struct mq_task_files tasks;
    struct mq_baseline baseline;
    struct mq_comparison_options how;
    struct mq_comparison result;
    struct mq_claims claims;
};

/* A gate about other tokens or another arithmetic must not cost an evaluation first. */
static moeq_status before(void *user, const struct mq_comparison *result, moeq_error *err)
{
    struct verification *v = user;
    if (v->gate)
        MQ_TRY(mq_gate_check(v->gate, result, err));
    return mq_announce_comparison(v->ui, result, err);
}

/* Everything before the evaluation: what is not understood must not cost one first. */
static moeq_status prepare(const struct mq_options *options, const struct mq_context *context,
                           struct verification *v, moeq_error *err)
{
    const struct mq_open_options open = mq_option_open(options);
    for (size_t i = 0; i < v->files_count; i++) {
        MQ_TRY(mq_open_model(options, options->positional[i], &v->views[i], err));
        v->candidates[v->levels.count + i] = (struct mq_candidate){
            .name = v->count == 1 ? "model" : mq_file_letter(i), .file = v->views[i]};
    }
    MQ_TRY(check_outputs(options, v->views, v->files_count, err));
    if (!v->files_count) /* it is what says which figures there are */
        MQ_TRY(mq_baseline_open(context, options->against, &open, &v->baseline, err));
    struct mq_view *view = v->files_count ? v->views[0] : v->baseline.model;
    if (!view)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%s is a recording: it has no weights to quantize to '%s'", options->against,
                       v->candidates[0].name);
    MQ_TRY(mq_gate_prepare(&v->wanted, view, v->count, &v->gate, err));
    if (options->text.count) {
        MQ_TRY(mq_read_text(options, view, &v->text, err));
        v->how.text = &v->text;
    }
    MQ_TRY(mq_option_tasks(options, &v->tasks, &v->how.protocol, err));
    v->how.before = before;
    v->how.before_user = v;
    if (v->files_count)
        MQ_TRY(mq_baseline_open(context, options->against, &open, &v->baseline, err));
    if (v->baseline.model)
        MQ_TRY(check_outputs(options, &v->baseline.model, 1, err));
    v->wanted.claims = &v->claims;
    return mq_output_claims_take(options, &v->claims, err);
}

/* --levels, and room for the files behind them. */
static bool read_levels(const struct mq_options *options, struct verification *v)
{
    if (!mq_option_levels("verify", options, v->candidates, &v->levels))
        return false;
    v->count = v->levels.count + v->files_count;
    if (v->count <= MQ_CANDIDATES_MAX)
        return true;
    mq_usage("verify", "%zu levels and models: expected at most %d", v->count, MQ_CANDIDATES_MAX);
    return false;
}

static cJSON *json_of(const struct verification *v, const struct mq_options *options)
{
    return mq_put_verdict(
        mq_put_source_card(mq_verify_json(&v->result, v->gate), options, v->result.baseline->path));
}

/* Everything behind it. */
static enum mq_exit conclude(const struct mq_options *options, unsigned threads,
                             struct verification *v)
{
    const struct mq_comparison *result = &v->result;
    struct mq_gate *gate = v->gate;
    moeq_error err = {0};
    if (!mq_is_speaker())
        v->wanted.write = v->wanted.junit = NULL;
    if (mq_gate_conclude(&v->wanted, gate, result, &err) != MOEQ_OK)
        return mq_report(&err);
    enum mq_exit code = MQ_EXIT_GOOD;
    if (options->json) {
        code = mq_print_json(json_of(v, options));
    } else {
        print_result(result, options);
        if (options->write_gate && !options->quiet)
            printf("\nwrote %s: limits %g %% further from perfect than %s\n", options->write_gate,
                   100 * v->wanted.margin, mq_gate_judged_name(result));
    }
    if (gate)
        print_judgement(gate, options);
    if (!options->json)
        code = mq_finish_output();
    if (code == MQ_EXIT_GOOD &&
        mq_report_files_wanted(options)) /* a regression is to be read about too */
        code = mq_report_files_write(options, threads, json_of(v, options), &v->claims);
    return code == MQ_EXIT_GOOD && gate && gate->broken ? MQ_EXIT_REGRESSION : code;
}

enum mq_exit mq_cmd_verify(const struct mq_options *options)
{
    if (options->list_metrics)
        return mq_list_metrics(options);
    if (!options->positional_count && !options->levels)
        return mq_usage("verify", "expected: moeq verify MODEL... --against BASE|REF");
    struct verification v = {.files_count = (size_t)options->positional_count};
    struct mq_job_ui ui;
    moeq_error err = {0};
    enum mq_exit code = check_options(options, &v.how, &v.wanted, &err);
    if (code == MQ_EXIT_FAILURE)
        mq_verify_failure_write(options, &err);
    if (code == MQ_EXIT_GOOD &&
        (!read_levels(options, &v) ||
         !mq_report_files_ok("verify", options, (const char *[]){options->against, NULL}) ||
         !mq_text_option_reports_ok("verify", options) || !mq_job_begin(options, &ui)))
        code = MQ_EXIT_USAGE;
    if (code != MQ_EXIT_GOOD) {
        mq_option_levels_free(options, &v.levels);
        return code;
    }
    v.ui = &ui;
    moeq_status status = prepare(options, &ui.context, &v, &err);
    if (status == MOEQ_OK)
        status =
            mq_compare(&ui.context, &v.baseline, v.candidates, v.count, &v.how, &v.result, &err);
    mq_job_end(&ui);
    code = status == MOEQ_OK ? conclude(options, ui.context.threads, &v) : mq_report(&err);
    mq_output_claims_release(&v.claims);
    if (status != MOEQ_OK)
        mq_verify_failure_write(options, &err);
    if (status != MOEQ_OK && v.result.other_text)
        code = MQ_EXIT_USAGE;
    mq_comparison_free(&v.result);
    mq_baseline_close(&v.baseline);
    mq_text_free(&v.text);
    mq_task_files_free(&v.tasks);
    mq_gate_free(v.gate);
    for (size_t i = 0; i < v.files_count; i++)
        mq_view_close(v.views[i]);
    mq_option_levels_free(options, &v.levels);
    return code;
}
