/*
 * test_tensor_names.c: checkpoints that Transformers loads though their tensors' names, their head
 * or what lies beside their weights are not as config.json has it: the same weights come out, and a
 * note says so; and what must not be read is refused.
 */
#include "st_edit.h"
#include "tensor_set_view.h"
#include "view_int.h"
#include "stored.h"
#include "test_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LLAMA "tests/fixtures/oracles/llama2"
#define TIED "tests/fixtures/oracles/llama3_tied"

static struct st_edit edit; /* one at a time; large */

/* A copy of a fixture, whose tensors are in `edit`. */
static const char *edit_copy(const char *fixture)
{
    const char *model = test_model_copy(fixture, "edited");
    st_edit_free(&edit);
    st_edit_load(&edit, test_path(model, "model.safetensors"));
    return model;
}

static struct mq_view *open_with(const char *model, enum mq_head_choice head)
{
    const struct mq_open_options options = {.lm_head = head};
    struct mq_view *view;
    moeq_error err = {0};
    const char *path = test_path(model, "model.safetensors");
    st_edit_save(&edit, path);
    ck_assert_msg(mq_model_open_with(model, &options, &view, &err) == MOEQ_OK, "%s", err.message);
    return view;
}

static void refused_with(const char *model, enum mq_head_choice head, const char *part)
{
    const struct mq_open_options options = {.lm_head = head};
    struct mq_view *view;
    moeq_error err = {0};
    st_edit_save(&edit, test_path(model, "model.safetensors"));
    ck_assert_int_ne(mq_model_open_with(model, &options, &view, &err), MOEQ_OK);
    ck_assert_msg(strstr(err.message, part) != NULL, "%s", err.message);
}

static bool notes(const struct mq_view *view, const char *part)
{
    for (size_t i = 0; i < view->notes_count; i++)
        if (strstr(view->notes[i], part))
            return true;
    return false;
}

/* The same tensors with the same bytes under the same names as a fixture of the source tree. */
static void assert_same_weights(const struct mq_view *view, const char *fixture)
{
    struct mq_view *original;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source(fixture), &original, &err));
    ck_assert_uint_eq(view->tensors_count, original->tensors_count);
    ck_assert(view->hparams.tied_head == original->hparams.tied_head);
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *a = &view->tensors[i], *b = &original->tensors[i];
        const size_t n = (size_t)(a->rows * a->row_bytes);
        unsigned char *bytes = malloc(2 * n);
        ck_assert_str_eq(a->name, b->name);
        ck_assert_uint_eq(n, b->rows * b->row_bytes);
        ck_assert_ok(mq_view_read_rows(view, a, 0, a->rows, bytes, &err));
        ck_assert_ok(mq_view_read_rows(original, b, 0, b->rows, bytes + n, &err));
        ck_assert_int_eq(memcmp(bytes, bytes + n, n), 0);
        free(bytes);
    }
    mq_view_close(original);
}

/* What stands before: for the body's tensors in place of "model.", and before the head's. */
static const struct {
    const char *body, *head, *note;
} prefixes[] = {
    {"", "", "lack the official 'model.'"},
    {"module.model.", "module.", "have a wrapper's name in theirs"},
    {"_orig_mod.model.", "_orig_mod.", "have a wrapper's name in theirs"},
    {"_orig_mod.module.model.", "_orig_mod.module.", "as '_orig_mod.module.lm_head."},
    {"base_model.model.model.", "base_model.model.", "begin with 'base_model.model.model.'"},
    {"language_model.model.", "language_model.", "begin with 'language_model.model.'"},
    {"model.language_model.", "", "begin with 'model.language_model.'"},
    {"module.", "", "have a wrapper's name in theirs"},
    {"transformer.", "", "begin with 'transformer.'"},
    {"run 7/model.", "run 7/", "begin with 'run 7/model.'"},
    {"model.", "model.", "the head stands under the name 'model.lm_head.weight'"},
};

START_TEST(reads_other_prefixes)
{
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        char head[64];
        const char *model = edit_copy(LLAMA);
        st_edit_prefix(&edit, "model.", prefixes[i].body);
        snprintf(head, sizeof head, "%slm_head", prefixes[i].head);
        st_edit_prefix(&edit, "lm_head", head);
        struct mq_view *view = open_with(model, MQ_HEAD_DEFAULT);
        assert_same_weights(view, LLAMA);
        ck_assert_msg(notes(view, prefixes[i].note), "%zu: %s", i, view->notes[0]);
        mq_view_close(view);
    }
}
END_TEST

