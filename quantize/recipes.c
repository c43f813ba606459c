/*
 * recipes.c: the recipe table. To add one: a row.
 *
 * The rows that have llama.cpp's names (q3_k_s, ...; q2_k_mix is its Q2_K, and so on) are, tensor by tensor, the
 * mixes that llama.cpp calls so (llama-quant.cpp tells which tensor gets what), so that files
 * of the same bytes can be compared. Its rules differ by the kind of model: in one of eight
 * experts, k and v are 0.7 % of the weights and every later token reads them, so 8 bits cost
 * nothing; where eight heads share a v, more bits for it cost little; elsewhere they do not. For
 * all: down matrices add straight to the residual stream, and their inputs have the longest tails,
 * above all in the first and last layers; the head makes every logit.
 *
 * mix2 to mix5, early3 and early4 keep at q8_0 what every token uses, and spend bytes where they
 * take away most: on down matrices, and on layer 0, since an error there goes through every router
 * that follows. On two trained models of this architecture, of 3 and 4 layers, layer 0 made 65 % and
 * more of the KL divergence of a whole quantized model. There the KL divergence of every such mix is
 * 0.61 to 0.77 of what the line between the plain levels beside it has (its logarithm, by bytes);
 * q4_k_m's and q5_k_m's 1.49 and 1.40 on the larger one. Layer 0 with q6_k for the head and q4_k for
 * the embeddings lies above the line, too, from q4_k on.
 */
#include "recipes.h"

#include <string.h>

#define RULE(role, layers, models, level)                             \
    {                                                                 \
        MQ_ROLE_##role, MQ_LAYERS_##layers, MQ_MODELS_##models, level \
    }
#define DOWN_OF(layers, models, level)                                               \
    RULE(EXPERT_DOWN, layers, models, level), RULE(MLP_DOWN, layers, models, level), \
        RULE(SHARED_DOWN, layers, models, level)
#define DOWN(layers, level) DOWN_OF(layers, ANY, level)
#define UP(layers, level)                                                               \
    RULE(EXPERT_GATE, layers, ANY, level), RULE(EXPERT_UP, layers, ANY, level),         \
        RULE(MLP_GATE, layers, ANY, level), RULE(MLP_UP, layers, ANY, level),           \
        RULE(SHARED_GATE, layers, ANY, level), RULE(SHARED_UP, layers, ANY, level)
#define EXPERTS(layers, level)                                                     \
    RULE(EXPERT_GATE, layers, ANY, level), RULE(EXPERT_UP, layers, ANY, level),    \
        RULE(EXPERT_DOWN, layers, ANY, level), RULE(MLP_GATE, layers, DENSE, level), \
        RULE(MLP_UP, layers, DENSE, level), RULE(MLP_DOWN, layers, DENSE, level)
#define EXPERTS_DOWN(layers, level) \
    RULE(EXPERT_DOWN, layers, ANY, level), RULE(MLP_DOWN, layers, DENSE, level)
/* Down matrices a level above the rest; in layer 0 all of them one more. */
#define RISING(name, up, further)                 \
    static const struct mq_recipe_rule name[] = { \
        EXPERTS_DOWN(ALL, up),                    \
        EXPERTS(FIRST, up),                       \
        EXPERTS_DOWN(FIRST, further),             \
        END,                                      \
    }
/* What all of llama.cpp's mixes have in common. */
#define HEAD RULE(HEAD, ALL, ANY, "q6_k"), RULE(EMBEDDING, ALL, TIED, "q6_k")
#define VALUES(layers, models, level)                                                          \
    RULE(ATTN_V, layers, models, level), RULE(ATTN_KV_B, layers, models, level),               \
        RULE(DELTA_QKV, layers, models, level)
#define KEYS_AND_VALUES RULE(ATTN_K, ALL, EIGHT, "q8_0"), VALUES(ALL, EIGHT, "q8_0")
#define OUTPUT(models, level) RULE(ATTN_O, ALL, models, level)
/* clang-format off */
#define END {0}

