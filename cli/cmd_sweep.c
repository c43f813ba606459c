/* cmd_sweep.c: moeq sweep: several levels of one model, side by side. */
#include "eval_options.h"
#include "model_options.h"
#include "report_files.h"
#include "sweep_tables.h"

#include "result_json.h"
#include "sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ARMS = 16 };

/* The arms of --levels, and the strings that they borrow. */
struct sweep_arms {
    struct mq_sweep_arm arms[MAX_ARMS];
    struct mq_policy_override *overrides[MAX_ARMS];
    size_t count;
    char *names;
};

static void free_arms(struct sweep_arms *a, const struct mq_options *options)
{
    for (size_t i = 0; i < a->count; i++)
        mq_option_policy_free(options, a->overrides[i]);
    free(a->names);
}

static bool parse_levels(const struct mq_options *options, struct sweep_arms *a)
{
    a->names = strdup(options->levels);
    char *rest = a->names, *name;
    while (rest && (name = strsep(&rest, ","))) {
        struct mq_option_target target;
        if (!mq_option_target("sweep", "--levels", name, &target))
            return false;
        if (a->count == MAX_ARMS) {
            mq_usage("sweep", "--levels: at most %d levels", MAX_ARMS);
            return false;
        }
        struct mq_sweep_arm *arm = &a->arms[a->count];
        arm->name = mq_option_target_name(&target);
        if (!mq_option_policy("sweep", options, &target, &arm->policy, &a->overrides[a->count++]))
            return false;
    }
    return a->count > 0;
}

static void print_sweep(const struct mq_sweep_result *r, const struct mq_options *options)
{
    printf("%s on %s\n", r->view->path, r->text_path);
    mq_print_protocol(&r->text, r->compute,
                      r->rows_count > 1 && r->rows[1].int8
                          ? "; rows named int8: the level above with --compute int8"
                          : NULL);
    mq_print_notes(options, r->view);
    mq_print_sweep_tables(r, options->verbose);
}

enum mq_exit mq_cmd_sweep(const struct mq_options *options)
{
    if (!options->text.count)
        return mq_usage("sweep", "--text FILE is missing");
    if (!options->levels)
        return mq_usage("sweep", "--levels is missing, such as --levels q8_0,q4_k,q3_k");
    if (!mq_report_files_ok("sweep", options, options->text.values))
        return MQ_EXIT_USAGE;
    struct sweep_arms a = {0};
    struct mq_sweep_options sweep = {.swap = options->swap, .noise_floor = options->noise_floor};
    struct mq_job_ui ui;
    enum mq_compute compute;
    if (!mq_option_protocol("sweep", options, &sweep.protocol) ||
        !mq_option_compute("sweep", options, &compute) || !parse_levels(options, &a) ||
        !mq_job_begin(options, &ui)) {
        free_arms(&a, options);
        return MQ_EXIT_USAGE;
    }
    sweep.int8 = compute == MQ_COMPUTE_INT8;
    moeq_error err = {0};
    struct mq_view *view = NULL;
    struct mq_sweep_result result = {0};
    struct mq_text text = {0};
    moeq_status status = mq_open_model(options, options->positional[0], &view, &err);
    if (status == MOEQ_OK)
        status = mq_read_text(options, view, &text, &err);
    if (status == MOEQ_OK)
        status = mq_sweep(&ui.context, view, &text, &sweep, a.arms, a.count, &result, &err);
    mq_job_end(&ui);
    enum mq_exit code;
    if (status != MOEQ_OK) {
        code = mq_report(&err);
    } else if (options->json) {
        code = mq_print_json(mq_sweep_json(&result));
    } else {
        print_sweep(&result, options);
        code = mq_finish_output();
    }
    if (code == MQ_EXIT_GOOD && options->report.count)
        code = mq_report_files_write(options, ui.context.threads, mq_sweep_json(&result));
    mq_sweep_result_free(&result);
    mq_text_free(&text);
    mq_view_close(view);
    free_arms(&a, options);
    return code;
}
