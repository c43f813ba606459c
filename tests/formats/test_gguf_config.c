/* test_gguf_config.c: what the keys of a GGUF file say of the model, and which file is none. */
#include "test_model.h"

#include "gguf_build.h"
#include "gguf_model.h"
#include "stored.h"
#include "text_match.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- one refusal each: keys of the architecture ---- */

struct key_case {
    const char *key;
    enum mq_gguf_value_type type;
    double number; /* for the numeric types */
    const char *text;
    moeq_status status;
    const char *message; /* behind "key 'k' at byte N: "; NULL: accepted */
};

static void put_case(struct gguf_build *b, const struct key_case *c)
{
    if (c->type == MQ_GGUF_STRING)
        gguf_key_text(b, c->key, c->text);
    else if (c->type == MQ_GGUF_F32)
        gguf_key_f32(b, c->key, (float)c->number);
    else if (c->type == MQ_GGUF_BOOL)
        gguf_key_bool(b, c->key, c->number != 0);
    else if (c->type == MQ_GGUF_ARRAY)
        gguf_key_array(b, c->key, MQ_GGUF_U32, (uint32_t[]){2, 2}, 4, 2);
    else
        gguf_key_u32(b, c->key, (uint32_t)c->number);
}

static const struct key_case keys[] = {
    {"general.architecture", MQ_GGUF_STRING, 0, "falcon", MOEQ_UNSUPPORTED,
     "architecture \"falcon\" is not supported (supported: llama, "},
    {"general.architecture", MQ_GGUF_U32, 1, NULL, MOEQ_MALFORMED, "expected a short text"},
    {"general.type", MQ_GGUF_STRING, 0, "else", MOEQ_UNSUPPORTED,
     "expected \"model\": this is an adapter, a projector or the like"},
    {"general.type", MQ_GGUF_STRING, 0, "model", MOEQ_OK, NULL},
    {"llama.block_count", MQ_GGUF_U32, 0, NULL, MOEQ_MALFORMED,
     "expected a whole number from 1 to 16777216"},
    {"llama.block_count", MQ_GGUF_F32, 1, NULL, MOEQ_MALFORMED,
     "expected a whole number from 1 to 16777216"},
    {"llama.attention.head_count", MQ_GGUF_ARRAY, 0, NULL, MOEQ_UNSUPPORTED,
     "one value for each layer is not implemented"},
    {"llama.attention.layer_norm_rms_epsilon", MQ_GGUF_F32, -1, NULL, MOEQ_MALFORMED,
     "expected a positive number"},
    {"llama.attention.layer_norm_rms_epsilon", MQ_GGUF_F32, (double)NAN, NULL, MOEQ_MALFORMED,
     "expected a positive number"},
    {"llama.rope.freq_base", MQ_GGUF_STRING, 0, "x", MOEQ_MALFORMED, "expected a positive number"},
    {"llama.rope.freq_base", MQ_GGUF_F32, 5e5, NULL, MOEQ_OK, NULL},
    {"llama.attention.key_length", MQ_GGUF_U32, 4, NULL, MOEQ_OK, NULL},
    {"llama.attention.value_length", MQ_GGUF_U32, 2, NULL, MOEQ_UNSUPPORTED,
     "2 is not implemented beside heads of 4"},
    {"llama.rope.dimension_count", MQ_GGUF_U32, 2, NULL, MOEQ_UNSUPPORTED,
     "2 is not implemented beside heads of 4"},
    {"llama.rope.scaling.type", MQ_GGUF_STRING, 0, "other", MOEQ_UNSUPPORTED,
     "rope scaling \"other\" is not implemented (none, linear, yarn, longrope, and Llama 3's)"},
    {"llama.rope.scaling.type", MQ_GGUF_STRING, 0, "none", MOEQ_OK, NULL},
    {"llama.rope.scaling.factor", MQ_GGUF_F32, 4, NULL, MOEQ_OK, NULL},
    {"llama.rope.scaling.attn_factor", MQ_GGUF_F32, 2, NULL, MOEQ_UNSUPPORTED,
     "2 is not implemented (only 1). --ignore-config llama.rope.scaling.attn_factor goes on "
     "without it, at the "
     "risk of wrong results"},
    {"llama.attention.sliding_window", MQ_GGUF_U32, 32, NULL, MOEQ_OK, NULL},
    {"llama.attention.sliding_window", MQ_GGUF_U32, 0, NULL, MOEQ_OK, NULL},
    {"llama.expert_weights_scale", MQ_GGUF_F32, 2.5, NULL, MOEQ_UNSUPPORTED,
     "2.5 is not implemented (only 1). --ignore-config llama.expert_weights_scale goes on without "
     "it, at the "
     "risk of wrong results"},
    {"llama.expert_weights_norm", MQ_GGUF_BOOL, 0, NULL, MOEQ_UNSUPPORTED,
     "0 is not implemented (only 1). --ignore-config llama.expert_weights_norm goes on without it, "
     "at the "
     "risk of wrong results"},
    {"llama.expert_weights_norm", MQ_GGUF_STRING, 0, "yes", MOEQ_UNSUPPORTED, "expected a number"},
    {"llama.expert_gating_func", MQ_GGUF_U32, 2, NULL, MOEQ_UNSUPPORTED,
     "2 is not implemented (only 1). --ignore-config llama.expert_gating_func goes on without it, "
     "at the "
     "risk of wrong results"},
    {"llama.logit_scale", MQ_GGUF_F32, 0.5, NULL, MOEQ_UNSUPPORTED,
     "0.5 is not implemented (only 1). --ignore-config llama.logit_scale goes on without it, at "
     "the "
     "risk of wrong results"},
    {"llama.attention.causal", MQ_GGUF_BOOL, 0, NULL, MOEQ_UNSUPPORTED,
     "0 is not implemented (only 1). --ignore-config llama.attention.causal goes on without it, at "
     "the "
     "risk of wrong results"},
    {"llama.attention.clamp_kqv", MQ_GGUF_F32, 8, NULL, MOEQ_UNSUPPORTED,
     "is a key that moeq does not know: it may change the maths. Where it was written by a tool "
     "and "
     "the model does without, --ignore-config llama.attention.clamp_kqv goes on"},
    {"llama.attention.clamp_kqv", MQ_GGUF_F32, 0, NULL, MOEQ_OK, NULL},
    {"llama.tensor_data_layout", MQ_GGUF_STRING, 0, "Meta AI original pth", MOEQ_OK, NULL},
    {"llamas.other", MQ_GGUF_STRING, 0, "another architecture's", MOEQ_OK, NULL},
};

