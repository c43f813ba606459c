/*
 * test_program.c: that nothing of a model is left out without a word: every tensor of every role
 * counts, a family's descriptor that says more or less than its layers take is refused, and so on.
 */
#include "family.h"
#include "gguf_names.h"
#include "golden.h"
#include "oracle_folders.h"
#include "stored.h"
#include "test_model.h"
#include "view_int.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOKENS = 48 };

/* Models that have tensors of all roles among them: all tiny ones, and those of families that have
 * larger ones alone. */
static struct oracle_folders models;
#define LLAMA "tests/fixtures/oracles/llama3"
#define OLMOE "tests/fixtures/oracles/olmoe"
#define QWEN3_MOE "tests/fixtures/oracles/qwen3_moe"

static void find_models(void)
{
    static const char *const larger[] = {LLAMA, OLMOE, QWEN3_MOE};
    oracle_folders_add(mq_test_source("tests/fixtures/families"), &models);
    for (size_t i = 0; i < sizeof larger / sizeof *larger; i++)
        models.paths[models.count++] = strdup(mq_test_source(larger[i]));
}

/* All logits of a few tokens. */
static void evaluate(const char *folder, struct collected *c)
{
    int32_t ids[TOKENS];
    moeq_error err = {0};
    const struct mq_open_options unchecked = {.no_check = true}; /* weights were changed */
    struct mq_view *view;
    ck_assert_msg(mq_model_open_with(folder, &unchecked, &view, &err) == MOEQ_OK, "%s", err.message);
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 1};
    const struct mq_arm arm = {.name = "stored", .view = view, .routes_from = -1};
    const struct mq_windows windows = {ids, 1, TOKENS};
    for (int32_t i = 0; i < TOKENS; i++)
        ids[i] = (7 * i + 3) % 64;
    ck_assert_msg(collect(&context, &arm, 1, &windows, c, &err) == MOEQ_OK, "%s", err.message);
    mq_view_close(view);
}

/* Every other weight changes its sign in the file: what no norm can undo. */
static void change(FILE *file, const struct mq_tensor *t)
{
    const size_t n = t->rows * t->row_bytes, weight = t->row_bytes / t->cols;
    unsigned char *bytes = malloc(n);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(fseek(file, (long)t->offset, SEEK_SET), 0);
    ck_assert_uint_eq(fread(bytes, 1, n, file), n);
    for (size_t i = weight - 1; i < n; i += 2 * weight)
        bytes[i] ^= 0x80;
    ck_assert_int_eq(fseek(file, (long)t->offset, SEEK_SET), 0);
    ck_assert_uint_eq(fwrite(bytes, 1, n, file), n);
    free(bytes);
}

/* False if the model has no such tensors. */
static bool change_role(const char *path, const struct mq_view *view, enum mq_role role)
{
    bool any = false;
    FILE *file = fopen(path, "r+b");
    ck_assert_ptr_nonnull(file);
    for (size_t i = 0; i < view->tensors_count; i++)
        if (view->tensors[i].role == role) {
            change(file, &view->tensors[i]);
            any = true;
        }
    ck_assert_int_eq(fclose(file), 0);
    return any;
}

/* Whether any family names it. */
static bool is_named(int role)
{
    for (size_t i = 0; i < mq_families_count; i++)
        if (mq_family_name(mq_families[i], (enum mq_role)role))
            return true;
    return false;
}

/* The model as a moeq file, where each tensor's numbers stand in one piece. */
static const char *plain_copy(const char *folder)
{
    moeq_error err = {0};
    struct mq_convert_result result;
    const char *path = mq_test_temporary("plain.moeq");
    unlink(path);
    ck_assert_msg(test_convert(folder, "f32", path, NULL, &result, &err) == MOEQ_OK, "%s",
                  err.message);
    return path;
}

