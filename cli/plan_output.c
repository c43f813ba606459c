/* plan_output.c: showing a plan, and turning it into files. */
#include "plan_output.h"

#include "losses_print.h"
#include "calibrated_states.h"
#include "division.h"
#include "text_match.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static void print_notes(const struct mq_plan *plan, const struct mq_options *options)
{
    mq_print_notes(options, plan->view);
    for (size_t i = 0; i < plan->warnings_count; i++)
        mq_print_note(options, plan->warnings[i]);
}

/* What is not as the level's name says is shown, so that nothing falls back silently. */
static void print_remarks(const struct mq_plan *plan, const struct mq_options *options)
{
    uint64_t tails = 0, again = 0;
    for (size_t i = 0; i < plan->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        tails += e->level->quantized && e->tensor->cols % e->level->block_weights != 0;
        again += (e->source->quantized || mq_tensor_has_codes(e->tensor)) && e->source != e->level;
    }
    if (tails)
        mq_print_sentence(2,
                          "  %" PRIu64 " tensors have rows that are no multiple of their level's "
                          "block: the rows' ends are q8_0 blocks of 32 weights and f16 (counted "
                          "above)",
                          tails);
    if (again)
        mq_print_sentence(2,
                          "  %" PRIu64 " tensors are quantized already: converting them again adds "
                          "to their error",
                          again);
    if (plan->calibration)
        mq_print_line(4, "  %s", plan->calibration);
    if (plan->importance)
        mq_print_line(4, "  columns count by their importance in %s (%zu matrices)",
                      mq_importance_source(plan->importance),
                      mq_importance_count(plan->importance));
    print_notes(plan, options);
}

static void add_breakdown(struct mq_breakdown *b, const struct mq_plan *plan)
{
    for (size_t i = 0; i < plan->view->tensors_count; i++)
        mq_breakdown_add(b, plan->view, plan->entries[i].tensor, plan->entries[i].level,
                         plan->entries[i].size_bytes);
}

/* Of several files, each one's name. */
static void print_files(const struct mq_plan *plan, const char *output)
{
    for (size_t i = 0; i < plan->files_count && plan->files_count > 1; i++) {
        char name[PATH_MAX], size[32];
        mq_convert_file_name(output ? output : "OUT", &plan->files[i], name, sizeof name);
        if (plan->has_index && i == 0)
            printf("    %s\n", name);
        else
            printf("    %s %s (%" PRIu64 " bytes)\n", name,
                   mq_format_bytes(plan->files[i].file_bytes, size), plan->files[i].file_bytes);
    }
}

/* With peers, how it is divided; what is wrong with that, mq_convert says. */
static void print_division(const struct mq_plan *plan, const char *output)
{
    struct mq_division division;
    char text[128];
    moeq_error ignored = {0};
    if (mq_division_look(plan, output, mq_jobs_are_with(), &division, &ignored) != MOEQ_OK ||
        !division.peers)
        return;
    mq_division_describe(&division, text, sizeof text);
    mq_print_line(4, "  divided among %s", text);
}

static void print_plan(const struct mq_plan *plan, const struct mq_options *options,
                       const struct mq_budget_cli *budget)
{
    struct mq_breakdown b = {0};
    char source[32], output[32];
    add_breakdown(&b, plan);
    printf("plan: %s\n", plan->view->path);
    mq_breakdown_print(&b);
    mq_budget_option_print(budget, plan->view);
    mq_choice_print(options, &budget->choice);
    print_remarks(plan, options);
    for (size_t i = 0; i < plan->view->tensors_count && options->verbose; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        printf("  %-60s %5s -> %-5s %12" PRIu64 " B at %" PRIu64 "\n", e->tensor->name,
               e->source->name, e->level->name, e->size_bytes, e->offset);
    }
    mq_format_bytes(plan->total.source_bytes, source);
    mq_format_bytes(plan->output_bytes, output);
    if (plan->files_count == 1)
        mq_print_line(4, "  source %s, output file %s (%" PRIu64 " bytes)", source, output,
                      plan->output_bytes);
    else
        mq_print_line(4, "  source %s, %zu output files of together %s (%" PRIu64 " bytes)%s",
                      source, plan->files_count - plan->has_index, output, plan->output_bytes,
                      plan->has_index ? ", and their index" : "");
    print_division(plan, options->output);
    if (options->dry_run || options->verbose)
        print_files(plan, options->output);
}

