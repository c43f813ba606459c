/* calibrated_option.c: --effort calibrated, of convert and export. */
#include "calibrated_option.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool is_given(const struct mq_options *options)
{
    return options->effort && strcmp(options->effort, MQ_EFFORT_CALIBRATED) == 0;
}

bool mq_calibrated_option_check(const char *command, const struct mq_options *options)
{
    if (is_given(options) && !options->text.count) {
        mq_usage(command, "--effort calibrated needs --text FILE: text like that which the model is for");
        return false;
    }
    const bool budget = options->bpw || options->size;
    if (!is_given(options) && !budget &&
        (options->text.count || options->tokens || options->context)) {
        mq_usage(command,
                 "--text, --tokens and --context go with --effort calibrated, --bpw or --size");
        return false;
    }
    return true;
}

moeq_status mq_calibrated_option_read(const struct mq_options *options, struct mq_view *view,
                                      struct mq_calibrated_option *option,
                                      struct mq_policy *policy, moeq_error *err)
{
    const struct mq_protocol_options protocol = {.context = options->context,
                                                 .max_tokens = options->tokens};
    *option = (struct mq_calibrated_option){.given = is_given(options)};
    if (!options->text.count)
        return MOEQ_OK;
    MQ_TRY(mq_read_text(options, view, &option->text, err));
    MQ_TRY(mq_protocol_text(&protocol, view, &option->text, &option->windows, err));
    const struct mq_windows *w = &option->windows.windows;
    snprintf(option->sentence, sizeof option->sentence,
             "error feedback on %zu tokens in windows of %zu (ids %08" PRIx32 ")",
             w->count * w->length, w->length, option->windows.ids_crc32);
    option->run = (struct mq_calibrated){
        .view = view, .windows = w, .options = {.feedback = {.effort = policy->effort, .passes = -1}}};
    if (option->given)
        policy->calibration = option->sentence;
    return MOEQ_OK;
}

void mq_calibrated_option_free(struct mq_calibrated_option *option)
{
    mq_text_free(&option->text);
    mq_text_windows_free(&option->windows);
}
