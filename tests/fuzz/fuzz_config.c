/*
 * fuzz_config.c: the text of a config.json.
 *
 * Beyond "no crash": what is accepted has sizes that the code behind may rely on.
 */
#include "family.h"
#include "view_int.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mq_view *view = mq_view_create("fuzz");
    moeq_error err = {0};
    if (!view)
        abort();
    mq_buffer_append(&view->side[MQ_SIDE_CONFIG], data, size);
    if (!mq_buffer_ok(&view->side[MQ_SIDE_CONFIG]))
        abort();
    if (mq_config_parse(view, "fuzz", &err) == MOEQ_OK) {
        const struct mq_hparams h = view->hparams;
        if (!view->family || !h.layers || !h.hidden || !h.heads || !h.kv_heads ||
            h.heads % h.kv_heads || !h.head_dim || h.head_dim % 2 || !h.vocab || !h.ffn ||
            h.top_k > h.experts || !(h.rms_eps >= 0) || !(h.rope.theta > 0))
            abort();
    } else if (!err.message[0] || strchr(err.message, '\n')) {
        abort();
    }
    mq_view_close(view);
    return 0;
}