/* What would be an error when it comes to writing. */
static enum mq_exit finish_dry_run(const struct mq_plan *plan, const struct mq_options *options)
{
    struct mq_division division;
    moeq_error err = {0};
    if (mq_division_look(plan, options->output, mq_jobs_are_with(), &division, &err) != MOEQ_OK)
        return mq_report(&err);
    return mq_finish_output();
}

static cJSON *files_json(struct mq_json_tree *b, const struct mq_plan *plan, const char *output)
{
    cJSON *files = mq_json_array(b);
    for (size_t i = 0; i < plan->files_count; i++) {
        char name[PATH_MAX];
        cJSON *f = mq_json_object(b);
        mq_convert_file_name(output ? output : "OUT", &plan->files[i], name, sizeof name);
        mq_json_put_text(b, f, "name", name);
        if (!plan->has_index || i > 0)
            mq_json_put_count(b, f, "bytes", plan->files[i].file_bytes);
        mq_json_append(b, files, f);
    }
    return files;
}

static cJSON *tensors_json(struct mq_json_tree *b, const struct mq_plan *plan)
{
    cJSON *tensors = mq_json_array(b);
    for (size_t i = 0; i < plan->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        cJSON *t = mq_json_object(b);
        mq_json_put_text(b, t, "name", e->tensor->name);
        mq_json_put_text(b, t, "source", e->source->name);
        mq_json_put_text(b, t, "level", e->level->name);
        mq_json_put_count(b, t, "offset", e->offset);
        mq_json_put_count(b, t, "bytes", e->size_bytes);
        if (plan->files_count > 1)
            mq_json_put_count(b, t, "file", e->file);
        mq_json_append(b, tensors, t);
    }
    return tensors;
}

static cJSON *plan_json(struct mq_json_tree *b, const char *command, const struct mq_plan *plan,
                        const struct mq_options *options)
{
    struct mq_breakdown sizes = {0};
    add_breakdown(&sizes, plan);
    cJSON *o = mq_json_document(b, command), *model = mq_json_object(b),
          *warnings = mq_json_array(b);
    mq_model_put_json(b, model, plan->view);
    mq_json_put(b, o, "model", model);
    mq_json_put(b, o, "plan", mq_breakdown_json(b, &sizes));
    mq_json_put_text(b, o, "effort", plan->calibration ? MQ_EFFORT_CALIBRATED
                                                       : mq_effort_name(plan->effort));
    if (plan->calibration)
        mq_json_put_text(b, o, "calibration", plan->calibration);
    mq_importance_put_json(b, o, plan->importance);
    if (plan->folder_format)
        mq_json_put_text(b, o, "format", plan->folder_format);
    mq_json_put_count(b, o, "file_bytes", plan->output_bytes);
    if (plan->files_count > 1)
        mq_json_put(b, o, "files", files_json(b, plan, options->output));
    for (size_t i = 0; i < plan->warnings_count; i++)
        mq_json_append(b, warnings, cJSON_CreateString(plan->warnings[i]));
    mq_json_put(b, o, "warnings", warnings);
    if (plan->allow_nonfinite)
        mq_json_put_count(b, o, "nonfinite_weights", plan->nonfinite_weights);
    mq_json_put_bool(b, o, "dry_run", options->dry_run);
    if (options->dry_run || options->verbose)
        mq_json_put(b, o, "tensors", tensors_json(b, plan));
    return o;
}

