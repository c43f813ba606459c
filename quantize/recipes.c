/*
 * recipes.c: the recipe table. To add one: a row.
 *
 * mix2 to mix5 and the rows that have only llama.cpp's name (q3_k_s, ...) are, tensor by tensor,
 * the mixes that llama.cpp calls so (llama-quant.cpp tells which tensor gets what), so that files
 * of the same bytes can be compared. Its rules differ by the kind of model: in one of eight
 * experts, k and v are 0.7 % of the weights and every later token reads them, so 8 bits cost
 * nothing; where eight heads share a v, more bits for it cost little; elsewhere they do not. For
 * all: down matrices add straight to the residual stream, and their inputs have the longest tails,
 * above all in the first and last layers; the head makes every logit.
 *
 * early3 and early4 spend the same extra bytes on layer 0 alone: an error there goes through every
 * router that follows. On two trained models of this architecture, layer 0 made 65 % and more of
 * the KL divergence of a whole quantized model, and one level more for it at 3.4 bits a weight took
 * away a third of it.
 */
#include "recipes.h"

#include <string.h>

#define RULE(role, layers, models, level)                             \
    {                                                                 \
        MQ_ROLE_##role, MQ_LAYERS_##layers, MQ_MODELS_##models, level \
    }
#define DOWN(layers, level) \
    RULE(EXPERT_DOWN, layers, ANY, level), RULE(MLP_DOWN, layers, ANY, level), \
        RULE(SHARED_DOWN, layers, ANY, level)
#define EXPERTS(layers, level)                                                     \
    RULE(EXPERT_GATE, layers, ANY, level), RULE(EXPERT_UP, layers, ANY, level),    \
        RULE(EXPERT_DOWN, layers, ANY, level), RULE(MLP_GATE, layers, DENSE, level), \
        RULE(MLP_UP, layers, DENSE, level), RULE(MLP_DOWN, layers, DENSE, level)
/* What all of llama.cpp's mixes have in common. */
#define HEAD RULE(HEAD, ALL, ANY, "q6_k"), RULE(EMBEDDING, ALL, TIED, "q6_k")
#define VALUES(layers, models, level)                                                          \
    RULE(ATTN_V, layers, models, level), RULE(ATTN_KV_B, layers, models, level),               \
        RULE(DELTA_QKV, layers, models, level)
#define KEYS_AND_VALUES RULE(ATTN_K, ALL, EIGHT, "q8_0"), VALUES(ALL, EIGHT, "q8_0")
#define OUTPUT(models, level) RULE(ATTN_O, ALL, models, level)
/* clang-format off */
#define END {0}

static const struct mq_recipe_rule mix2[] = {
    HEAD, KEYS_AND_VALUES, OUTPUT(EIGHT, "q5_k"), OUTPUT(OTHERS, "q3_k"), DOWN(ALL, "q3_k"),
    VALUES(ALL, OTHERS, "q3_k"), VALUES(ALL, GQA, "q4_k"), VALUES(ALL, 70B, "q5_k"),
    END,
};
static const struct mq_recipe_rule q3_k_s[] = {
    HEAD, KEYS_AND_VALUES, OUTPUT(EIGHT, "q5_k"), VALUES(ALL, 70B, "q5_k"),
    END,
};
static const struct mq_recipe_rule mix3[] = {
    HEAD, KEYS_AND_VALUES, OUTPUT(EIGHT, "q5_k"), OUTPUT(OTHERS, "q4_k"), DOWN(ALL, "q4_k"),
    DOWN(FIRST_SIXTEENTH, "q5_k"), VALUES(ALL, OTHERS, "q4_k"), VALUES(ALL, 70B, "q5_k"),
    VALUES(FIRST_TWO, OTHERS, "q5_k"),
    END,
};
static const struct mq_recipe_rule q3_k_l[] = {
    HEAD, KEYS_AND_VALUES, OUTPUT(OTHERS, "q5_k"), DOWN(ALL, "q5_k"), VALUES(ALL, OTHERS, "q5_k"),
    END,
};
static const struct mq_recipe_rule q4_k_s[] = {
    HEAD, KEYS_AND_VALUES, OUTPUT(EIGHT, "q5_k"), DOWN(FIRST_EIGHTH, "q5_k"),
    VALUES(FIRST_FOUR, OTHERS, "q5_k"), VALUES(ALL, 70B, "q5_k"),
    END,
};
static const struct mq_recipe_rule mix4[] = {
    HEAD, KEYS_AND_VALUES, OUTPUT(EIGHT, "q5_k"), DOWN(SPREAD, "q6_k"),
    VALUES(ALL, 70B, "q5_k"), VALUES(SPREAD, OTHERS, "q6_k"),
    END,
};
static const struct mq_recipe_rule q5_k_s[] = {HEAD, KEYS_AND_VALUES, END};
static const struct mq_recipe_rule mix5[] = {
    HEAD, KEYS_AND_VALUES, DOWN(SPREAD, "q6_k"), VALUES(SPREAD, OTHERS, "q6_k"),
    END,
};
static const struct mq_recipe_rule early3[] = {EXPERTS(FIRST, "q4_k"), END};
static const struct mq_recipe_rule early4[] = {EXPERTS(FIRST, "q6_k"), END};
/* clang-format on */