/* The evaluator computes with the tensors of every role that a model has. */
START_TEST(every_role_counts)
{
    enum { MODELS_OF_A_ROLE = 4 }; /* that all do takes too long; goldens tell the rest */
    int seen[MQ_ROLE_COUNT] = {0};
    for (size_t m = 0; m < models.count; m++) {
        struct collected whole, other;
        const char *name = models.paths[m] + strlen(mq_test_source(""));
        const char *file = plain_copy(models.paths[m]);
        struct mq_view *view = test_open(file);
        evaluate(file, &whole);
        for (int role = 0; role < MQ_ROLE_COUNT; role++) {
            if (mq_role_is_carried((enum mq_role)role) || seen[role] == MODELS_OF_A_ROLE || !change_role(file, view, (enum mq_role)role))
                continue;
            seen[role]++;
            evaluate(file, &other);
            ck_assert_msg(
                memcmp(whole.logits, other.logits, TOKENS * whole.vocab * sizeof(float)) != 0,
                "%s: %s changes nothing", name, mq_role_name((enum mq_role)role));
            collected_free(&other);
            change_role(file, view, (enum mq_role)role); /* back */
        }
        collected_free(&whole);
        mq_view_close(view);
    }
    for (int role = 0; role < MQ_ROLE_COUNT; role++)
        ck_assert_msg(seen[role] || !is_named(role) || mq_role_is_carried((enum mq_role)role), "no model here has a tensor of the role %s: add one that has",
                      mq_role_name((enum mq_role)role));
}
END_TEST

/* The table of tensors, the planner's counts and GGUF's names have what the programs have. */
START_TEST(every_slot_is_known)
{
    for (size_t m = 0; m < models.count; m++) {
        struct mq_view *view = test_open(models.paths[m]);
        size_t slots = 0;
        for (uint32_t layer = 0; layer < view->hparams.layers; layer++) {
            const struct mq_program *p = view->program->layers[layer];
            struct mq_slot_at at = {0};
            const struct mq_slot *slot;
            while ((slot = mq_program_next(p, &at))) {
                const struct mq_tensor *t =
                    mq_view_find(view, slot->role, (int32_t)layer, slot->per_expert ? 0 : -1);
                const struct mq_gguf_role *names = mq_gguf_role(slot->role);
                ck_assert_ptr_nonnull(t);
                ck_assert(t->rows == slot->rows && t->cols == slot->cols);
                ck_assert(t->dims == (slot->is_vector ? 1 : 2));
                ck_assert(strstr(names->name, "{layer}") != NULL);
                ck_assert((slot->per_expert && !slot->is_vector) == (names->split_name != NULL));
                slots += slot->per_expert ? p->layer.ffn.router.experts : 1;
            }
        }
        /* embedding, last norm, head, biases of the two */
        const struct mq_ends *ends = &view->program->ends;
        slots += 2 + !view->hparams.tied_head + !!ends->norm_bias + !!ends->head_bias;
        ck_assert_msg(slots == view->tensors_count, "%s: %zu slots, %zu tensors", models.paths[m],
                      slots, view->tensors_count);
        mq_view_close(view);
    }
}
END_TEST

/* ---- descriptors that are wrong ---- */

enum { NAMES = 32, KEYS = 16 };

/* OLMoE, to be changed. */
struct draft {
    struct mq_family family;
    struct mq_tensor_name names[NAMES];
    struct mq_config_key keys[KEYS];
    size_t names_count, keys_count;
};

static void copy_olmoe(struct draft *d)
{
    memset(d, 0, sizeof *d);
    d->family = *mq_family_find("olmoe");
    for (const struct mq_tensor_name *n = d->family.names; n->name; n++)
        d->names[d->names_count++] = *n;
    for (const struct mq_config_key *k = d->family.keys; k->key; k++)
        d->keys[d->keys_count++] = *k;
    ck_assert(d->names_count + 1 < NAMES && d->keys_count + 1 < KEYS);
    d->family.names = d->names;
    d->family.keys = d->keys;
}

static void remove_name(struct draft *d, enum mq_role role)
{
    size_t i = 0;
    while (d->names[i].role != role)
        i++;
    memmove(&d->names[i], &d->names[i + 1], (d->names_count-- - i) * sizeof *d->names);
}

