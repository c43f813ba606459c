/*
 * fit_evaluator.c: moeq's own evaluator runs on the processor and reads weights from the file in panels, so that
 * the level does not matter: memory is that of its buffers and of the states of at least one window.
 */
#include "fit_evaluator.h"

#include "checked.h"
#include "evaluator.h"
#include "json_tree.h"
#include "view_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { USUAL_WINDOW = 512, MANY = 128 };

static enum mq_exit print_json(const struct mq_view *view, uint64_t window, uint64_t tokens,
                               uint64_t available, uint64_t needed)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_document(&b, "fit"), *model = mq_json_object(&b),
          *target = mq_json_object(&b);
    mq_json_put(&b, o, "model", model);
    mq_view_put_json(&b, model, view);
    mq_json_put(&b, o, "target", target);
    mq_json_put_text(&b, target, "runtime", "moeq");
    mq_json_put_number(&b, target, "usable_bytes", available ? (double)available : (double)NAN);
    mq_json_put_count(&b, o, "window_tokens", tokens);
    mq_json_put_number(&b, o, "buffer_bytes", (double)(needed - window));
    mq_json_put_number(&b, o, "window_bytes", (double)window);
    mq_json_put_number(&b, o, "needed_bytes", (double)needed);
    mq_json_put_bool(&b, o, "fits", !available || needed <= available);
    return mq_print_json(mq_json_finish(&b, o));
}

enum mq_exit mq_fit_evaluator(const struct mq_options *options, const struct mq_view *view)
{
    const uint64_t tokens = options->context ? options->context : USUAL_WINDOW;
    uint64_t available = 0;
    struct mq_job_ui ui;
    if (options->gpu)
        return mq_usage("fit",
                        "--runtime moeq runs on the processor: --vram SIZE says how much memory "
                        "it may have, --gpu nothing");
    const struct {
        const char *name, *value, *why;
    } unused[] = {
        {"kv", options->kv, "keeps no cache between tokens when it evaluates"},
        {"level", options->level, "takes the same memory for every level"},
        {"levels", options->levels, "takes the same memory for every level"},
        {"quality", options->quality, "takes the same memory for every level"},
        {"ram", options->ram, "needs the memory that --vram is asked about alone"},
        {"bandwidth", options->bandwidth, "reads weights as fast as the disk gives them"},
    };
    for (size_t i = 0; i < sizeof unused / sizeof *unused; i++)
        if (unused[i].value)
            return mq_usage("fit", "--runtime moeq %s: leave out --%s", unused[i].why,
                            unused[i].name);
    if (options->vram && !mq_parse_size(options->vram, &available))
        return mq_usage("fit", "--vram '%s': expected a size such as 16GiB", options->vram);
    if (tokens > INT32_MAX)
        return mq_usage("fit", "--context %" PRIu64 ": windows have fewer tokens", tokens);
    if (!mq_job_begin(options, &ui))
        return MQ_EXIT_USAGE;
    const struct mq_arm arm = {.view = view, .routes_from = -1};
    const uint64_t needed = mq_evaluation_bytes(&ui.context, &arm, 1, tokens, 1);
    /* of many: the first ones also fill the work area */
    const uint64_t window =
        (mq_evaluation_bytes(&ui.context, &arm, 1, tokens, 1 + MANY) - needed) / MANY;
    mq_job_end(&ui);
    if (options->json)
        return print_json(view, window, tokens, available, needed);
    char fixed[32], one[32], all[32], text[400];
    snprintf(text, sizeof text,
             "%s: moeq's own evaluator (eval, sweep, verify) runs on the processor and reads "
             "weights from the "
             "file as they are used, so every level takes the same: %s of buffers and %s for each "
             "window "
             "of %" PRIu64 " tokens, %s at least%s",
             view->path, mq_format_bytes(needed - window, fixed),
             mq_format_bytes(window, one), tokens, mq_format_bytes(needed, all),
             !available            ? "."
             : needed <= available ? ": fits."
                                   : ": does not fit, take shorter windows.");
    mq_print_wrapped(text, 0, 0);
    return mq_finish_output();
}
