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
    MQ_LAYERS_FIRST_TWO,       /* i < 2 */
    MQ_LAYERS_FIRST_FOUR,      /* i < 4 */
    MQ_LAYERS_FIRST_EIGHTH,    /* i < layers / 8 */
    MQ_LAYERS_FIRST_SIXTEENTH, /* i < layers / 16 */
    MQ_LAYERS_MIDDLE,          /* neither the first eighth nor the last */
    MQ_LAYERS_SPREAD,          /* the first and last eighth, and every third between */
};

/* Which models a rule is for. */
enum mq_recipe_models {
    MQ_MODELS_ANY,
    MQ_MODELS_EIGHT,  /* of eight experts */
    MQ_MODELS_OTHERS, /* dense, or of any other number of experts */
    MQ_MODELS_GQA,    /* of the others, those in which four and more heads share a k and v */
    MQ_MODELS_70B,    /* of the others, those of 80 layers in which heads share */
    MQ_MODELS_TIED,   /* whose head is the embedding table */
    MQ_MODELS_DENSE,  /* without experts */
};

/* Later rules win. */
struct mq_recipe_rule {
    enum mq_role role;
    enum mq_recipe_layers layers;
    enum mq_recipe_models models;
    const char *level;
};

struct mq_recipe {
    const char *name;
    const char *description; /* one line for --help */
    /* levels of the classes of roles; of shared experts and what is like them that of attention */
    const char *experts, *attention, *embeddings;
    const struct mq_recipe_rule *rules;           /* ends with level NULL */
    /* What a GGUF file of it says as general.file_type (LlamaFileType of the gguf package); 0: the
     * mix is nobody else's, and its experts' level says it. */
    uint32_t gguf_file_type;
};

extern const struct mq_recipe mq_recipes[];
extern const size_t mq_recipes_count;

/* By name; NULL if unknown. */
const struct mq_recipe *mq_recipe_find(const char *name);

/* The level that the recipe's rules give a tensor of a model; NULL: that of its class. */
const char *mq_recipe_level(const struct mq_recipe *recipe, const struct mq_tensor *tensor,
                            const struct mq_hparams *hparams);
/* The same of a tensor in a view. Where not every layer has values (mixers differ), the i-th layer
 * that has some is layer i of the rules for them. */
const char *mq_recipe_level_in(const struct mq_recipe *recipe, const struct mq_view *view,
                               const struct mq_tensor *tensor);

#endif