/* A model whose family is the draft: MOEQ_OK, or what is wrong with it. */
static moeq_status try_draft(const struct draft *d, moeq_error *err)
{
    struct mq_view *source = test_open(mq_test_source(OLMOE)), *view = mq_view_create("draft");
    ck_assert_ptr_nonnull(view);
    memset(err, 0, sizeof *err);
    view->hparams = source->hparams;
    view->family = &d->family;
    const moeq_status status = mq_program_create(view, "draft", err);
    ck_assert(status == MOEQ_OK || !view->program);
    mq_view_close(view);
    mq_view_close(source);
    return status;
}

static void layer_without_norm(const struct mq_hparams *hp, uint32_t number, struct mq_layer *layer)
{
    mq_family_find("olmoe")->layer(hp, number, layer);
    layer->attention.qk_norm = MQ_QK_NORM_NONE;
}

static void layer_without_scale(const struct mq_hparams *hp, uint32_t number,
                                struct mq_layer *layer)
{
    mq_family_find("olmoe")->layer(hp, number, layer);
    layer->attention.scale = 0;
}

/* What only some models of a family have, or what their configs make of no effect, is no mistake. */
START_TEST(takes_every_config_of_a_family)
{
    static const struct {
        uint32_t sparse_step, dense[3];
        size_t dense_count;
    } cases[] = {{1, {0}, 0}, {1, {0, 1, 2}, 3}, {2, {0}, 0},
                 {9, {0}, 0}, {1000, {0}, 0},    {1000, {0, 1, 2}, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_view *source = test_open(mq_test_source(QWEN3_MOE));
        struct mq_view *view = mq_view_create("draft");
        moeq_error err = {0};
        ck_assert_ptr_nonnull(view);
        view->hparams = source->hparams;
        view->hparams.sparse_step = cases[i].sparse_step;
        view->hparams.dense_layers = (struct mq_layer_set){
            .layers = cases[i].dense, .count = cases[i].dense_count, .given = true};
        view->family = mq_family_find("qwen3_moe");
        ck_assert_msg(mq_program_create(view, "draft", &err) == MOEQ_OK, "%s", err.message);
        mq_view_close(view);
        mq_view_close(source);
    }
}
END_TEST

START_TEST(refuses_wrong_descriptors)
{
    struct draft d;
    moeq_error err;
    copy_olmoe(&d);
    ck_assert_ok(try_draft(&d, &err));

    d.names[d.names_count++] = (struct mq_tensor_name){.role = MQ_ROLE_MLP_GATE, .name = "x"};
    ck_assert_int_eq(try_draft(&d, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "'x' has a role that no layer takes"));

    copy_olmoe(&d);
    d.family.layer = layer_without_norm; /* the norms are named, and would be left out */
    ck_assert_int_eq(try_draft(&d, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "q_norm.weight' has a role that no layer"));

    copy_olmoe(&d);
    d.family.layer = layer_without_scale;
    ck_assert_int_eq(try_draft(&d, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "'scale of scores' has no size"));

    copy_olmoe(&d);
    remove_name(&d, MQ_ROLE_ATTN_K_NORM);
    ck_assert_int_eq(try_draft(&d, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(
        strstr(err.message, "'attn_k_norm' is taken by a layer, and no tensor is named for it"));

    copy_olmoe(&d);
    d.keys[d.keys_count++] =
        (struct mq_config_key){.key = "moe_intermediate_size",
                               .rule = MQ_KEY_U32,
                               .field = offsetof(struct mq_hparams, expert_ffn)};
    ck_assert_int_eq(try_draft(&d, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "'moe_intermediate_size' is read, and changes no"));
}
END_TEST

static void add_tests(TCase *tests)
{
    find_models();
    tcase_add_test(tests, every_role_counts);
    tcase_add_test(tests, every_slot_is_known);
    tcase_add_test(tests, takes_every_config_of_a_family);
    tcase_add_test(tests, refuses_wrong_descriptors);
}

int main(void)
{
    return mq_test_main("test_program", add_tests);
}
