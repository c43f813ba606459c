/* cmd_sweep.c: moeq sweep: levels of one model and files made of it, side by side. */
#include "attribution_print.h"
#include "calibrated_levels.h"
#include "comparison_announce.h"
#include "comparison_print.h"
#include "eval_options.h"
#include "importance_option.h"
#include "level_candidates.h"
#include "model_options.h"
#include "output_claims.h"
#include "report_files.h"
#include "source_card.h"
#include "sweep_card.h"
#include "sweep_tables.h"
#include "terminal_text.h"
#include "text_table.h"
#include "text_option.h"

#include "attribution.h"
#include "comparison_json.h"
#include "error.h"
#include "samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The candidates: first --levels, then --files; and what they borrow. */
struct sweep {
    struct mq_candidate candidates[MQ_CANDIDATES_MAX];
    size_t count;
    struct mq_option_levels levels;
    char *paths[MQ_CANDIDATES_MAX + 1]; /* of --files; NULL behind them */
    size_t files_count;
    struct mq_view *source, *files[MQ_CANDIDATES_MAX], *made[MQ_CANDIDATES_MAX];
    char sentence[MQ_CALIBRATED_SENTENCE]; /* of what the levels were made by a text */
    struct mq_baseline baseline;
    struct mq_importance *importance; /* of --calibration */
    struct mq_text text;
    struct mq_task_files tasks;
    struct mq_comparison_options how;
    struct mq_comparison result;
    int attribute; /* by what: see attribution.h; 0: not asked for */
    struct mq_attribution attribution;
    struct mq_sweep_card card;
    struct mq_samples samples; /* of --samples */
    char date[16];
};

static void free_sweep(struct sweep *s, const struct mq_options *options)
{
    mq_comparison_free(&s->result);
    mq_attribution_free(&s->attribution);
    mq_samples_free(&s->samples);
    mq_text_free(&s->text);
    mq_task_files_free(&s->tasks);
    for (size_t i = 0; i < s->files_count; i++) {
        mq_view_close(s->files[i]);
        free(s->paths[i]);
    }
    for (size_t i = 0; i < s->levels.count; i++)
        mq_view_close(s->made[i]);
    mq_view_close(s->source);
    mq_importance_destroy(s->importance);
    mq_option_levels_free(options, &s->levels);
}

static bool has_room(const struct sweep *s)
{
    if (s->levels.count + s->files_count < MQ_CANDIDATES_MAX)
        return true;
    mq_usage("sweep", "--levels and --files: at most %d together", MQ_CANDIDATES_MAX);
    return false;
}

/* What says how to quantize is about --levels: files are as they are. */
static bool check_quantizing(const struct mq_options *o)
{
    const struct {
        const char *name;
        bool given;
    } options[] = {{"shared", o->shared != NULL},
                   {"attention", o->attention != NULL},
                   {"embeddings", o->embeddings != NULL},
                   {"tensor", o->tensor.count > 0},
                   {"effort", o->effort != NULL},
                   {"calibration", o->calibration != NULL}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (options[i].given && !o->levels) {
            mq_usage("sweep", "--%s is about --levels, of which there are none", options[i].name);
            return false;
        }
    return true;
}

/* Names separated by commas, unless there is a file with a comma in its name. */
static bool parse_files(const struct mq_options *options, struct sweep *s)
{
    for (size_t i = 0; i < options->files.count; i++) {
        const char *at = options->files.values[i];
        const bool whole = mq_path_exists(at);
        for (bool more = true; more;) {
            const size_t n = whole ? strlen(at) : strcspn(at, ",");
            if (!n) {
                mq_usage("sweep", "--files '%s': a name is missing", options->files.values[i]);
                return false;
            }
            if (!has_room(s))
                return false;
            s->paths[s->files_count++] = mq_option_memory(strndup(at, n));
            more = at[n] == ',';
            at += n + more;
        }
    }
    return true;
}

static moeq_status open_files(const struct mq_options *options, struct sweep *s, moeq_error *err)
{
    s->count = s->levels.count + s->files_count;
    for (size_t i = 0; i < s->files_count; i++) {
        MQ_TRY(mq_open_model(options, s->paths[i], &s->files[i], err));
        if (mq_same_model(s->files[i], s->source))
            return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                           "%s is the original itself, which the others are compared with: leave "
                           "it out of --files",
                           s->paths[i]);
        s->candidates[s->levels.count + i] = (struct mq_candidate){
            .name = s->count == 1 ? "model" : mq_file_letter(i), .file = s->files[i]};
    }
    return MOEQ_OK;
}