/* Families whose official names begin otherwise: what stands before them is found all the same, and
 * their names are not taken for another model's. */
START_TEST(knows_names_of_other_forms)
{
#define LAYER(form) form "{layer}."
    static const struct mq_tensor_name dbrx[] = {
        {MQ_ROLE_EMBEDDING, "transformer.wte.weight"},
        {MQ_ROLE_ATTN_Q, LAYER("transformer.blocks.") "q.weight"},
        {MQ_ROLE_ATTN_NORM, LAYER("transformer.blocks.") "norm_1.weight"},
        {MQ_ROLE_OUTPUT_NORM, "transformer.norm_f.weight"},
        {MQ_ROLE_HEAD, "lm_head.weight"},
        {0}};
    static const struct mq_tensor_name native[] = {
        {MQ_ROLE_EMBEDDING, "tok_embeddings.weight"},
        {MQ_ROLE_ATTN_NORM, LAYER("layers.") "attention_norm.weight"},
        {MQ_ROLE_ATTN_Q, LAYER("layers.") "attention.wq.weight"},
        {MQ_ROLE_OUTPUT_NORM, "norm.weight"},
        {MQ_ROLE_HEAD, "output.weight"},
        {0}};
    static const struct {
        const struct mq_tensor_name *names;
        const char *stored[5], *guess, *note;
    } cases[] = {
        {dbrx,
         {"transformer.wte.weight", "transformer.blocks.0.norm_1.weight",
          "transformer.norm_f.weight", "lm_head.weight"},
         NULL,
         NULL},
        {dbrx,
         {"module.transformer.wte.weight", "module.transformer.blocks.0.norm_1.weight",
          "module.lm_head.weight"},
         NULL,
         "have a wrapper's name in theirs"},
        {dbrx,
         {"wte.weight", "blocks.0.norm_1.weight", "norm_f.weight", "lm_head.weight"},
         NULL,
         "lack the official 'transformer.'"},
        {dbrx, {"tok_embeddings.weight"}, "the layout of Meta's and Mistral's", NULL},
        {native,
         {"tok_embeddings.weight", "layers.0.attention.wq.weight", "layers.0.attention_norm.weight",
          "output.weight"},
         NULL,
         NULL},
        {native,
         {"language_model.tok_embeddings.weight", "language_model.layers.0.attention_norm.weight",
          "language_model.output.weight"},
         NULL,
         "begin with 'language_model.', which the official ones lack"},
        {native, {"transformer.blocks.0.x"}, "MPT or DBRX", NULL},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct mq_family family = *mq_family_find("llama");
        struct mq_view *view = test_open(mq_test_source(LLAMA));
        struct mq_tensor_set set = {0};
        moeq_error err = {0};
        const char *path = test_path(edit_copy(LLAMA), "names.safetensors");
        st_edit_free(&edit);
        for (size_t i = 0; i < 5 && cases[c].stored[i]; i++)
            st_edit_add(&edit, cases[c].stored[i], MQ_F32, 1, 1, 0);
        st_edit_save(&edit, path);
        family.names = cases[c].names;
        view->family = &family;
        ck_assert_ok(mq_tensor_set_open(&set, view->arena, &path, 1, false, &err));
        ck_assert_ok(mq_tensor_set_map_names(view, &set, &err));
        if (cases[c].note)
            ck_assert_msg(notes(view, cases[c].note), "%zu", c);
        ck_assert(cases[c].note || !view->notes_count);
        const char *guess = mq_tensor_set_guess(&set, &family);
        ck_assert_msg(cases[c].guess ? guess && strstr(guess, cases[c].guess) : !guess, "%zu: %s",
                      c, guess);
        for (size_t i = 0; !guess && family.names[i].name; i++)
            if (family.names[i].role == MQ_ROLE_EMBEDDING || family.names[i].role == MQ_ROLE_HEAD)
                ck_assert_msg(mq_tensor_set_find(&set, family.names[i].name), "%zu: %s", c,
                              family.names[i].name);
        mq_tensor_set_free(&set);
        mq_view_close(view);
    }
}
END_TEST

