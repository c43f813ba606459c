/* fit_cards.c: cards beside each other. */
#include "fit.h"

static bool add_cards(struct mq_fit_target *target, struct mq_fit_card card, uint32_t n)
{
    if (n > MQ_GPU_MAX_CARDS - target->cards)
        return false;
    while (n--)
        target->card[target->cards++] = card;
    return true;
}

bool mq_fit_target_add(struct mq_fit_target *target, const struct mq_gpu *gpu, uint64_t label_bytes,
                       uint32_t n)
{
    target->unified |= mq_gpu_is_unified(gpu->memory);
    return add_cards(target,
                     (struct mq_fit_card){gpu, label_bytes,
                                          mq_gpu_usable_bytes(gpu->memory, label_bytes),
                                          gpu->bandwidth_gbs},
                     n);
}

bool mq_fit_target_add_bytes(struct mq_fit_target *target, uint64_t usable_bytes, uint32_t n)
{
    return add_cards(target, (struct mq_fit_card){.usable_bytes = usable_bytes}, n);
}

bool mq_fit_target_is_even(const struct mq_fit_target *t)
{
    for (uint32_t i = 1; i < t->cards; i++)
        if (t->card[i].gpu != t->card[0].gpu || t->card[i].usable_bytes != t->card[0].usable_bytes)
            return false;
    return true;
}

uint64_t mq_fit_target_usable(const struct mq_fit_target *t)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < t->cards; i++)
        sum += t->card[i].usable_bytes;
    return sum;
}

const struct mq_runtime *mq_fit_target_runtime(const struct mq_fit_target *target)
{
    return target->runtime ? target->runtime : &mq_runtimes[0];
}

uint64_t mq_fit_target_host(const struct mq_fit_target *target)
{
    const uint64_t all = target->host_bytes ? target->host_bytes : (uint64_t)MQ_FIT_HOST_GIB << 30;
    return all / 8 * 7;
}
