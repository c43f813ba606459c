/*
 * recipes.c: the recipe table. To add one: a row.
 *
 * mix2 to mix5 are, tensor by tensor, the mixes that llama.cpp calls Q2_K, Q3_K_M, Q4_K_M and
 * Q5_K_M in models of eight experts (llama-quant.cpp tells which tensor gets what), so that files
 * of the same bytes can be compared. Their reasons: k and v are 0.7 % of a Mixtral's weights and
 * every later token reads them, so 8 bits cost nothing; down matrices add straight to the residual
 * stream, and their inputs have the longest tails, above all in the first and last layers; the head
 * makes every logit.
 *
 * early3 and early4 spend the same extra bytes on layer 0 alone: an error there goes through every
 * router that follows. On two trained models of this architecture, layer 0 made 65 % and more of
 * the KL divergence of a whole quantized model, and one level more for it at 3.4 bits a weight took
 * away a third of it.
 */
#include "recipes.h"

#include <string.h>

#define RULE(role, layers, level)                 \
    {                                             \
        MQ_ROLE_##role, MQ_LAYERS_##layers, level \
    }
#define DOWN(layers, level) RULE(EXPERT_DOWN, layers, level), RULE(MLP_DOWN, layers, level)
#define KEYS_AND_VALUES(level) RULE(ATTN_K, ALL, level), RULE(ATTN_V, ALL, level)
#define EXPERTS(layers, level)                                           \
    RULE(EXPERT_GATE, layers, level), RULE(EXPERT_UP, layers, level),    \
        RULE(EXPERT_DOWN, layers, level), RULE(MLP_GATE, layers, level), \
        RULE(MLP_UP, layers, level), RULE(MLP_DOWN, layers, level)
/* clang-format off */
#define END {0}

static const struct mq_recipe_rule mix2[] = {
    KEYS_AND_VALUES("q8_0"), RULE(ATTN_O, ALL, "q5_k"), DOWN(ALL, "q3_k"), RULE(HEAD, ALL, "q6_k"),
    END,
};
static const struct mq_recipe_rule mix3[] = {
    KEYS_AND_VALUES("q8_0"), RULE(ATTN_O, ALL, "q5_k"), DOWN(ALL, "q4_k"),
    DOWN(FIRST_SIXTEENTH, "q5_k"), RULE(HEAD, ALL, "q6_k"),
    END,
};
static const struct mq_recipe_rule mix4[] = {
    KEYS_AND_VALUES("q8_0"), RULE(ATTN_O, ALL, "q5_k"), DOWN(SPREAD, "q6_k"),
    RULE(HEAD, ALL, "q6_k"),
    END,
};
static const struct mq_recipe_rule mix5[] = {
    KEYS_AND_VALUES("q8_0"), DOWN(SPREAD, "q6_k"), RULE(HEAD, ALL, "q6_k"),
    END,
};
static const struct mq_recipe_rule early3[] = {EXPERTS(FIRST, "q4_k"), END};
static const struct mq_recipe_rule early4[] = {EXPERTS(FIRST, "q6_k"), END};
/* clang-format on */

const struct mq_recipe mq_recipes[] = {
    {"mix2", NULL, "q2_k, with q3_k down matrices and 8-bit keys and values", "q2_k", "q2_k",
     "q2_k", mix2},
    {"mix3", "q3_k_m", "q3_k, with q4_k down matrices and 8-bit keys and values", "q3_k", "q3_k",
     "q3_k", mix3},
    {"mix4", "q4_k_m", "q4_k, with q6_k for half of the down matrices and 8-bit keys and values",
     "q4_k", "q4_k", "q4_k", mix4},
    {"mix5", "q5_k_m", "q5_k, with q6_k for half of the down matrices and 8-bit keys and values",
     "q5_k", "q5_k", "q5_k", mix5},
    {"early3", NULL, "q3_k experts, q4_k in the first layer; all else q8_0", "q3_k", "q8_0", "q8_0",
     early3},
    {"early4", NULL, "q4_k experts, q6_k in the first layer; all else q8_0", "q4_k", "q8_0", "q8_0",
     early4},
};
const size_t mq_recipes_count = sizeof mq_recipes / sizeof *mq_recipes;

const struct mq_recipe *mq_recipe_find(const char *name)
{
    for (size_t i = 0; i < mq_recipes_count; i++) {
        const struct mq_recipe *r = &mq_recipes[i];
        if (strcmp(name, r->name) == 0 || (r->alias && strcmp(name, r->alias) == 0))
            return r;
    }
    return NULL;
}

static bool has_layer(enum mq_recipe_layers set, uint32_t layer, uint32_t layers)
{
    const uint32_t eighth = layers / 8;
    switch (set) {
    case MQ_LAYERS_ALL:
        return true;
    case MQ_LAYERS_FIRST:
        return layer == 0;
    case MQ_LAYERS_FIRST_SIXTEENTH:
        return layer < layers / 16;
    case MQ_LAYERS_SPREAD:
        return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
    }
    return false;
}

const char *mq_recipe_level(const struct mq_recipe *recipe, const struct mq_tensor *t,
                            uint32_t layers)
{
    const char *level = NULL;
    for (const struct mq_recipe_rule *r = recipe->rules; r->level; r++)
        if (r->role == t->role &&
            has_layer(r->layers, t->layer < 0 ? 0 : (uint32_t)t->layer, layers))
            level = r->level;
    return level;
}
