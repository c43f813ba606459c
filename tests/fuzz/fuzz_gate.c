/*
 * fuzz_gate.c: a gate of verify --gate, for the model below.
 *
 * Beyond "no crash": accepted limits are finite and have one line each, the limits written anew are read as the same, and
 * a failure names the file.
 */
#include "fuzz_support.h"

#include "gate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char config[] =
    "{\"model_type\":\"mixtral\",\"architectures\":[\"MixtralForCausalLM\"],\"hidden_size\":32,"
    "\"intermediate_size\":48,\"num_hidden_layers\":2,\"num_attention_heads\":2,"
    "\"num_key_value_heads\":1,\"vocab_size\":64,\"num_local_experts\":2,"
    "\"num_experts_per_tok\":1,\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,"
    "\"max_position_embeddings\":64,\"tie_word_embeddings\":false,\"hidden_act\":\"silu\"}";

static const struct mq_view *view(void)
{
    static struct mq_view *made;
    static struct fuzz_file file;
    moeq_error err = {0};
    if (!made)
        fuzz_expect(mq_view_from_config(fuzz_put(&file, config, sizeof config - 1), NULL, &made,
                                        &err) == MOEQ_OK);
    return made;
}

static void check_limits(const struct mq_gate *gate)
{
    fuzz_expect(gate->count > 0);
    for (size_t i = 0; i < gate->count; i++)
        fuzz_expect(gate->limits[i].name && isfinite(gate->limits[i].bound));
}

/* Of limits on figures that there are; a text's name may be of any letters, which whoever prints it sees to. */
static void check_resolved(const struct mq_gate *gate, size_t models)
{
    for (size_t i = 0; i < gate->count; i++) {
        char line[1024] = "";
        const struct mq_gate_limit *l = &gate->limits[i];
        fuzz_expect(l->metric.figure && l->row && l->row <= models);
        mq_gate_describe(l, line, sizeof line);
        fuzz_expect(line[0] && (strchr(l->name, '\n') || !strchr(line, '\n')));
    }
}

/* Name by name as they stand; a name's two bounds side by side. */
static void put_limits(const struct mq_gate *gate, struct mq_buffer *out)
{
    mq_buffer_printf(out, "{\"moeq_gate\": 1, \"compute\": \"%s\", \"baseline_compute\": \"%s\"",
                     mq_compute_name(gate->compute), mq_compute_name(gate->baseline_compute));
    if (gate->has_ids_crc32)
        mq_buffer_printf(out, ", \"token_ids_crc32\": \"%08x\"", gate->ids_crc32);
    mq_buffer_puts(out, ", \"limits\": {");
    for (size_t i = 0; i < gate->count; i++) {
        const struct mq_gate_limit *l = &gate->limits[i];
        const bool more = i && strcmp(l->name, l[-1].name) == 0;
        if (!more) {
            mq_buffer_puts(out, i ? "}, " : "");
            mq_buffer_put_json(out, l->name, strlen(l->name));
            mq_buffer_puts(out, ": {");
        }
        mq_buffer_printf(out, "%s\"%s\": %.17g", more ? ", " : "", l->is_max ? "max" : "min",
                         l->bound);
    }
    mq_buffer_puts(out, "}}}");
    fuzz_expect(mq_buffer_ok(out));
}

static void check_again(const struct mq_gate *gate)
{
    static struct fuzz_file file;
    struct mq_buffer text = {0};
    struct mq_gate *again;
    moeq_error err = {0};
    put_limits(gate, &text);
    fuzz_expect(mq_gate_read(fuzz_put(&file, text.data, text.size), &again, &err) == MOEQ_OK);
    fuzz_expect(again->count == gate->count && again->has_ids_crc32 == gate->has_ids_crc32 &&
                again->compute == gate->compute &&
                again->baseline_compute == gate->baseline_compute);
    for (size_t i = 0; i < gate->count; i++)
        fuzz_expect(again->limits[i].bound == gate->limits[i].bound &&
                    again->limits[i].is_max == gate->limits[i].is_max &&
                    strcmp(again->limits[i].name, gate->limits[i].name) == 0);
    mq_gate_free(again);
    mq_buffer_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { MODELS = 3 };
    static struct fuzz_file file;
    const char *path = fuzz_put(&file, data, size);
    struct mq_gate *gate;
    moeq_error err = {0};
    moeq_status status = mq_gate_read(path, &gate, &err);
    if (status != MOEQ_OK) {
        fuzz_refused(status, &err, path);
        fuzz_expect(!gate);
        return 0;
    }
    check_limits(gate);
    check_again(gate);
    status = mq_gate_resolve(gate, view(), true, &err);
    if (status != MOEQ_OK) {
        fuzz_refused(status, &err, path);
    } else {
        fuzz_expect(mq_gate_for_all(gate, MODELS, &err) == MOEQ_OK);
        check_resolved(gate, MODELS);
    }
    mq_gate_free(gate);
    return 0;
}
