/*
 * fuzz_config.c: the text of a config.json.
 *
 * Beyond "no crash": what is accepted has sizes that the code behind may rely on.
 */
#include "family.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *json = malloc(size + 1);
    const struct mq_family *family = NULL;
    struct mq_hparams h;
    moeq_error err = {0};
    if (!json)
        abort();
    memcpy(json, data, size);
    json[size] = '\0';
    if (mq_config_parse(json, size, "fuzz", &family, &h, &err) == MOEQ_OK) {
        if (!family || !h.layers || !h.hidden || !h.heads || !h.kv_heads || h.heads % h.kv_heads ||
            !h.head_dim || h.head_dim % 2 || !h.vocab || !h.ffn || h.top_k > h.experts ||
            !(h.rms_eps >= 0) || !(h.rope.theta > 0))
            abort();
    } else if (!err.message[0] || strchr(err.message, '\n')) {
        abort();
    }
    free(json);
    return 0;
}