const struct mq_recipe mq_recipes[] = {
    {"mix2", NULL, "q2_k, with q3_k down matrices and more for values", "q2_k", "q2_k", "q2_k",
     mix2, 10},
    {"mix3", "q3_k_m", "q3_k, with q4_k down matrices and more for values", "q3_k", "q3_k", "q3_k",
     mix3, 12},
    {"mix4", "q4_k_m", "q4_k, with q6_k for half of the down matrices, more for values", "q4_k",
     "q4_k", "q4_k", mix4, 15},
    {"mix5", "q5_k_m", "q5_k, with q6_k for half of the down matrices, more for values", "q5_k",
     "q5_k", "q5_k", mix5, 17},
    {"q3_k_s", NULL, "q3_k, with a q6_k head", "q3_k", "q3_k", "q3_k", q3_k_s, 11},
    {"q3_k_l", NULL, "q3_k, with q5_k down matrices and values", "q3_k", "q3_k", "q3_k", q3_k_l,
     13},
    {"q4_k_s", NULL, "q4_k, with q5_k for the first eighth of the down matrices", "q4_k", "q4_k",
     "q4_k", q4_k_s, 14},
    {"q5_k_s", NULL, "q5_k, with a q6_k head", "q5_k", "q5_k", "q5_k", q5_k_s, 16},
    {"early3", NULL, "q3_k experts, q4_k in the first layer; all else q8_0", "q3_k", "q8_0", "q8_0",
     early3, 0},
    {"early4", NULL, "q4_k experts, q6_k in the first layer; all else q8_0", "q4_k", "q8_0", "q8_0",
     early4, 0},
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
    case MQ_LAYERS_FIRST_TWO:
        return layer < 2;
    case MQ_LAYERS_FIRST_FOUR:
        return layer < 4;
    case MQ_LAYERS_FIRST_EIGHTH:
        return layer < eighth;
    case MQ_LAYERS_FIRST_SIXTEENTH:
        return layer < layers / 16;
    case MQ_LAYERS_SPREAD:
        return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
    }
    return false;
}

static bool is_for(enum mq_recipe_models models, const struct mq_hparams *h)
{
    const bool eight = h->experts == 8;
    switch (models) {
    case MQ_MODELS_ANY:
        return true;
    case MQ_MODELS_EIGHT:
        return eight;
    case MQ_MODELS_OTHERS:
        return !eight;
    case MQ_MODELS_GQA:
        return !eight && h->kv_heads && h->heads / 4 >= h->kv_heads;
    case MQ_MODELS_70B:
        return !eight && h->layers == 80 && h->heads != h->kv_heads;
    case MQ_MODELS_TIED:
        return h->tied_head;
    case MQ_MODELS_DENSE:
        return !h->experts;
    }
    return false;
}

const char *mq_recipe_level(const struct mq_recipe *recipe, const struct mq_tensor *t,
                            const struct mq_hparams *h)
{
    const char *level = NULL;
    for (const struct mq_recipe_rule *r = recipe->rules; r->level; r++)
        if (r->role == t->role && is_for(r->models, h) &&
            has_layer(r->layers, t->layer < 0 ? 0 : (uint32_t)t->layer, h->layers))
            level = r->level;
    return level;
}

/* What llama.cpp counts as values: V, what latent attention makes k and v of, a fused q, k and v. */
static const struct mq_tensor *values_of(const struct mq_view *view, int32_t layer)
{
    static const enum mq_role roles[] = {MQ_ROLE_ATTN_V, MQ_ROLE_ATTN_KV_B, MQ_ROLE_DELTA_QKV};
    const struct mq_tensor *found = NULL;
    for (size_t i = 0; i < sizeof roles / sizeof *roles && !found; i++)
        found = mq_view_find(view, roles[i], layer, -1);
    return found;
}

const char *mq_recipe_level_in(const struct mq_recipe *recipe, const struct mq_view *view,
                               const struct mq_tensor *tensor)
{
    struct mq_tensor t = *tensor;
    struct mq_hparams h = view->hparams;
    if (t.layer >= 0 && tensor == values_of(view, t.layer)) {
        t.layer = 0;
        h.layers = 0;
        for (int32_t layer = 0; layer < (int32_t)view->hparams.layers; layer++) {
            const bool some = values_of(view, layer) != NULL;
            h.layers += some;
            t.layer += some && layer < tensor->layer;
        }
    }
    return mq_recipe_level(recipe, &t, &h);
}
