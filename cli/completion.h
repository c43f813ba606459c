/* completion.h: completion of commands, options and their values, for shells. */
#ifndef MQ_COMPLETION_H
#define MQ_COMPLETION_H

#include <stddef.h>

/* A shell's script, printed from the tables of commands, options, levels and recipes. */
struct mq_completion {
    const char *shell;
    void (*print)(void);
};
extern const struct mq_completion mq_completions[];
extern const size_t mq_completions_count;

#endif
