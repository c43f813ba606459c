/* families.c: the family table. To add a family: its descriptor file, and a line here. Of families
 * that share a GGUF architecture, a file is taken for the first: see family.h. */
#include "arch_int.h"

#include "text_match.h"

#include <string.h>

#define FAMILY_LIST(X) \
    X(mixtral)         \
    X(llama)           \
    X(mistral)         \
    X(olmoe)           \
    X(qwen3_moe)       \
    X(qwen3_vl_moe)    \
    X(gpt_oss)         \
    X(llama4)          \
    X(dbrx)            \
    X(lfm2_moe)        \
    X(nemotron_h)      \
    X(granitemoehybrid) \
    X(qwen3_next)      \
    X(qwen3_5_moe)     \
    X(qwen2_moe)       \
    X(dots1)           \
    X(hy_v3)           \
    X(afmoe)           \
    X(exaone_moe)      \
    X(glm4_moe)        \
    X(solar_open)      \
    X(minimax_m2)      \
    X(ernie4_5_moe)    \
    X(hunyuan_v1_moe)  \
    X(mimo_v2_flash)   \
    X(phimoe)          \
    X(granitemoe)      \
    X(grok1)           \
    X(gemma4)          \
    X(deepseek_v2)     \
    X(deepseek_v3)     \
    X(deepseek_v32)    \
    X(glm4_moe_lite)   \
    X(glm_moe_dsa)     \
    X(mistral4)        \
    X(mistral_large3)  \
    X(ministral3)

#define DECLARE(name) extern const struct mq_family mq_family_##name;
FAMILY_LIST(DECLARE)

const struct mq_family *const mq_families[] = {
#define ROW(name) &mq_family_##name,
    FAMILY_LIST(ROW)};
const size_t mq_families_count = sizeof mq_families / sizeof *mq_families;

const struct mq_tensor_alias mq_no_aliases[] = {{0}};

const struct mq_family *mq_family_find(const char *model_type)
{
    for (size_t i = 0; i < mq_families_count; i++)
        if (strcmp(mq_families[i]->name, model_type) == 0 ||
            mq_text_has_word(mq_families[i]->model_types, model_type))
            return mq_families[i];
    return NULL;
}

const char *mq_family_name(const struct mq_family *family, enum mq_role role)
{
    for (const struct mq_tensor_name *n = family->names; n->name; n++)
        if (n->role == role)
            return n->name;
    return NULL;
}

size_t mq_family_layer_prefix(const struct mq_family *family, const char **prefix)
{
    *prefix = "";
    for (const struct mq_tensor_name *n = family->names; n->name; n++) {
        const char *number = strstr(n->name, "{layer}");
        if (number) {
            *prefix = n->name;
            return (size_t)(number - n->name);
        }
    }
    return 0;
}

void mq_family_describe(const struct mq_family *family, const struct mq_hparams *hp,
                        uint32_t number, struct mq_layer *layer)
{
    memset(layer, 0, sizeof *layer);
    layer->norm_eps = hp->rms_eps;
    layer->residual_scale = 1;
    layer->attention.value_scale = 1;
    layer->ffn.activation = hp->activation;
    layer->ffn.router.scale = 1;
    family->layer(hp, number, layer);
}

void mq_family_describe_ends(const struct mq_family *family, const struct mq_hparams *hp,
                             struct mq_ends *ends)
{
    *ends = (struct mq_ends){.embedding_scale = 1, .logit_scale = 1, .norm_eps = hp->rms_eps};
    if (family->ends)
        family->ends(hp, ends);
}
