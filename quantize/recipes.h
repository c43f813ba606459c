/*
 * recipes.h: named mixes of levels: which tensors get more bits than the rest, and why.
 *
 * A recipe is one row of the table in recipes.c. Every level in it is one that GGUF files can hold,
 * with one level for the experts of a matrix, so every recipe serves convert, sweep and export.
 */
#ifndef MQ_RECIPES_H
#define MQ_RECIPES_H

#include "model_view.h"

enum mq_recipe_layers {
    MQ_LAYERS_ALL,
    MQ_LAYERS_FIRST,           /* layer 0 */
    MQ_LAYERS_FIRST_SIXTEENTH, /* i < layers / 16 */
    MQ_LAYERS_SPREAD,          /* the first and last eighth, and every third between */
};

/* Later rules win. */
struct mq_recipe_rule {
    enum mq_role role;
    enum mq_recipe_layers layers;
    const char *level;
};

struct mq_recipe {
    const char *name, *alias; /* alias: what others call the same mix; NULL if nobody does */
    const char *description;  /* one line for --help */
    const char *experts, *attention, *embeddings; /* levels of the classes of roles */
    const struct mq_recipe_rule *rules;           /* ends with level NULL */
};

extern const struct mq_recipe mq_recipes[];
extern const size_t mq_recipes_count;

/* By name or alias; NULL if unknown. */
const struct mq_recipe *mq_recipe_find(const char *name);

/* The level that the recipe's rules give a tensor of a model of so many layers; NULL: that of its
 * class. */
const char *mq_recipe_level(const struct mq_recipe *recipe, const struct mq_tensor *tensor,
                            uint32_t layers);

#endif