START_TEST(reads_wrapped_layers)
{
    const char *model = edit_copy(LLAMA);
    st_edit_prefix(&edit, "model.layers.1.", "model.layers.1._checkpoint_wrapped_module.");
    st_edit_prefix(&edit, "model.", "_fsdp_wrapped_module.model.");
    st_edit_prefix(&edit, "lm_head", "_fsdp_wrapped_module.lm_head");
    struct mq_view *view = open_with(model, MQ_HEAD_DEFAULT);
    assert_same_weights(view, LLAMA);
    mq_view_close(view);
}
END_TEST

START_TEST(refuses_other_names)
{
    const char *model = edit_copy(LLAMA);
    st_edit_prefix(&edit, "model.layers.", "transformer.h.");
    refused_with(model, MQ_HEAD_DEFAULT, "are those of GPT-2, GPT-J or Falcon");
    st_edit_prefix(&edit, "transformer.h.", "stack.blocks.");
    refused_with(model, MQ_HEAD_DEFAULT,
                 "tensor 'model.layers.0.input_layernorm.weight' is missing");
    model = edit_copy(LLAMA);
    st_edit_prefix(&edit, "model.", "stack.of.x");
    st_edit_prefix(&edit, "lm_head", "head");
    refused_with(model, MQ_HEAD_DEFAULT,
                 "tensor 'model.embed_tokens.weight' is missing: a llama "
                 "model of 3 layers needs it. There are 30 tensors: ");
    /* Two models in one file; and one tensor under two names. */
    model = edit_copy(LLAMA);
    st_edit_prefix(&edit, "model.", "actor.");
    st_edit_add(&edit, "critic.layers.0.input_layernorm.weight", MQ_F32, 1, 64, 0);
    st_edit_add(&edit, "critic.embed_tokens.weight", MQ_F32, 2, 8, 64);
    refused_with(model, MQ_HEAD_DEFAULT, "holds several models");
    model = edit_copy(LLAMA);
    st_edit_add(&edit, "module.model.norm.weight", MQ_F32, 1, 64, 0);
    refused_with(model, MQ_HEAD_DEFAULT, "is present twice");
}
END_TEST