static void print_result(const struct mq_options *options, const struct mq_plan *plan,
                         const struct mq_convert_result *result, double seconds)
{
    char size[32], time[32], rate[32], name[PATH_MAX];
    if (result->tensors_resumed)
        printf("resumed: %" PRIu64 " of %" PRIu64 " tensors were finished by an earlier run\n",
               result->tensors_resumed, result->tensors);
    if (result->tensors_damaged)
        printf("converted again: %" PRIu64 " tensors of an earlier run, which were damaged since\n",
               result->tensors_damaged);
    mq_convert_file_name(options->output, &plan->files[0], name, sizeof name);
    char more[80] = "", files[64];
    if (plan->is_folder) {
        snprintf(name, sizeof name, "%s", options->output);
        snprintf(more, sizeof more, ", %s", mq_counted(plan->files_count, "file", files));
    } else if (plan->has_index)
        snprintf(more, sizeof more, " and %s", mq_counted(plan->files_count - 1, "file", files));
    else if (plan->files_count > 1)
        snprintf(more, sizeof more, " to %05zu", plan->files_count);
    mq_print_line(
        2, "wrote %s%s: %s in %s (%s/s of source)", name, more,
        mq_format_bytes(result->bytes_written, size), mq_format_seconds(seconds, time),
        mq_format_bytes((uint64_t)((double)plan->total.source_bytes / (seconds + 1e-9)), rate));
    if (plan->source_sums)
        mq_print_line(4, "  every SHA-256 of the source's %s is as in %s (%s read for that alone)",
                      mq_counted(plan->source_sums->count, "file", files), plan->source_sums->path,
                      mq_format_bytes(result->source_again, size));
    if (strcasecmp(mq_extension(options->output), ".safetensors") == 0)
        mq_print_line(2, "  a moeq file is a safetensors file: what is not moeq reads its blocks as bytes (U8)");
}

static cJSON *calibrated_json(struct mq_json_tree *b, const struct mq_calibrated_result *r)
{
    cJSON *o = mq_json_object(b);
    mq_json_put_count(b, o, "tokens", r->tokens);
    mq_json_put_count(b, o, "matrices", r->matrices);
    mq_json_put_count(b, o, "experts", r->experts);
    mq_json_put_count(b, o, "experts_with_few_tokens", r->few);
    mq_json_put_count(b, o, "experts_without_tokens", r->without);
    mq_json_put_count(b, o, "layers_resumed", r->layers_resumed);
    return o;
}

/* Experts that the text hardly touches are never left out. */
static void print_calibrated(const struct mq_options *options, const struct mq_calibrated_result *r)
{
    char sentence[256];
    if (!options->quiet && r->layers_resumed)
        printf("resumed: the tokens' states after %" PRIu32 " layers were kept by an earlier run\n",
               r->layers_resumed);
    if (r->states_error.status)
        mq_print_note(options, r->states_error.message);
    if (!options->quiet)
        printf("  error feedback in %" PRIu64 " %s\n", r->matrices,
               r->matrices == 1 ? "matrix" : "matrices");
    if (r->few || r->without) {
        snprintf(sentence, sizeof sentence,
                 "of %" PRIu64 " experts %" PRIu64 " met fewer tokens of the text than they have "
                 "columns, and %" PRIu64 " none: more text would serve them",
                 r->experts, r->few, r->without);
        mq_print_note(options, sentence);
    }
}

static enum mq_exit write_files(const char *command, const struct mq_options *options,
                                const struct mq_plan *plan, struct mq_calibrated_option *calibrated,
                                const struct mq_budget_cli *budget)
{
    struct mq_job_ui ui;
    struct mq_convert_result result = {0};
    moeq_error err = {0};
    const struct mq_convert_encoder encoder = {.user = &calibrated->run, .run = mq_calibrated_run};
    const struct mq_convert_options how = {.output = options->output,
                                           .replace = options->force,
                                           .allow_loss = options->allow_loss,
                                           .encoder = calibrated->given ? &encoder : NULL};
    if (!mq_job_begin(options, &ui))
        return MQ_EXIT_USAGE;
    calibrated->run.context = &ui.context;
    const double start = mq_now_seconds();
    const moeq_status status = mq_convert(&ui.context, plan, &how, &result, &err);
    mq_job_end(&ui);
    if (status != MOEQ_OK)
        return mq_report(&err);
    const double seconds = mq_now_seconds() - start;
    if (options->json) {
        char name[PATH_MAX];
        struct mq_json_tree b = {0};
        cJSON *o = plan_json(&b, command, plan, options);
        mq_convert_file_name(options->output, &plan->files[0], name, sizeof name);
        /* what stands for the model */
        mq_json_put_text(&b, o, "output", plan->has_index ? name : options->output);
        mq_json_put_count(&b, o, "tensors_resumed", result.tensors_resumed);
        mq_json_put_count(&b, o, "tensors_damaged", result.tensors_damaged);
        mq_json_put_number(&b, o, "seconds", seconds);
        if (plan->source_sums) {
            mq_json_put_text(&b, o, "sha256_list", plan->source_sums->path);
            mq_json_put_text(&b, o, "source_sha256", plan->source_sums->text);
            mq_json_put_count(&b, o, "source_bytes_read_again", result.source_again);
        }
        mq_json_put(&b, o, "losses", mq_losses_json(&b, &result.losses));
        if (budget->given)
            mq_json_put(&b, o, "budget", mq_budget_option_json(&b, budget, plan->view));
        mq_choice_put_json(&b, o, &budget->choice);
        if (calibrated->given)
            mq_json_put(&b, o, "calibrated", calibrated_json(&b, &calibrated->run.result));
        return mq_print_json(mq_json_finish(&b, o));
    }
    if (!options->quiet)
        print_result(options, plan, &result, seconds);
    mq_print_losses(options, NULL, &result.losses);
    if (calibrated->given)
        print_calibrated(options, &calibrated->run.result);
    return mq_finish_output();
}