static moeq_status run(const struct mq_options *options, const struct mq_context *context,
                       struct sweep *s, moeq_error *err)
{
    MQ_TRY(mq_open_model(options, options->positional[0], &s->source, err));
    MQ_TRY(mq_importance_option_read(options, s->source, &s->importance, err));
    for (size_t i = 0; i < s->levels.count; i++)
        s->candidates[i].policy.importance = s->importance;
    MQ_TRY(open_files(options, s, err));
    MQ_TRY(mq_sweep_card_fit(&s->card, s->source, s->candidates, s->count, err));
    MQ_TRY(mq_read_text(options, s->source, &s->text, err));
    if (options->samples) {
        const time_t t = time(NULL);
        struct tm tm = {0};
        strftime(s->date, sizeof s->date, "%Y-%m-%d", localtime_r(&t, &tm));
        MQ_TRY(mq_samples_read(options->samples, &s->samples, err));
        MQ_TRY(mq_samples_prepare(s->source, s->date, &s->samples, err));
    }
    s->how.text = &s->text;
    MQ_TRY(mq_option_tasks(options, &s->tasks, &s->how.protocol, err));
    s->baseline = mq_baseline_of(s->source);
    MQ_TRY(mq_calibrated_levels_make(options, context, s->source, &s->text, s->candidates,
                                     s->levels.count, s->made, s->sentence, err));
    MQ_TRY(mq_compare(context, &s->baseline, s->candidates, s->count, &s->how, &s->result, err));
    if (options->samples)
        MQ_TRY(mq_samples_run(context, s->source, s->candidates, s->count, &s->samples, err));
    if (!s->attribute)
        return MOEQ_OK;
    struct mq_comparison_options how = {.text = &s->text, .protocol = s->how.protocol,
                                        .allow_loss = options->allow_loss};
    how.protocol.tasks = NULL; /* parts are told by the text alone */
    return mq_attribute(context, &s->baseline, &s->candidates[0].policy, s->attribute, &how,
                        &s->attribution, err);
}

static cJSON *json_of(const struct sweep *s, const struct mq_options *options)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_sweep_json(&s->result, s->attribute ? &s->attribution : NULL);
    if (o && s->samples.count)
        mq_json_put(&b, o, "samples", mq_samples_json(&b, s->source, s->candidates, &s->samples));
    o = mq_json_finish(&b, o);
    return mq_put_verdict(
        mq_put_source_card(mq_sweep_card_put_json(&s->card, o), options, s->source->path));
}

static void print_sweep(const struct sweep *s, const struct mq_options *options)
{
    const struct mq_comparison *r = &s->result;
    mq_print_line(2, "%s on %s", r->baseline->path, r->text_path);
    mq_print_files(r);
    mq_print_protocol(&r->text, r->compute,
                      !r->rows[1].int8 ? NULL
                      : r->files_count ? "; rows named int8: the row above with --compute int8"
                                       : "; rows named int8: the level above with --compute int8");
    if (s->sentence[0])
        printf("  levels by %s\n", s->sentence);
    mq_print_comparison_notes(options, r);
    struct mq_table_choice choice;
    if (mq_table_choose("sweep", options, &choice))
        mq_print_comparison(r, &choice);
    if (s->attribute)
        mq_print_attribution(&s->attribution, r);
    cJSON *document = s->card.given ? json_of(s, options) : NULL;
    mq_sweep_card_print(&s->card, document);
    cJSON_Delete(document);
}

/* A text in a paragraph: what would break the line or act on the terminal is shown as what it is. */
static void print_line(const char *name, const char *text, const char *where)
{
    enum { INDENT = 4, NAMES = 12, AT = INDENT + NAMES + 1 };
    struct mq_table_line line;
    struct mq_buffer words = {0};
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text, next = (unsigned char)text[1];
        const bool c1 = c == 0xc2 && next >= 0x80 && next < 0xa0; /* in UTF-8 two bytes */
        if (c == '\n')
            mq_buffer_puts(&words, "\\n");
        else if (c < 0x20 || c == 0x7f || c1)
            mq_buffer_printf(&words, "\\x%02x", c1 ? next : c);
        else
            mq_buffer_putc(&words, (char)c);
        text += c1;
    }
    mq_buffer_puts(&words, where);
    mq_line_begin(&line, INDENT, NAMES, name);
    printf("%s ", line.text);
    mq_print_wrapped(mq_printable(&words), AT, AT);
    mq_buffer_free(&words);
}

