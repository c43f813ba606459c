/* hparams.c: the table of hyper-parameters. */
#include "hparams.h"

#include <string.h>

const struct mq_hparam mq_hparam_table[] = {
#define ROW(type, name, maths) {#name, MQ_HPARAM_##type, offsetof(struct mq_hparams, name), maths},
    MQ_HPARAM_LIST(ROW)
#undef ROW
};
const size_t mq_hparam_count = sizeof mq_hparam_table / sizeof *mq_hparam_table;

const struct mq_hparam *mq_hparam_at(size_t offset)
{
    for (size_t i = 0; i < mq_hparam_count; i++)
        if (mq_hparam_table[i].offset == offset)
            return &mq_hparam_table[i];
    return NULL;
}

static const struct {
    enum mq_hparam_type type;
    const char *name;
    uint32_t value;
} names[] = {
    {MQ_HPARAM_ACTIVATION, "silu", MQ_ACTIVATION_SILU},
    {MQ_HPARAM_ACTIVATION, "swish", MQ_ACTIVATION_SILU}, /* the same function in Transformers */
    {MQ_HPARAM_ACTIVATION, "gelu_pytorch_tanh", MQ_ACTIVATION_GELU_TANH},
    {MQ_HPARAM_ACTIVATION, "relu2", MQ_ACTIVATION_RELU2},
};

bool mq_activation_is_gated(enum mq_activation activation)
{
    return activation != MQ_ACTIVATION_RELU2;
}

bool mq_hparam_named(enum mq_hparam_type type, const char *name, uint32_t *value)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].type == type && strcmp(names[i].name, name) == 0) {
            *value = names[i].value;
            return true;
        }
    return false;
}

bool mq_layer_set_has(const struct mq_layer_set *set, uint32_t layer)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (set->layers[middle] < layer)
            low = middle + 1;
        else
            high = middle;
    }
    return low < set->count && set->layers[low] == layer;
}

uint32_t mq_layer_value(const struct mq_layer_values *values, uint32_t layer, uint32_t otherwise)
{
    return values->count ? values->values[layer % values->count] : otherwise;
}
