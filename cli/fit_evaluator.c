/* fit_evaluator.c: fit --runtime moeq, in words. */
#include "fit_evaluator.h"

#include "evaluation_needs.h"

#include <inttypes.h>
#include <stdio.h>

enum mq_exit mq_fit_evaluator(const struct mq_options *options, const struct mq_view *view)
{
    struct mq_evaluation_needs n;
    struct mq_job_ui ui;
    moeq_error err = {0};
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
    if (!mq_job_begin(options, &ui))
        return MQ_EXIT_USAGE;
    const moeq_status status = mq_evaluation_needs(&ui.context, view, options->gpu, options->vram,
                                                   options->context, "--", &n, &err);
    mq_job_end(&ui);
    if (status != MOEQ_OK)
        return mq_usage("fit", "%s", err.message);
    if (options->json)
        return mq_print_json(mq_evaluation_needs_json(&n));
    char fixed[32], one[32], all[32], text[400];
    snprintf(text, sizeof text,
             "%s: moeq's own evaluator (eval, sweep, verify) runs on the processor and reads "
             "weights from the "
             "file as they are used, so every level takes the same: %s of buffers and %s for each "
             "window "
             "of %" PRIu64 " tokens, %s at least%s",
             view->path, mq_format_bytes(n.buffer_bytes, fixed),
             mq_format_bytes(n.window_bytes, one), n.window_tokens,
             mq_format_bytes(n.needed_bytes, all),
             !n.available_bytes                    ? "."
             : n.needed_bytes <= n.available_bytes ? ": fits."
                                                   : ": does not fit, take shorter windows.");
    mq_print_wrapped(text, 0, 0);
    return mq_finish_output();
}