static void print_samples(const struct sweep *s, const struct mq_comparison *c)
{
    const struct mq_samples *all = &s->samples;
    putchar('\n');
    mq_print_sentence(
        4, "  what they say after the prompts of %s, the most likely token each time:", all->path);
    for (size_t i = 0; i < all->count; i++) {
        const struct mq_sample *sample = &all->samples[i];
        print_line("prompt", sample->prompt, " ...");
        print_line("original", sample->texts[0], "");
        for (size_t a = 1; a < all->arms; a++) {
            const struct mq_parting p =
                mq_generation_compare(MQ_ISA_GENERIC, &sample->said[0], &sample->said[a]);
            char where[48] = " (the same)";
            if (p.parts)
                snprintf(where, sizeof where, " (parts at token %zu)", p.at + 1);
            char name[MQ_ROW_NAME];
            mq_row_name(c, a, name);
            print_line(name, sample->texts[a], where);
        }
    }
}

/* --attribute takes one level apart. */
static bool parse_attribute(const struct mq_options *options, struct sweep *s)
{
    if (!options->attribute)
        return true;
    if (!mq_attribution_by(options->attribute, &s->attribute)) {
        mq_usage("sweep", "--attribute '%s': expected layer, role or layer,role",
                 options->attribute);
        return false;
    }
    if (s->levels.count == 1 && !options->files.count)
        return true;
    mq_usage("sweep", "--attribute takes one level apart: give one in --levels, and no --files");
    return false;
}

enum mq_exit mq_cmd_sweep(const struct mq_options *options)
{
    if (!options->text.count)
        return mq_usage("sweep", "--text FILE is missing");
    if (!options->levels && !options->files.count)
        return mq_usage("sweep", "--levels or --files is missing, such as --levels q8_0,q4_k,q3_k");
    if (!mq_text_option_reports_ok("sweep", options) ||
        (options->calibration_text.count &&
         !mq_report_files_ok("sweep", options, options->calibration_text.values)))
        return MQ_EXIT_USAGE;
    struct sweep s = {.how = {.swap = options->swap, .noise_floor = options->noise_floor,
                              .allow_loss = options->allow_loss}};
    struct mq_job_ui ui;
    struct mq_table_choice columns;
    enum mq_compute compute;
    if (!mq_table_choose("sweep", options, &columns) ||
        !mq_option_protocol("sweep", options, &s.how.protocol) ||
        !mq_option_compute("sweep", options, &compute) ||
        !mq_option_levels("sweep", options, s.candidates, &s.levels) ||
        !parse_attribute(options, &s) || !mq_sweep_card_options(options, &s.card) ||
        !mq_calibrated_levels_check(options) || !check_quantizing(options) ||
        !parse_files(options, &s) ||
        !mq_report_files_ok("sweep", options, (const char *const *)s.paths) ||
        !mq_job_begin(options, &ui)) {
        free_sweep(&s, options);
        return MQ_EXIT_USAGE;
    }
    s.how.int8 = compute == MQ_COMPUTE_INT8;
    s.how.before = mq_announce_comparison;
    s.how.before_user = &ui;
    moeq_error err = {0};
    struct mq_claims claims;
    moeq_status status = mq_output_claims_take(options, &claims, &err);
    if (status == MOEQ_OK)
        status = run(options, &ui.context, &s, &err);
    mq_job_end(&ui);
    enum mq_exit code;
    if (status != MOEQ_OK) {
        code = mq_report(&err);
    } else if (options->json) {
        code = mq_print_json(json_of(&s, options));
    } else {
        print_sweep(&s, options);
        if (s.samples.count)
            print_samples(&s, &s.result);
        code = mq_finish_output();
    }
    if (code == MQ_EXIT_GOOD && mq_report_files_wanted(options))
        code = mq_report_files_write(options, ui.context.threads, json_of(&s, options), &claims);
    mq_output_claims_release(&claims);
    free_sweep(&s, options);
    return code;
}
