/* The evaluator against the outputs of Hugging Face Transformers in f32, on tiny random
 * checkpoints. */
#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Selections closer than this may differ: f32 sums in another order differ by as much. */
#define CLEAR_MARGIN 1e-5

static const char *const names[] = {"mixtral", "mixtral_fused", "mistral", "mistral_swa", "llama2",
                                    "llama3",  "llama3_tied",   "olmoe",   "qwen3_moe",
                                    "lfm2_moe", "nemotron_h", "granitemoehybrid", "qwen3_next", "qwen3_5_moe"};

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

static void compare_routes(const struct golden *golden, const struct collected *c, size_t layer,
                           double tolerance)
{
    char name[64];
    size_t n, checked = 0;
    snprintf(name, sizeof name, "router.%zu.logits", layer);
    float *logits = golden_read(golden, name, &n);
    if (!logits)
        return;
    ck_assert_uint_eq(n, c->tokens * c->experts);
    snprintf(name, sizeof name, "router.%zu.experts", layer);
    int32_t *chosen = golden_read(golden, name, &n);
    ck_assert(chosen && n == c->tokens * c->top_k);
    snprintf(name, sizeof name, "router.%zu.weights", layer);
    float *weights = golden_read(golden, name, &n);
    ck_assert(weights && n == c->tokens * c->top_k);

    ck_assert_double_le(largest_difference(c->router_logits + layer * c->tokens * c->experts,
                                           logits, c->tokens * c->experts),
                        tolerance);
    for (size_t t = 0; t < c->tokens; t++) {
        const size_t at = t * c->top_k, mine = layer * c->tokens * c->top_k + at;
        /* (Below 0: the choice was by something else besides, whose margins the oracles keep clear.) */
        if (fabs(margin(logits + t * c->experts, chosen + at, c->experts, c->top_k)) < CLEAR_MARGIN)
            continue;
        ck_assert_mem_eq(c->chosen + mine, chosen + at, c->top_k * sizeof(int32_t));
        ck_assert_double_le(largest_difference(c->weights + mine, weights + at, c->top_k),
                            tolerance);
        checked++;
    }
    ck_assert_uint_gt(checked, c->tokens * 9 / 10);
    free(logits);
    free(chosen);
    free(weights);
}

/* Evaluates `folder` and compares with `golden_path`; returns the largest error of the logits. */
static double compare(const char *folder, const char *golden_path, double tolerance)
{
    moeq_error err = {0};
    struct golden golden;
    struct mq_view *view;
    struct collected c;
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    golden_open(golden_path, &golden);
    ck_assert_msg(mq_view_open(folder, &view, &err) == MOEQ_OK, "%s", err.message);
    const struct mq_arm arm = {.name = "stored", .view = view, .routes_from = -1};
    ck_assert_msg(collect(&context, &arm, 1, &golden.windows, &c, &err) == MOEQ_OK, "%s",
                  err.message);
    ck_assert_uint_eq(c.logits_seen, c.tokens);
    size_t n;
    for (size_t layer = 0; layer <= c.layers; layer++) {
        char name[64];
        snprintf(name, sizeof name, "hidden.%zu", layer);
        float *hidden = golden_read(&golden, name, &n);
        ck_assert(hidden && n == c.tokens * c.hidden_size);
        const double most = largest_difference(c.hidden + layer * n, hidden, n);
        ck_assert_msg(most <= tolerance, "%s: %s differs by %g", folder, name, most);
        free(hidden);
        if (layer < c.layers)
            compare_routes(&golden, &c, layer, tolerance);
    }
    float *logits = golden_read(&golden, "logits", &n);
    ck_assert(logits && n == c.tokens * c.vocab);
    const double most = largest_difference(c.logits, logits, n);
    fprintf(stderr, "%s: logits within %.2e\n", folder, most);
    ck_assert_msg(most <= tolerance, "%s: logits differ by %g", folder, most);
    free(logits);
    collected_free(&c);
    mq_view_close(view);
    golden_close(&golden);
    return most;
}

START_TEST(oracle)
{
    char folder[64], golden[96];
    snprintf(folder, sizeof folder, "tests/fixtures/oracles/%s", names[_i]);
    snprintf(golden, sizeof golden, "%s/golden.safetensors", folder);
    compare(mq_test_source(folder), mq_test_source(golden), 2e-4);
}
END_TEST

/* The same checkpoint with the config.json that Transformers 5 writes (rope_parameters). */
START_TEST(oracle_transformers5)
{
    char source[64], folder[512], from[1024], to[1024], command[4096];
    snprintf(source, sizeof source, "tests/fixtures/oracles/%s", names[_i]);
    snprintf(folder, sizeof folder, "%s", mq_test_temporary(names[_i]));
    snprintf(command, sizeof command, "mkdir -p '%s' && rm -f '%s'/* && ln -s '%s'/model* '%s'",
             folder, folder, mq_test_source(source), folder);
    ck_assert_int_eq(system(command), 0);
    snprintf(from, sizeof from, "%s/config_tf5.json", mq_test_source(source));
    if (access(from, R_OK) != 0)
        snprintf(from, sizeof from, "%s/config.json", mq_test_source(source));
    snprintf(to, sizeof to, "%s/config.json", folder);
    ck_assert_int_eq(symlink(from, to), 0);
    snprintf(from, sizeof from, "%s/golden.safetensors", mq_test_source(source));
    compare(folder, from, 2e-4);
}
END_TEST

/* The trained reference models, where they stand beside the source tree. */
START_TEST(trained_model)
{
    static const char *const models[] = {"models/tiny", "models/small"};
    const char *folder = mq_test_shared(models[_i]);
    ck_assert_ptr_nonnull(folder);
    char golden[1024];
    snprintf(golden, sizeof golden, "%s/golden.safetensors", folder);
    compare(folder, golden, 2e-3);
}
END_TEST

static void add_tests(TCase *tests)
{
    const int count = sizeof names / sizeof *names;
    tcase_add_loop_test(tests, oracle, 0, count);
    tcase_add_loop_test(tests, oracle_transformers5, 0, count);
}

static void add_reference_tests(TCase *tests)
{
    tcase_add_loop_test(tests, trained_model, 0, 2);
}

int main(int argc, char **argv)
{
    return mq_test_main_reference(argc, argv, "test_oracles", add_tests, add_reference_tests);
}
