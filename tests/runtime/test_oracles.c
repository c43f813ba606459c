/*
 * test_oracles.c: the evaluator against what every family's own formulas give, on tiny random
 * checkpoints: outputs of Hugging Face Transformers in f32 (tests/fixtures/oracles), and of the
 * float64 evaluator in tests/data/families (tests/fixtures/families), in all forms of config.json,
 * and as moeq files. Larger checkpoints are compared where they stand beside the source tree.
 */
#include "golden.h"
#include "oracle_folders.h"
#include "test_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Selections closer than this may differ: f32 sums in another order differ by as much. */
#define CLEAR_MARGIN 1e-5

/* What a golden holds, by the config that it is for; a folder has what it has files for. */
static const struct reading {
    const char *config, *suffix;
} readings[] = {
    {NULL, ""}, /* the folder as it is */
    {"config_tf5.json", ""},
    {"config_long.json", "_long"},
    {"config_chunk.json", "_chunk"},
    {"config_topk.json", "_topk"},
};

/* Of the softmax scale of Mistral 4 Transformers has another reading than its publisher: see
 * formats/arch/mistral4.c. */
static const char *suffix_of(const struct golden *golden, const char *suffix)
{
    const bool other = mq_safetensors_find(&golden->file, "logits_no_mscale2") != NULL;
    return *suffix == '\0' && other ? "_no_mscale2" : suffix;
}

static double largest(const float *a, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)a[i]));
    return most;
}

static double largest_difference(const float *a, const float *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= most)) /* NaN counts */
            most = d;
    }
    return most;
}

/* By how much the last chosen expert's logit exceeds the first that was not chosen. */
static double margin(const float *logits, const int32_t *chosen, size_t experts, size_t top_k)
{
    double weakest = INFINITY, strongest = -INFINITY;
    for (size_t e = 0; e < experts; e++) {
        bool is_chosen = false;
        for (size_t i = 0; i < top_k; i++)
            is_chosen |= chosen[i] == (int32_t)e;
        if (is_chosen)
            weakest = fmin(weakest, (double)logits[e]);
        else
            strongest = fmax(strongest, (double)logits[e]);
    }
    return weakest - strongest;
}

/* A comparison under way. */
struct against {
    const char *what, *suffix;
    const struct golden *golden;
    const struct collected *mine;
    double tolerance; /* of values up to 10 */
};

static void *read_golden(const struct against *a, const char *kind, size_t layer, size_t *n)
{
    char name[64];
    snprintf(name, sizeof name, kind, layer);
    strcat(name, a->suffix);
    return golden_read(a->golden, name, n);
}

/* Returns the largest difference, which is within the tolerance. */
static double compare_values(const struct against *a, const char *what, size_t layer,
                             const float *mine, const float *golden, size_t n, double tolerance)
{
    const double most = largest_difference(mine, golden, n);
    const double allowed = tolerance * fmax(1, largest(golden, n) / 10);
    ck_assert_msg(most <= allowed, "%s: %s %zu differs by %g, more than %g", a->what, what, layer,
                  most, allowed);
    return most;
}

static void compare_routes(const struct against *a, size_t layer)
{
    const struct collected *c = a->mine;
    size_t n, checked = 0;
    float *logits = read_golden(a, "router.%zu.logits", layer, &n);
    if (!logits)
        return;
    ck_assert_uint_eq(n, c->tokens * c->experts);
    int32_t *chosen = read_golden(a, "router.%zu.experts", layer, &n);
    ck_assert(chosen && n % c->tokens == 0 && n / c->tokens <= c->top_k);
    const size_t top_k = n / c->tokens;
    float *weights = read_golden(a, "router.%zu.weights", layer, &n);
    ck_assert(weights && n == c->tokens * top_k);

    compare_values(a, "the router's logits of layer", layer,
                   c->router_logits + layer * c->tokens * c->experts, logits,
                   c->tokens * c->experts, a->tolerance);
    for (size_t t = 0; t < c->tokens; t++) {
        const size_t at = t * top_k, mine = layer * c->tokens * c->top_k + at;
        /* (Below 0: the choice was by something else besides, whose margins the oracles keep clear.) */
        if (fabs(margin(logits + t * c->experts, chosen + at, c->experts, top_k)) < CLEAR_MARGIN)
            continue;
        ck_assert_msg(memcmp(c->chosen + mine, chosen + at, top_k * sizeof(int32_t)) == 0,
                      "%s: layer %zu chooses other experts for token %zu", a->what, layer, t);
        compare_values(a, "weights of layer", layer, c->weights + mine, weights + at, top_k,
                       a->tolerance / 4);
        checked++;
    }
    ck_assert_uint_gt(checked, c->tokens * 9 / 10);
    free(logits);
    free(chosen);
    free(weights);
}

/* Returns the largest difference of the logits. */
static double compare_collected(const struct against *a)
{
    const struct collected *c = a->mine;
    size_t n;
    for (size_t layer = 0; layer <= c->layers; layer++) {
        float *hidden = read_golden(a, "hidden.%zu", layer, &n);
        ck_assert(!hidden || n == c->tokens * c->hidden_size);
        if (hidden)
            compare_values(a, "what is read by layer", layer, c->hidden + layer * n, hidden, n,
                           a->tolerance);
        free(hidden);
        if (layer < c->layers)
            compare_routes(a, layer);
    }
    float *logits = read_golden(a, "logits", 0, &n);
    ck_assert_msg(logits && n == c->tokens * c->vocab, "%s: no logits%s", a->what, a->suffix);
    ck_assert_uint_eq(c->logits_seen, c->tokens);
    const double most =
        compare_values(a, "logits: layer", c->layers, c->logits, logits, n, a->tolerance);
    free(logits);
    return most;
}

