/* families.c: the family table. To add a family: its descriptor file, and a line here. */
#include "arch_int.h"

#include <string.h>

extern const struct mq_family mq_family_mixtral, mq_family_mistral, mq_family_llama;

const struct mq_family *const mq_families[] = {
    &mq_family_mixtral,
    &mq_family_llama,
    &mq_family_mistral,
};
const size_t mq_families_count = sizeof mq_families / sizeof *mq_families;

const struct mq_tensor_alias mq_no_aliases[] = {{0}};

const struct mq_family *mq_family_find(const char *model_type)
{
    for (size_t i = 0; i < mq_families_count; i++)
        if (strcmp(mq_families[i]->name, model_type) == 0)
            return mq_families[i];
    return NULL;
}

uint64_t mq_dim_size(const struct mq_hparams *h, enum mq_dim dim)
{
    const uint64_t sizes[] = {
        [MQ_DIM_ONE] = 1,
        [MQ_DIM_HIDDEN] = h->hidden,
        [MQ_DIM_Q] = (uint64_t)h->heads * h->head_dim,
        [MQ_DIM_KV] = (uint64_t)h->kv_heads * h->head_dim,
        [MQ_DIM_FFN] = h->ffn,
        [MQ_DIM_EXPERTS] = h->experts,
        [MQ_DIM_VOCAB] = h->vocab,
    };
    return sizes[dim];
}