/* What is told of a missing tensor: what stands there in its place. */
START_TEST(tells_what_stands_in_a_layer)
{
    static const struct {
        const char *old, *new, *says;
    } names[] = {
        {"lm_head.weight", "output.weight",
         "There is 'output.weight' of shape [256, 64]: if it is"},
        {"lm_head.weight", "lm_head.modules_to_save.default.weight", "merge_and_unload"},
        {"lm_head.weight", "lm_head.linear.weight", "There is 'lm_head.linear.weight' of shape"},
        {"model.layers.1.self_attn.q_proj.weight",
         "model.layers.1.self_attn.q_proj.base_layer.weight", "merge_and_unload"},
        {"model.layers.1.self_attn.q_proj.weight", "model.layers.1.self_attn.qkv_proj.weight",
         "Found in this layer: model.layers.1.self_attn.qkv_proj.weight, "},
        {"model.layers.2.mlp.gate_proj.weight", "model.layers.2.ffn.gate_proj.weight",
         "Found in this layer: model.layers.2.ffn.gate_proj.weight"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *model = edit_copy(LLAMA);
        st_edit_prefix(&edit, names[i].old, names[i].new);
        refused_with(model, MQ_HEAD_DEFAULT, "is missing");
        refused_with(model, MQ_HEAD_DEFAULT, names[i].says);
    }
}
END_TEST

/* ---- tensors without a place ---- */

static const struct {
    const char *name, *why;
    uint32_t dims;
} harmless[] = {
    {"v_head.summary.weight", "a head for scores", 2},
    {"score.weight", "a head for scores", 2},
    {"model.layers.0.self_attn.rotary_emb.inv_freq", "rotary frequencies", 1},
    {"model.layers.0.self_attn.rotary_emb.cos_cached", "rotary frequencies", 2},
    {"model.rotary_emb.inv_freq", "rotary frequencies", 1},
    {"model.layers.0.self_attn.masked_bias", "causal masks", 0},
    {"model.layers.0.self_attn.k_scale", "8-bit KV cache", 0},
    {"model.layers.0.self_attn.k_proj.k_scale", "8-bit KV cache", 0},
    {"model.layers.0.self_attn.k_proj.output_scale", "8-bit KV cache", 1},
    {"model.embeddings.position_ids", "position numbers", 2},
    {"model.layers.0.self_attn.core_attention._extra_state", "training", 1},
    {"model.layers.0.mlp.act_scale", "statistics of activations", 1},
    {"model.layers.0.mlp.experts.gate_up_proj_activation_scale", "statistics of activations", 1},
    {"model.layers.1.control_vector", "control vectors", 1},
    {"ema.model.norm.weight", "the average of the first one", 1},
    {"optimizer.state.exp_avg", "training", 1},
    {"rope_freqs.weight", "rotary frequencies", 1},
    {"mtp.layers.0.weight", "further tokens", 2},
    {"model.mtp_block.0.mlp.down_proj.weight", "further tokens", 2},
    {"model.layers.3.enorm.weight", "further tokens", 1},
    {"model.layers.12.enorm.weight", "further tokens", 1},
    {"model.embed_vision.embedding_projection.weight", "evaluates text alone", 2},
    {"patch_merger.merging_layer.weight", "evaluates text alone", 2},
    {"vision_tower.encoder.layers.0.norm.weight", "evaluates text alone", 1},
};

static const struct {
    const char *name, *why;
} harmful[] = {
    {"model.layers.0.self_attn.q_proj.bias", "it is a bias"},
    {"model.layers.0.self_attn.bias", "it is a bias"},
    {"lm_head.bias", "it is a bias"},
    {"model.layers.0.self_attn.q_norm.weight", "it is a norm"},
    {"model.layers.3.mlp.up_proj.weight", "it is of layer 3, and num_hidden_layers is 3"},
    {"model.layers.0.mlp.experts.0.up_proj.weight", "it is an expert's"},
    {"model.layers.0.mlp2.up_proj.weight", "config.json"},
    {"model.layers.2.enorm.weight", "it is a norm"},
    {"model.layers.3.eh_proj.weight", "it is of layer 3"},
    {"model.layers.3", "config.json"},
    {"model.layers.-3.enorm.weight", "it is a norm"},
    {"model.layers.99999999999999999999.mlp.up_proj.weight", "it is of layer"},
    {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "merge_and_unload"},
    {"model.layers.0.self_attn.q_proj.lora_A.default.weight", "merge_and_unload"},
};

START_TEST(judges_extra_tensors)
{
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) {
        const char *model = edit_copy(LLAMA);
        st_edit_add(&edit, harmless[i].name, MQ_F32, harmless[i].dims, 2, 3);
        struct mq_view *view = open_with(model, MQ_HEAD_DEFAULT);
        assert_same_weights(view, LLAMA);
        ck_assert_uint_eq(view->notes_count, 1);
        ck_assert_msg(strstr(view->notes[0], harmless[i].why) &&
                          strstr(view->notes[0], harmless[i].name),
                      "%s", view->notes[0]);
        mq_view_close(view);
    }
    for (size_t i = 0; i < sizeof harmful / sizeof *harmful; i++) {
        const char *model = edit_copy(LLAMA);
        st_edit_add(&edit, harmful[i].name, MQ_F32, 1, 2, 3);
        refused_with(model, MQ_HEAD_DEFAULT, "has no place in a llama model of this config.json");
        refused_with(model, MQ_HEAD_DEFAULT, harmful[i].why);
    }
}
END_TEST

/* A whole layer behind the last that guesses a further token, as DeepSeek-V3 and GLM have it: told by
 * its norm of the embeddings; other layers behind the last are still refused. */
START_TEST(leaves_out_layers_that_guess)
{
    static const char *const names[] = {"input_layernorm.weight", "self_attn.q_proj.weight",
                                        "eh_proj.weight", "enorm.weight", "mlp.gate.weight"};
    const char *model = edit_copy(LLAMA);
    char name[64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(name, sizeof name, "model.layers.3.%s", names[i]);
        st_edit_add(&edit, name, MQ_BF16, 1, 4, 0);
    }
    struct mq_view *view = open_with(model, MQ_HEAD_DEFAULT);
    assert_same_weights(view, LLAMA);
    ck_assert_uint_eq(view->notes_count, 1);
    ck_assert_ptr_nonnull(strstr(view->notes[0],
                                 "5 tensors (40 bytes) are left out: heads that guess "
                                 "further tokens"));
    mq_view_close(view);
    st_edit_add(&edit, "model.layers.4.input_layernorm.weight", MQ_BF16, 1, 4, 0);
    refused_with(model, MQ_HEAD_DEFAULT, "it is of layer 4, and num_hidden_layers is 3");
}
END_TEST