START_TEST(keys_of_the_architecture)
{
    const struct key_case *c = &keys[_i];
    const char *path = mq_test_temporary("key.gguf");
    struct gguf_build b = {.drop = c->key};
    gguf_small_model(&b, true);
    b.drop = NULL;
    put_case(&b, c);
    gguf_write(&b, path);
    if (!c->message) {
        mq_view_close(test_open(path));
        return;
    }
    struct mq_view *view;
    moeq_error err = {0};
    char expected[400];
    const moeq_status status = mq_model_open(path, &view, &err);
    ck_assert_msg(status == c->status, "%s: %s", c->key, err.message);
    snprintf(expected, sizeof expected, "%s: key '%s' at byte ", path, c->key);
    ck_assert_msg(strncmp(err.message, expected, strlen(expected)) == 0, "%s", err.message);
    const char *text = strstr(err.message + strlen(expected), ": ");
    ck_assert_ptr_nonnull(text);
    const size_t n = strlen(c->message);
    if (mq_ends_with(c->message, ", ")) /* and so on */
        ck_assert_msg(strncmp(text + 2, c->message, n) == 0, "%s", err.message);
    else
        ck_assert_str_eq(text + 2, c->message);
    if (!strstr(c->message, "--ignore-config"))
        return;
    const struct mq_open_options open = {.ignored_keys = &c->key, .ignored_keys_count = 1};
    err = (moeq_error){0};
    ck_assert_msg(mq_model_open_with(path, &open, &view, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_uint_eq(view->notes_count, 1);
    ck_assert_ptr_nonnull(strstr(view->notes[0], c->key));
    mq_view_close(view);
}
END_TEST

START_TEST(keys_that_are_missing)
{
    static const char *const required[] = {
        "llama.vocab_size",        "llama.context_length",      "llama.embedding_length",
        "llama.block_count",       "llama.feed_forward_length", "llama.attention.head_count",
        "llama.expert_used_count", "general.architecture",
    };
    for (size_t i = 0; i < sizeof required / sizeof *required; i++) {
        const char *path = mq_test_temporary("missing.gguf");
        char message[200];
        struct gguf_build b = {.drop = required[i]};
        gguf_small_model(&b, true);
        gguf_write(&b, path);
        snprintf(message, sizeof message, "%%s: key '%s' is missing", required[i]);
        test_refused(path, MOEQ_MALFORMED, message);
    }
    const char *path = mq_test_temporary("missing.gguf");
    struct gguf_build b = {.drop = "llama.attention.layer_norm_rms_epsilon"};
    gguf_small_model(&b, true);
    gguf_write(&b, path);
    test_refused(path, MOEQ_MALFORMED,
                 "%s: key 'llama.attention.layer_norm_rms_epsilon' is missing or 0");
}
END_TEST

/* What rope.scaling.* and rope_freqs.weight mean. */
START_TEST(rope_scalings)
{
    const char *path = mq_test_temporary("rope.gguf");
    struct gguf_build b = {0};
    gguf_key_f32(&b, "llama.rope.scaling.factor", 4);
    gguf_small_model(&b, false);
    gguf_write(&b, path);
    struct mq_view *v = test_open(path);
    ck_assert(v->hparams.rope.type == MQ_ROPE_LINEAR && v->hparams.rope.factor == 4);
    mq_view_close(v);
    static const struct {
        float factors[2];
        enum mq_rope_type type; /* MQ_ROPE_TYPES: not known */
        size_t notes; /* of ones exactly, which are as good as none, there is nothing to say */
    } cases[] = {
        {{1, 1}, MQ_ROPE_DEFAULT, 0}, {{0.999999f, 1}, MQ_ROPE_DEFAULT, 1},
        {{1, 8}, MQ_ROPE_LLAMA3, 0},  {{8, 8}, MQ_ROPE_LLAMA3, 0}, /* without a ramp */
        {{2, 1}, MQ_ROPE_TYPES, 0},   {{1, INFINITY}, MQ_ROPE_TYPES, 0},
        {{NAN, 1}, MQ_ROPE_TYPES, 0}, {{1, 0.5f}, MQ_ROPE_TYPES, 0},
        {{4, 8}, MQ_ROPE_TYPES, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gguf_small_model(&b, false);
        gguf_tensor(&b, "rope_freqs.weight", 0, 1, (uint64_t[]){2}, cases[i].factors, 8);
        gguf_write(&b, path);
        if (cases[i].type != MQ_ROPE_TYPES) {
            v = test_open(path);
            ck_assert_int_eq(v->hparams.rope.type, cases[i].type);
            for (uint32_t k = 0; cases[i].type == MQ_ROPE_LLAMA3 && k < 2; k++)
                ck_assert_double_eq(mq_gguf_rope_factor(&v->hparams.rope, 4, k),
                                    (double)cases[i].factors[k]);
            ck_assert_uint_eq(v->notes_count, cases[i].notes);
            mq_view_close(v);
        } else
            test_refused(path, MOEQ_UNSUPPORTED,
                         "%s: tensor 'rope_freqs.weight' at byte 3040: its factors are not those "
                         "of Llama 3's scaling of positions (low 1, high 4, or both 1): which they "
                         "are is not known");
    }
    gguf_small_model(&b, false);
    gguf_tensor(&b, "rope_freqs.weight", 0, 1, (uint64_t[]){3}, (float[]){1, 1, 1}, 12);
    gguf_write(&b, path);
    test_refused(path, MOEQ_MALFORMED,
                 "%s: tensor 'rope_freqs.weight' at byte 3040: expected F32 [2], half of a head, "
                 "found F32 [3]");
}
END_TEST

/* ---- other contents ---- */

/* GGUF files that hold something else than a model. */
START_TEST(other_contents_are_named)
{
    static const struct {
        const char *key, *value, *says;
    } others[] = {
        {"general.type", "adapter",
         "%s: is a LoRA adapter, no model: it has no weights of its "
         "own: merge it into its base model (llama-export-lora)"},
        {"general.type", "imatrix",
         "%s: is an importance matrix, no model: it has no weights: "
         "give the model that it was made of"},
        {"general.type", "mmproj",
         "%s: is the projector of a model that sees or hears (mmproj), "
         "no model: give the language model's file beside it"},
        {"general.architecture", "controlvector",
         "%s: is a control vector, no model: it has no weights of its own: give the model that it "
         "steers"},
        {"general.architecture", "clip",
         "%s: is the projector of a model that sees or hears (mmproj), no model: give the language "
         "model's file beside it"},
    };
    const char *path = mq_test_temporary("contents.gguf");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct gguf_build b = {0};
        gguf_key_text(&b, others[i].key, others[i].value);
        gguf_write(&b, path);
        test_refused(path, MOEQ_UNSUPPORTED, others[i].says);
    }
    struct gguf_build b = {0};
    gguf_key_text(&b, "general.architecture", "llama");
    gguf_tensor(&b, "blk.0.attn_q.weight.lora_a", 0, 1, (const uint64_t[]){4}, (float[4]){0},
                sizeof(float[4]));
    gguf_write(&b, path);
    test_refused(path, MOEQ_UNSUPPORTED, others[0].says);
    b = (struct gguf_build){0};
    gguf_key_text(&b, "general.architecture", "llama");
    gguf_write(&b, path);
    test_refused(path, MOEQ_UNSUPPORTED,
                 "%s: has a vocabulary and no tensors, as llama.cpp's ggml-vocab-*.gguf: give the "
                 "model's file");
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, keys_of_the_architecture, 0, sizeof keys / sizeof *keys);
    tcase_add_test(tests, keys_that_are_missing);
    tcase_add_test(tests, rope_scalings);
    tcase_add_test(tests, other_contents_are_named);
}

int main(void)
{
    return mq_test_main("test_gguf_config", add_tests);
}
