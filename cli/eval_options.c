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
    printf("  %s protocol: %zu windows of %zu tokens, %zu scored predictions\n",
           mq_protocol_name(text->protocol), text->windows.count, text->windows.length,
           mq_scored_tokens(text));
    if (text->domains_count)
        printf("  %zu texts, each cut by itself\n", text->domains_count);
    if (text->tasks)
        printf("  tasks: %zu with %zu choices, in %zu windows of %zu tokens\n",
               text->tasks->tasks_count, text->tasks->sequences_count, text->tasks->windows,
               text->tasks->length);
    printf("  arithmetic: %s%s\n", mq_compute_name(compute), more ? more : "");
}