/* Gated norms of recurrent mixers divide by what can be small, and make f32's rounding larger. */
static double tolerance_of(const struct mq_view *view)
{
    for (uint32_t layer = 0; layer < view->hparams.layers; layer++) {
        const enum mq_mixer kind = view->program->layers[layer]->layer.attention.kind;
        if (kind == MQ_MIXER_DELTA || kind == MQ_MIXER_MAMBA)
            return 1e-3;
    }
    return 2e-4;
}

static moeq_status evaluate(const struct mq_view *view, const struct golden *golden,
                            struct collected *c, moeq_error *err)
{
    /* (One thread: so small a model waits for its threads longest.) */
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 1};
    const struct mq_arm arm = {.name = "stored", .view = view, .routes_from = -1};
    return collect(&context, &arm, 1, &golden->windows, c, err);
}

/* The model at f32 in a moeq file gives the same bits. */
static void compare_moeq_file(const char *folder, const struct golden *golden,
                              const struct collected *c)
{
    const struct mq_context plain = {.isa = MQ_ISA_GENERIC, .threads = 1};
    const char *path = mq_test_temporary("oracle.moeq");
    moeq_error err = {0};
    struct collected again;
    ck_assert_msg(test_convert(folder, "f32", path, &plain, NULL, &err) == MOEQ_OK, "%s",
                  err.message);
    struct mq_view *view = test_open(path);
    ck_assert_msg(evaluate(view, golden, &again, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_msg(collected_equal(c, &again), "%s: other results as a moeq file", folder);
    collected_free(&again);
    mq_view_close(view);
    unlink(path);
}

/* Evaluates `folder` and compares with what `golden_path` has of the suffix. */
static moeq_status compare(const char *folder, const char *golden_path, const char *suffix,
                           bool as_moeq_file, double least_tolerance, moeq_error *err)
{
    struct golden golden;
    struct mq_view *view;
    struct collected c;
    if (mq_view_open(folder, &view, err) != MOEQ_OK)
        return err->status;
    golden_open(golden_path, &golden);
    const moeq_status status = evaluate(view, &golden, &c, err);
    if (status == MOEQ_OK) {
        const struct against a = {folder, suffix_of(&golden, suffix), &golden, &c,
                                  fmax(least_tolerance, tolerance_of(view))};
        const double most = compare_collected(&a);
        fprintf(stderr, "%s: logits%s within %.2e\n", folder, a.suffix, most);
        if (as_moeq_file)
            compare_moeq_file(folder, &golden, &c);
    }
    collected_free(&c);
    golden_close(&golden);
    mq_view_close(view);
    return status;
}

/* ---- the folders ---- */

static struct oracle_folders here, beside;

/* A copy of the folder (by links) with another of its configs as config.json. */
static const char *with_config(const char *source, const char *config)
{
    static char folder[1200];
    char command[8000];
    snprintf(folder, sizeof folder, "%s", mq_test_temporary("oracle_config"));
    snprintf(command, sizeof command,
             "rm -rf '%s' && mkdir '%s' && ln -s '%s'/model* '%s' && ln -s '%s/%s' '%s/config.json'",
             folder, folder, source, folder, source, config, folder);
    ck_assert_int_eq(system(command), 0);
    return folder;
}

/* A folder in all its readings. */
static void compare_folder(const char *source)
{
    for (size_t i = 0; i < sizeof readings / sizeof *readings; i++) {
        const struct reading *r = &readings[i];
        moeq_error err = {0};
        const char *folder = source, *golden = test_path(source, "golden.safetensors");
        if (r->config && access(test_path(source, r->config), R_OK) != 0)
            continue;
        if (r->config)
            folder = with_config(source, r->config);
        const moeq_status status = compare(folder, golden, r->suffix, !r->config, 0, &err);
        /* Which keys an indexer leaves out is not computed: longer windows are refused. */
        if (strcmp(r->suffix, "_topk") == 0)
            ck_assert_msg(status != MOEQ_OK && strstr(err.message, "index_topk"), "%s",
                          err.message);
        else
            ck_assert_msg(status == MOEQ_OK, "%s: %s", source, err.message);
    }
}

START_TEST(oracle)
{
    compare_folder(here.paths[_i]);
}
END_TEST

START_TEST(larger_oracle)
{
    compare_folder(beside.paths[_i]);
}
END_TEST

/* The trained reference models, where they stand beside the source tree. */
START_TEST(trained_model)
{
    static const char *const models[] = {"models/tiny", "models/small"};
    moeq_error err = {0};
    const char *folder = mq_test_shared(models[_i]);
    ck_assert_ptr_nonnull(folder);
    ck_assert_msg(compare(folder, test_path(folder, "golden.safetensors"), "", false, 2e-3,
                          &err) == MOEQ_OK,
                  "%s", err.message);
}
END_TEST

static void add_tests(TCase *tests)
{
    oracle_folders_add(mq_test_source("tests/fixtures/oracles"), &here);
    oracle_folders_add(mq_test_source("tests/fixtures/families"), &here);
    ck_assert_uint_gt(here.count, 40);
    tcase_add_loop_test(tests, oracle, 0, (int)here.count);
}

static void add_reference_tests(TCase *tests)
{
    const char *oracles = mq_test_shared("oracles");
    tcase_add_loop_test(tests, trained_model, 0, 2);
    if (oracles)
        oracle_folders_add(oracles, &beside);
    tcase_add_loop_test(tests, larger_oracle, 0, (int)beside.count);
}

int main(int argc, char **argv)
{
    return mq_test_main_reference(argc, argv, "test_oracles", add_tests, add_reference_tests);
}