/* What a family's descriptor says: each reason once, with the tensors that it is said of. */
START_TEST(leaves_out_what_the_family_says)
{
    static const struct mq_tensor_skip skips[] = {
        {"model.layers.*.self_attn.indexer.*", "an indexer"}, {"side.*", "a side"}, {0}};
    struct mq_family family = *mq_family_find("llama");
    struct mq_view *view = mq_view_create("some");
    struct mq_tensor_set set = {0};
    moeq_error err = {0};
    const char *path = test_path(edit_copy(LLAMA), "skips.safetensors");
    st_edit_free(&edit);
    st_edit_add(&edit, "model.layers.0.self_attn.indexer.wk.weight", MQ_BF16, 2, 2, 3);
    st_edit_add(&edit, "side.weight", MQ_BF16, 1, 2, 0);
    st_edit_add(&edit, "model.layers.1.self_attn.indexer.k_norm.bias", MQ_F32, 1, 2, 0);
    st_edit_save(&edit, path);
    family.skips = skips;
    view->family = &family;
    view->hparams.layers = 3;
    ck_assert_ok(mq_tensor_set_open(&set, view->arena, &path, 1, false, &err));
    ck_assert_ok(mq_judge_extra_tensors(view, &set, &err));
    ck_assert_uint_eq(view->notes_count, 2);
    ck_assert_str_eq(view->notes[0], "2 tensors (20 bytes) are left out: an indexer "
                                     "(model.layers.0.self_attn.indexer.wk.weight, "
                                     "model.layers.1.self_attn.indexer.k_norm.bias)");
    ck_assert_str_eq(view->notes[1], "1 tensor (4 bytes) is left out: a side (side.weight)");
    family.skips = skips + 1;
    ck_assert_int_eq(mq_judge_extra_tensors(view, &set, &err), MOEQ_UNSUPPORTED);
    mq_tensor_set_free(&set);
    mq_view_close(view);
}
END_TEST

/* By what they hold, under any name; but a tensor of floats is asked about. */
START_TEST(leaves_out_what_no_weights_are)
{
    static const struct {
        const char *name;
        enum mq_dtype dtype;
        uint32_t dims;
        uint64_t count;
    } tensors[] = {
        {"step", MQ_I64, 0, 0},
        {"model.seen", MQ_U8, 1, 4},
        {"model.layers.0.self_attn.bias", MQ_BOOL, 2, 8},
        {"x", MQ_F32, 1, 0},
    };
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        const char *model = edit_copy(LLAMA);
        st_edit_add(&edit, tensors[i].name, tensors[i].dtype, tensors[i].dims, tensors[i].count, 8);
        struct mq_view *view = open_with(model, MQ_HEAD_DEFAULT);
        assert_same_weights(view, LLAMA);
        ck_assert_uint_eq(view->notes_count, 1);
        ck_assert_msg(notes(view, "which weights never are") && notes(view, tensors[i].name), "%s",
                      view->notes[0]);
        mq_view_close(view);
    }
    const char *model = edit_copy(LLAMA);
    st_edit_add(&edit, "x", MQ_F32, 1, 1, 0);
    refused_with(model, MQ_HEAD_DEFAULT, "has no place in a llama model of this config.json");
}
END_TEST

START_TEST(counts_extra_tensors)
{
    const char *model = edit_copy(LLAMA);
    char name[64];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "model.layers.%d.self_attn.rotary_emb.inv_freq", i);
        st_edit_add(&edit, name, MQ_F32, 1, 16, 0);
    }
    st_edit_add(&edit, "v_head.weight", MQ_F32, 1, 4, 0);
    struct mq_view *view = open_with(model, MQ_HEAD_DEFAULT);
    ck_assert_uint_eq(view->notes_count, 2);
    ck_assert_str_eq(view->notes[0],
                     "100 tensors (6400 bytes) are left out: rotary frequencies, which follow from "
                     "config.json (model.layers.0.self_attn.rotary_emb.inv_freq, "
                     "model.layers.1.self_attn.rotary_emb.inv_freq, ...)");
    ck_assert_str_eq(view->notes[1],
                     "1 tensor (16 bytes) is left out: a head for scores or classes, which has no "
                     "part in the probabilities of tokens (v_head.weight)");
    mq_view_close(view);
}
END_TEST

/* ---- the head ---- */

/* Adds a head that is the embeddings', and changes its last byte by `change`. */
static void add_head(int change)
{
    const struct st_item *table = st_edit_find(&edit, "model.embed_tokens.weight");
    struct st_item *head =
        st_edit_add(&edit, "lm_head.weight", table->dtype, 2, table->shape[0], table->shape[1]);
    memcpy(head->bytes, table->bytes, table->size);
    head->bytes[head->size - 1] ^= (unsigned char)change;
}

