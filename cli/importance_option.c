/* importance_option.c: see importance_option.h. */
#include "importance_option.h"

#include "calibration_importance.h"

bool mq_importance_option_check(const char *command, const struct mq_options *options)
{
    if (!options->calibration || options->level || options->levels || options->recipe ||
        options->bpw || options->size || options->gpu || options->vram || options->tensor.count)
        return true;
    mq_usage(command,
             "--calibration is about quantizing: it goes with a level, a recipe or a budget");
    return false;
}

moeq_status mq_importance_option_read(const struct mq_options *options, struct mq_view *view,
                                      struct mq_importance **importance, moeq_error *err)
{
    struct mq_job_ui ui;
    *importance = NULL;
    if (!options->calibration)
        return MOEQ_OK;
    if (!mq_job_begin(options, &ui))
        return MOEQ_INVALID_ARGUMENT;
    const moeq_status status =
        mq_calibration_importance(&ui.context, options->calibration, view, importance, err);
    mq_job_end(&ui);
    return status;
}