/* What a text tells is about blocks: of a plan that makes none, nothing. */
static moeq_status refuse_idle(const struct mq_policy *policy, const struct mq_plan *plan,
                               moeq_error *err)
{
    if (!policy->calibration && !policy->importance)
        return MOEQ_OK;
    for (size_t i = 0; i < plan->view->tensors_count; i++)
        if (plan->entries[i].level->quantized && plan->entries[i].level != plan->entries[i].source)
            return MOEQ_OK;
    return mq_fail(
        err, MOEQ_INVALID_ARGUMENT, "%s: nothing to calibrate: no tensor is quantized at %s",
        policy->calibration ? "--effort calibrated" : "--calibration",
        policy->levels[MQ_CLASS_EXPERTS] ? policy->levels[MQ_CLASS_EXPERTS]->name : "these levels");
}

moeq_status mq_make_plan(const struct mq_options *options, const struct mq_view *view,
                         const struct mq_policy *policy, const struct mq_gguf_options *gguf,
                         struct mq_plan **plan, moeq_error *err)
{
    struct mq_job_ui ui;
    if (!mq_job_begin(options, &ui))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "--memory or --threads cannot be had");
    moeq_status status =
        mq_convert_plan(&ui.context, view, policy, gguf, options->shard_bytes, plan, err);
    mq_job_end(&ui);
    if (status == MOEQ_OK)
        status = refuse_idle(policy, *plan, err);
    return status;
}

moeq_status mq_make_folder_plan(const struct mq_options *options, const struct mq_view *view,
                                const struct mq_policy *policy,
                                const struct mq_folder_options *folder, struct mq_plan **plan,
                                moeq_error *err)
{
    struct mq_job_ui ui;
    if (!mq_job_begin(options, &ui))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "--memory or --threads cannot be had");
    moeq_status status = mq_convert_plan_folder(&ui.context, view, policy, folder, plan, err);
    mq_job_end(&ui);
    if (status == MOEQ_OK)
        status = refuse_idle(policy, *plan, err);
    return status;
}

enum mq_exit mq_execute_plan(const char *command, const struct mq_options *options,
                             const struct mq_plan *plan, struct mq_calibrated_option *calibrated,
                             const struct mq_budget_cli *budget)
{
    if (options->dry_run && options->json) {
        struct mq_json_tree b = {0};
        cJSON *o = plan_json(&b, command, plan, options);
        if (budget->given)
            mq_json_put(&b, o, "budget", mq_budget_option_json(&b, budget, plan->view));
        mq_choice_put_json(&b, o, &budget->choice);
        return mq_print_json(mq_json_finish(&b, o));
    }
    if (!options->json && (options->dry_run || !options->quiet)) {
        char size[32];
        print_plan(plan, options, budget);
        if (calibrated->given)
            mq_print_sentence(4,
                              "  when it takes more than a minute: %s of states beside the output "
                              "(OUT.part.states), while it is not finished",
                              mq_format_bytes(mq_calibrated_states_bytes(&calibrated->run), size));
    } else if (!options->json)
        print_notes(plan, options);
    if (options->dry_run)
        return finish_dry_run(plan, options);
    fflush(stdout);
    return write_files(command, options, plan, calibrated, budget);
}