START_TEST(ties_equal_heads)
{
    const char *model = edit_copy(TIED);
    add_head(0);
    struct mq_view *view = open_with(model, MQ_HEAD_DEFAULT);
    ck_assert(view->hparams.tied_head);
    ck_assert_uint_eq(view->notes_count, 0);
    assert_same_weights(view, TIED);
    mq_view_close(view);
    view = open_with(model, MQ_HEAD_STORED);
    ck_assert(!view->hparams.tied_head);
    ck_assert(notes(view, "--lm-head stored"));
    mq_view_close(view);
    /* The head alone: it serves for both. */
    st_edit_remove(&edit, "model.embed_tokens.weight");
    view = open_with(model, MQ_HEAD_DEFAULT);
    assert_same_weights(view, TIED);
    ck_assert(notes(view, "lm_head.weight serves for both"));
    mq_view_close(view);
}
END_TEST

START_TEST(follows_a_head_that_differs)
{
    const char *model = edit_copy(TIED);
    char output[1200];
    moeq_error err = {0};
    add_head(1);
    struct mq_view *view = open_with(model, MQ_HEAD_DEFAULT);
    ck_assert(!view->hparams.tied_head);
    ck_assert_ptr_nonnull(mq_view_find(view, MQ_ROLE_HEAD, -1, -1));
    ck_assert(notes(view, "lm_head.weight is stored and differs"));
    mq_view_close(view);
    view = open_with(model, MQ_HEAD_TIED);
    ck_assert(notes(view, "lm_head.weight is left out"));
    assert_same_weights(view, TIED);
    mq_view_close(view);
    /* A moeq file is read as its source was, with the note. */
    snprintf(output, sizeof output, "%s.moeq", model);
    ck_assert_ok(test_convert(model, "q8_0", output, NULL, NULL, &err));
    ck_assert_ok(mq_model_open(output, &view, &err));
    ck_assert(!view->hparams.tied_head);
    ck_assert_ptr_nonnull(mq_view_find(view, MQ_ROLE_HEAD, -1, -1));
    ck_assert_uint_eq(view->notes_count, 1);
    ck_assert(notes(view, "lm_head.weight is stored and differs"));
    mq_view_close(view);
    const struct mq_open_options tied = {.lm_head = MQ_HEAD_TIED};
    ck_assert_ok(mq_model_open_with(output, &tied, &view, &err));
    ck_assert(view->hparams.tied_head);
    mq_view_close(view);
    unlink(output);
    /* The same bytes in another dtype are other values. */
    struct st_item *head = st_edit_find(&edit, "lm_head.weight");
    head->bytes[head->size - 1] ^= 1;
    head->dtype = MQ_F16;
    view = open_with(model, MQ_HEAD_DEFAULT);
    ck_assert(!view->hparams.tied_head);
    mq_view_close(view);
}
END_TEST

/* Values are compared, in whatever dtype they stand: a zero of either sign is zero. */
START_TEST(ties_heads_of_another_dtype)
{
    const char *model = edit_copy(TIED);
    const struct st_item *table = st_edit_find(&edit, "model.embed_tokens.weight");
    ck_assert_int_eq(table->dtype, MQ_BF16);
    ((uint16_t *)(void *)table->bytes)[5] = 0;
    struct st_item *head =
        st_edit_add(&edit, "lm_head.weight", MQ_F32, 2, table->shape[0], table->shape[1]);
    uint32_t *bits = (void *)head->bytes;
    table = st_edit_find(&edit, "model.embed_tokens.weight");
    for (size_t i = 0; i < head->size / 4; i++)
        bits[i] = (uint32_t)((const uint16_t *)(const void *)table->bytes)[i] << 16;
    bits[5] = 0x80000000;
    struct mq_view *view = open_with(model, MQ_HEAD_DEFAULT);
    ck_assert(view->hparams.tied_head);
    ck_assert_uint_eq(view->notes_count, 0);
    mq_view_close(view);
    head = st_edit_find(&edit, "lm_head.weight");
    head->bytes[head->size - 4] ^= 1;
    view = open_with(model, MQ_HEAD_DEFAULT);
    ck_assert(!view->hparams.tied_head);
    mq_view_close(view);
}
END_TEST

