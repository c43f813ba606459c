/*
 * fuzz_config.c: the text of a config.json.
 *
 * Beyond "no crash": what is accepted has sizes that the code behind may rely on.
 */
#include "rule_family.h"
#include "view_int.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each layer of what was accepted has a number of each list. */
static void ask_lists(const struct mq_hparams *h)
{
    const struct mq_layer_values *const lists[] = {&h->layer_kinds, &h->ffn_kinds, &h->layer_top_k,
                                                   &h->layer_shared};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (uint32_t layer = 0; layer < h->layers && layer < 100; layer++)
            if (mq_layer_value(lists[i], layer, 0) > 1u << 24)
                abort();
}

/* family NULL: as the text says. */
static void parse(const uint8_t *data, size_t size, const struct mq_family *family)
{
    struct mq_view *view = mq_view_create("fuzz");
    moeq_error err = {0};
    if (!view)
        abort();
    mq_buffer_append(&view->side[MQ_SIDE_CONFIG], data, size);
    if (!mq_buffer_ok(&view->side[MQ_SIDE_CONFIG]))
        abort();
    if (mq_config_parse_as(view, family, "fuzz", &err) == MOEQ_OK) {
        const struct mq_hparams h = view->hparams;
        ask_lists(&h);
        if (!view->family || !h.layers || !h.hidden || !h.heads || !h.kv_heads ||
            h.heads % h.kv_heads || !h.head_dim || h.head_dim % 2 || !h.vocab || !h.ffn ||
            h.top_k > h.experts || !(h.rms_eps >= 0) || !(h.rope.theta > 0))
            abort();
    } else if (!err.message[0] || strchr(err.message, '\n')) {
        abort();
    }
    mq_view_close(view);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(data, size, NULL);
    parse(data, size, &rule_family);
    return 0;
}
