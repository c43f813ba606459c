/*
 * spellings.h: what people call levels and recipes.
 *
 * Names of both in any case, with '-', ' ', '.' or nothing for '_', and what else people type for them
 * (spellings.c: a row each). Names in files are not these: mq_level_of_storage, mq_recipe_find.
 */
#ifndef MQ_SPELLINGS_H
#define MQ_SPELLINGS_H

#include "levels.h"
#include "recipes.h"

struct mq_named {
    const struct mq_level *level;   /* one of the two, or none: */
    const struct mq_recipe *recipe; /* what `say` has is what to use instead */
    const char *say;                /* of what was found, what it is not; NULL: nothing */
};

/* In lower case, with '_' for '-', ' ' and '.'. False: empty, or longer than any name. */
bool mq_name_normalize(const char *text, char *name, size_t room);

/* False if nothing is known of the name. */
bool mq_name_find(const char *text, struct mq_named *named);

#endif