/* Of config.json alone the choice decides, as for fit. */
START_TEST(chooses_without_weights)
{
    const struct mq_open_options stored = {.lm_head = MQ_HEAD_STORED};
    const char *config = mq_test_source(TIED "/config.json");
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_ok(mq_view_from_config(config, NULL, &view, &err));
    ck_assert(view->hparams.tied_head && !mq_view_find(view, MQ_ROLE_HEAD, -1, -1));
    mq_view_close(view);
    ck_assert_ok(mq_view_from_config(config, &stored, &view, &err));
    ck_assert(!view->hparams.tied_head && mq_view_find(view, MQ_ROLE_HEAD, -1, -1));
    mq_view_close(view);
}
END_TEST

START_TEST(asks_for_a_missing_head)
{
    const char *model = edit_copy(LLAMA);
    char output[1200];
    moeq_error err = {0};
    st_edit_remove(&edit, "lm_head.weight");
    refused_with(model, MQ_HEAD_DEFAULT, "--lm-head tied takes the embeddings for it");
    refused_with(model, MQ_HEAD_STORED, "no tensor 'lm_head.weight' is stored");
    struct mq_view *view = open_with(model, MQ_HEAD_TIED);
    ck_assert(view->hparams.tied_head);
    ck_assert(notes(view, "the embeddings are the head, as was asked for"));
    /* what is made of it is read in the same way */
    const struct mq_policy policy = mq_policy_default(mq_level_find("q8_0"));
    const struct mq_context context = {.isa = MQ_ISA_GENERIC, .threads = 1};
    const struct mq_convert_options options = {.output = output, .replace = true};
    struct mq_convert_result result;
    struct mq_plan *plan;
    snprintf(output, sizeof output, "%s.moeq", model);
    ck_assert_ok(mq_plan_create(view, &policy, &plan, &err));
    ck_assert_ok(mq_convert(&context, plan, &options, &result, &err));
    mq_plan_free(plan);
    mq_view_close(view);
    ck_assert_msg(mq_model_open(output, &view, &err) == MOEQ_OK, "%s", err.message);
    ck_assert(view->hparams.tied_head);
    mq_view_close(view);
    unlink(output);
    st_edit_add(&edit, "score.weight", MQ_F32, 2, 1, 64);
    refused_with(model, MQ_HEAD_DEFAULT, "Its score.weight is the head of a classification");
}
END_TEST

/* ---- quantized by other tools ---- */

#define Q "model.layers.0.self_attn.q_proj."

/* What stands in place of a matrix, as the tools save it; the weight's own dtype, I64: none. */
static const struct {
    enum mq_dtype weight;
    const char *names[4], *is;
} methods[] = {
    {MQ_I64,
     {Q "scales", Q "g_idx", Q "qweight", Q "qzeros"},
     "GPTQ: it has a tensor '" Q "g_idx'"},
    {MQ_I64, {Q "scales", Q "qweight", Q "qzeros"}, "AWQ or GPTQ: it has a tensor '" Q "qweight'"},
    {MQ_U8,
     {Q "weight.absmax", Q "weight.quant_map", Q "weight.quant_state.bitsandbytes__nf4"},
     "bitsandbytes, NF4"},
    {MQ_I8, {Q "SCB", Q "weight_format"}, "bitsandbytes, 8 bits"},
    {MQ_I64, {Q "W_q", Q "meta"}, "HQQ"},
    {MQ_I64, {Q "weight_packed", Q "weight_scale", Q "weight_shape"}, "compressed-tensors"},
    {MQ_F8_E4M3, {Q "weight_scale_inv"}, "FP8"},
    {MQ_F8_E4M3, {Q "weight_scale", Q "input_scale"}, "FP8 or compressed-tensors"},
    {MQ_F8_E4M3, {NULL}, "FP8: it has a tensor '" Q "weight' of F8_E4M3"},
    {MQ_U32, {Q "scales", Q "biases"}, "MLX: it has a tensor '" Q "biases'"},
    {MQ_U32, {NULL}, "packed into 32-bit integers"},
};

START_TEST(refuses_quantized_tensors)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        const char *model = edit_copy(LLAMA);
        st_edit_remove(&edit, Q "weight");
        for (size_t k = 0; k < 4 && methods[i].names[k]; k++)
            st_edit_add(&edit, methods[i].names[k], MQ_F32, 1, 8, 0);
        if (methods[i].weight != MQ_I64)
            st_edit_add(&edit, Q "weight", methods[i].weight, 2, 4, 4);
        refused_with(model, MQ_HEAD_DEFAULT, "the weights are quantized already (");
        refused_with(model, MQ_HEAD_DEFAULT, methods[i].is);
    }
}
END_TEST

