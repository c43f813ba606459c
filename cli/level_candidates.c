/* level_candidates.c: --levels of sweep and verify. */
#include "level_candidates.h"

#include "model_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two rows of one name would have the same figures, at twice the time. */
static bool stands_already(const struct mq_candidate *candidates, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(candidates[i].name, name) == 0)
            return true;
    return false;
}

bool mq_option_levels(const char *command, const struct mq_options *options,
                      struct mq_candidate candidates[MQ_CANDIDATES_MAX],
                      struct mq_option_levels *levels)
{
    levels->names = options->levels ? mq_option_memory(strdup(options->levels)) : NULL;
    char *rest = levels->names, *name;
    while (rest && (name = strsep(&rest, ","))) {
        struct mq_option_target target;
        if (!mq_option_target(command, "--levels", name, &target))
            return false;
        if (levels->count == MQ_CANDIDATES_MAX) {
            mq_usage(command, "--levels: at most %d", MQ_CANDIDATES_MAX);
            return false;
        }
        struct mq_candidate *level = &candidates[levels->count];
        level->name = mq_option_target_name(&target);
        if (stands_already(candidates, levels->count, level->name)) {
            fprintf(stderr, "%s %s: --levels names %s twice: it is measured once\n", mq_program_name(), command,
                    level->name);
            continue;
        }
        if (!mq_option_policy(command, options, &target, &level->policy,
                              &levels->overrides[levels->count++]))
            return false;
    }
    return levels->names || !options->levels;
}

void mq_option_levels_free(const struct mq_options *options, struct mq_option_levels *levels)
{
    for (size_t i = 0; i < levels->count; i++)
        mq_option_policy_free(options, levels->overrides[i]);
    free(levels->names);
}