static const struct mq_recipe_rule q2_k_mix[] = {
    HEAD, KEYS_AND_VALUES, OUTPUT(EIGHT, "q5_k"), OUTPUT(OTHERS, "q3_k"), DOWN(ALL, "q3_k"),
    VALUES(ALL, OTHERS, "q3_k"), VALUES(ALL, GQA, "q4_k"), VALUES(ALL, 70B, "q5_k"),
    END,
};
static const struct mq_recipe_rule q3_k_s[] = {
    HEAD, KEYS_AND_VALUES, OUTPUT(EIGHT, "q5_k"), VALUES(ALL, 70B, "q5_k"),
    END,
};
static const struct mq_recipe_rule q3_k_m[] = {
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
static const struct mq_recipe_rule q4_k_m[] = {
    HEAD, KEYS_AND_VALUES, OUTPUT(EIGHT, "q5_k"), DOWN(SPREAD, "q6_k"),
    VALUES(ALL, 70B, "q5_k"), VALUES(SPREAD, OTHERS, "q6_k"),
    END,
};
static const struct mq_recipe_rule q5_k_s[] = {HEAD, KEYS_AND_VALUES, END};
static const struct mq_recipe_rule q5_k_m[] = {
    HEAD, KEYS_AND_VALUES, DOWN(SPREAD, "q6_k"), VALUES(SPREAD, OTHERS, "q6_k"),
    END,
};
static const struct mq_recipe_rule q6_k_mix[] = {HEAD, KEYS_AND_VALUES, END};
/* Those of the i-quants are as llama.cpp makes them without an importance matrix. */
static const struct mq_recipe_rule iq4_mix[] = {
    HEAD, KEYS_AND_VALUES, OUTPUT(EIGHT, "q5_k"), DOWN(FIRST_EIGHTH, "q5_k"), VALUES(ALL, GQA, "q5_k"),
    END,
};
static const struct mq_recipe_rule iq3_m[] = {
    HEAD, KEYS_AND_VALUES, OUTPUT(EIGHT, "q5_k"), OUTPUT(OTHERS, "q4_k"), DOWN(FIRST_EIGHTH, "q4_k"),
    DOWN_OF(SPREAD, EIGHT, "q4_k"), VALUES(ALL, OTHERS, "q4_k"), VALUES(ALL, 70B, "q5_k"),
    END,
};
static const struct mq_recipe_rule iq3_xs[] = {
    HEAD, RULE(ATTN_Q, ALL, ANY, "iq3_xxs"), RULE(ATTN_K, ALL, OTHERS, "iq3_xxs"), KEYS_AND_VALUES,
    OUTPUT(EIGHT, "q5_k"), VALUES(ALL, GQA, "q4_k"), VALUES(ALL, 70B, "q5_k"),
    UP(MIDDLE, "iq3_xxs"),
    END,
};
RISING(mix2, "q3_k", "q4_k");
RISING(mix3, "q4_k", "q5_k");
RISING(mix4, "q5_k", "q6_k");
RISING(mix5, "q6_k", "q8_0");
static const struct mq_recipe_rule early3[] = {EXPERTS(FIRST, "q4_k"), END};
static const struct mq_recipe_rule early4[] = {EXPERTS(FIRST, "q6_k"), END};

/* Of experts; all else is q8_0. */
#define OURS(name, experts, description) {#name, description, experts, "q8_0", "q8_0", name, 0}
#define LLAMA(name, level, type, description) {#name, description, level, level, level, name, type}
const struct mq_recipe mq_recipes[] = {
    OURS(mix2, "q2_k", "q2_k experts, down q3_k, first layer q3_k and q4_k; all else q8_0"),
    OURS(mix3, "q3_k", "q3_k experts, down q4_k, first layer q4_k and q5_k; all else q8_0"),
    OURS(mix4, "q4_k", "q4_k experts, down q5_k, first layer q5_k and q6_k; all else q8_0"),
    OURS(mix5, "q5_k", "q5_k experts, down q6_k, first layer q6_k and q8_0; all else q8_0"),
    OURS(early3, "q3_k", "q3_k experts, q4_k in the first layer; all else q8_0"),
    OURS(early4, "q4_k", "q4_k experts, q6_k in the first layer; all else q8_0"),
    LLAMA(q2_k_mix, "q2_k", 10, "llama.cpp's Q2_K: q2_k, q3_k down matrices, more for values"),
    LLAMA(q3_k_s, "q3_k", 11, "llama.cpp's: q3_k, with a q6_k head"),
    LLAMA(q3_k_m, "q3_k", 12, "llama.cpp's: q3_k, with q4_k down matrices, more for values"),
    LLAMA(q3_k_l, "q3_k", 13, "llama.cpp's: q3_k, with q5_k down matrices and values"),
    LLAMA(q4_k_s, "q4_k", 14, "llama.cpp's: q4_k, q5_k for the first eighth of down matrices"),
    LLAMA(q4_k_m, "q4_k", 15, "llama.cpp's: q4_k, q6_k for half of the down matrices and values"),
    LLAMA(q5_k_s, "q5_k", 16, "llama.cpp's: q5_k, with a q6_k head"),
    LLAMA(q5_k_m, "q5_k", 17, "llama.cpp's: q5_k, q6_k for half of the down matrices and values"),
    LLAMA(q6_k_mix, "q6_k", 18, "llama.cpp's Q6_K: q6_k, also of attention and embeddings"),
    LLAMA(iq3_xs, "iq3_s", 22, "llama.cpp's: iq3_s, iq3_xxs for q, k and the middle layers' gate and up"),
    LLAMA(iq3_m, "iq3_s", 27, "llama.cpp's: iq3_s, with more for values and the first eighth of down matrices"),
    {"iq4_nl_mix", "llama.cpp's IQ4_NL: iq4_nl, q5_k for the first eighth of down matrices", "iq4_nl",
     "iq4_nl", "iq4_nl", iq4_mix, 25},
    {"iq4_xs_mix", "llama.cpp's IQ4_XS: iq4_xs, q5_k for the first eighth of down matrices", "iq4_xs",
     "iq4_xs", "iq4_xs", iq4_mix, 30},
};
/* clang-format on */
const size_t mq_recipes_count = sizeof mq_recipes / sizeof *mq_recipes;

const struct mq_recipe *mq_recipe_find(const char *name)
{
    for (size_t i = 0; i < mq_recipes_count; i++) {
        if (strcmp(name, mq_recipes[i].name) == 0)
            return &mq_recipes[i];
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
    case MQ_LAYERS_MIDDLE:
        return layer >= eighth && layer < 7 * layers / 8;
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