#define NAMED "(example/named, as its config.json says)"

/* The original's name, from README.md or config.json, whatever their size. */
START_TEST(names_the_original)
{
    static const struct {
        const char *readme, *says;
    } readmes[] = {
        {"---\nbase_model: example/base\n---\n", "original model (example/base, as its README.md"},
        {"---\nlicense: mit\nbase_model:\n  - \"example/base\"\n---\n",
         "original model (example/base, as its README.md"},
        {"---\nbase_model: [example/base, example/other]\n---\n",
         "(example/base, as its README.md"},
        {"# no front matter\nbase_model: example/base\n", NAMED},
        {"---\nbase_model: \n---\n", NAMED},
        {"---\nbase_model: [\n  example/base,\n  a/b\n]\n---\n", "(example/base, as its README.md"},
        {"---\nbase_model: >-\n  example/base\n---\n", "(example/base, as its README.md"},
        {"\xef\xbb\xbf---\nbase_model: example/base\n---\n", "(example/base, as its README.md"},
        {"---\nbase_model : example/base\n---\n", "(example/base, as its README.md"},
        {"---\n\"base_model\": example/base\n---\n", "(example/base, as its README.md"},
        {"---\nbase_model: https://huggingface.co/example/base\n---\n",
         "(example/base, as its README.md"},
        {"---\nbase_model: null\n---\n", NAMED},
        {"---\nbase_model: &b example/base\n---\n", NAMED},
        {"---\nbase_model: .\n---\n", NAMED},
        {"---\nbase_model: \"a\\u001b[31m/b\"\n---\n", NAMED},
        {"---\nbase_model: a\x1b[31m/b\n---\n", NAMED},
        {"---\nbase_model: a/b/c\n---\n", NAMED},
        {"---\nbase_model:\n  name: a/b\n---\n", NAMED},
        {"---\nbase_model:\ntags: x\n---\n", NAMED},
        {"---\nbase_model: "
         "mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm"
         "mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm/b\n---\n",
         NAMED},
    };
    const char *model = edit_copy(LLAMA);
    char readme[1200];
    snprintf(readme, sizeof readme, "%s/README.md", model);
    st_edit_add(&edit, Q "qweight", MQ_I32, 1, 8, 0);
    refused_with(model, MQ_HEAD_DEFAULT, "needs the original model, in float32");
    test_replace(test_path(model, "config.json"), "{", "{\"_name_or_path\": \"example/named\",");
    for (size_t i = 0; i < sizeof readmes / sizeof *readmes; i++) {
        struct mq_buffer text = {0};
        mq_buffer_puts(&text, readmes[i].readme);
        for (int k = 0; k < 20000; k++)
            mq_buffer_puts(&text, "\nbase_model: wrong/one");
        test_write(readme, text.data, text.size);
        mq_buffer_free(&text);
        refused_with(model, MQ_HEAD_DEFAULT, readmes[i].says);
    }
    ck_assert_int_eq(unlink(readme), 0);
    test_replace(test_path(model, "config.json"), "example/named", "/home/me/llama");
    refused_with(model, MQ_HEAD_DEFAULT, "needs the original model, in float32");
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, reads_other_prefixes);
    tcase_add_test(tests, knows_names_of_other_forms);
    tcase_add_test(tests, reads_wrapped_layers);
    tcase_add_test(tests, refuses_other_names);
    tcase_add_test(tests, tells_what_stands_in_a_layer);
    tcase_add_test(tests, judges_extra_tensors);
    tcase_add_test(tests, leaves_out_what_no_weights_are);
    tcase_add_test(tests, leaves_out_layers_that_guess);
    tcase_add_test(tests, leaves_out_what_the_family_says);
    tcase_add_test(tests, counts_extra_tensors);
    tcase_add_test(tests, ties_equal_heads);
    tcase_add_test(tests, follows_a_head_that_differs);
    tcase_add_test(tests, ties_heads_of_another_dtype);
    tcase_add_test(tests, chooses_without_weights);
    tcase_add_test(tests, asks_for_a_missing_head);
    tcase_add_test(tests, refuses_quantized_tensors);
    tcase_add_test(tests, names_the_original);
}

int main(void)
{
    return mq_test_main("test_tensor_names", add_tests);
}
