/* eval_options.c: the options of commands that score a text. */
#include "eval_options.h"

#include <stdio.h>

bool mq_option_protocol(const char *command, const struct mq_options *options,
                        struct mq_protocol_options *protocol)
{
    *protocol =
        (struct mq_protocol_options){.context = options->context, .max_tokens = options->tokens};
    if (options->protocol && !mq_protocol_find(options->protocol, &protocol->protocol)) {
        mq_usage(command, "--protocol '%s': expected half or full", options->protocol);
        return false;
    }
    return true;
}

bool mq_option_compute(const char *command, const struct mq_options *options,
                       enum mq_compute *compute)
{
    *compute = MQ_COMPUTE_F32;
    if (!options->compute || mq_compute_find(options->compute, compute))
        return true;
    mq_usage(command, "--compute '%s': expected f32 or int8", options->compute);
    return false;
}

void mq_print_protocol(const struct mq_text_windows *text, enum mq_compute compute,
                       const char *more)
{
    char windows[64], scored[64];
    mq_print_line(4, "  %s protocol: %s of %zu tokens, %s", mq_protocol_name(text->protocol),
                  mq_counted(text->windows.count, "window", windows), text->windows.length,
                  mq_counted(mq_scored_tokens(text), "scored prediction", scored));
    if (text->domains_count > 1)
        mq_print_line(4, "  %zu texts, each cut by itself", text->domains_count);
    if (text->tasks)
        mq_print_line(4, "  tasks: %zu with %s, in %s of %zu tokens", text->tasks->tasks_count,
                      mq_counted(text->tasks->sequences_count, "choice", scored),
                      mq_counted(text->tasks->windows, "window", windows), text->tasks->length);
    mq_print_line(4, "  arithmetic: %s%s", mq_compute_name(compute), more ? more : "");
}
