/* evaluation_agreed.c: that all ranks evaluate the same, which is asked before they wait for each other. */
#include "arms_int.h"

#include "error.h"

#include <string.h>
#include <zlib.h>

static uint32_t add(uint32_t crc, const void *bytes, size_t n)
{
    return (uint32_t)crc32_z(crc, bytes, n);
}

static uint32_t add_number(uint32_t crc, uint64_t number)
{
    return add(crc, &number, sizeof number);
}

/* How an arm's weights and arithmetic are chosen. */
static uint32_t choices_of(const struct mq_arm *arm, uint32_t crc)
{
    for (size_t i = 0; arm->levels && i < arm->view->tensors_count; i++) {
        const char *level = arm->levels[i] ? arm->levels[i]->name : "";
        crc = add(crc, level, strlen(level) + 1);
    }
    if (arm->importance)
        crc = add_number(crc, mq_importance_fingerprint(arm->importance));
    crc = add_number(crc, (uint64_t)arm->effort << 32 | (uint32_t)arm->routes_from);
    return add_number(crc, (uint64_t)arm->compute << 2 | (uint64_t)arm->bf16_activations << 1 |
                               (arm->playback != NULL));
}

moeq_status mq_evaluation_agreed(const struct mq_context *context, const struct mq_arm *arms,
                                 size_t arms_count, const struct mq_windows *windows,
                                 moeq_error *err)
{
    static const char *const words[] = {"another text, or other tokens of it,",
                                        "other levels, or another arithmetic,",
                                        "other files of a model"};
    const size_t tokens = windows->count * windows->length;
    uint32_t numbers[3] = {
        add_number(add(0, windows->ids, tokens * sizeof *windows->ids), windows->length),
        add_number(0, arms_count), 0};
    if (mq_peers_count(context->peers) == 1)
        return MOEQ_OK;
    for (size_t a = 0; a < arms_count; a++) {
        uint32_t view;
        numbers[1] = choices_of(&arms[a], numbers[1]);
        if (a && arms[a].view == arms[a - 1].view)
            continue;
        MQ_TRY(mq_view_fingerprint(arms[a].view, &view, err));
        numbers[2] = add_number(numbers[2], view);
    }
    return mq_peers_same(context->peers, numbers, words, 3, err);
}
