/* test_sensitivity.c: what a matrix loses, against the whole model run with only that matrix
 * quantized: the residual stream after its layer then differs by nothing else, and logits by nothing but the head. */
#include "linear.h"
#include "sensitivity.h"
#include "test_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { LENGTH = 16, WINDOWS = 2, LEVELS = 2 };

static const char *const models[] = {
    "tests/fixtures/families/qwen3_next", "tests/fixtures/families/deepseek_v3",
    "tests/fixtures/families/gpt_oss",    "tests/fixtures/families/granitemoe",
    "tests/fixtures/families/nemotron_h", "tests/fixtures/families/llama4",
    "demo/model",
};

static void make_ids(const struct mq_view *view, int32_t ids[WINDOWS * LENGTH])
{
    uint64_t state = 3;
    for (int i = 0; i < WINDOWS * LENGTH; i++)
        ids[i] = (int32_t)(mq_test_random(&state) % view->hparams.vocab);
}

struct stream {
    int32_t layer;
    size_t hidden, vocab;
    double difference, squares;
    double variance; /* of logits' differences */
};

static moeq_status on_hidden(void *user, uint32_t layer, size_t first_token, size_t tokens,
                             const float *const *hidden, moeq_error *err)
{
    struct stream *s = user;
    (void)first_token;
    (void)err;
    if ((int32_t)layer != s->layer + 1)
        return MOEQ_OK;
    for (size_t i = 0; i < tokens * s->hidden; i++) {
        const double a = (double)hidden[0][i], b = (double)hidden[1][i];
        s->difference += (a - b) * (a - b);
        s->squares += a * a;
    }
    return MOEQ_OK;
}

static moeq_status on_logits(void *user, const size_t *token_index, size_t tokens,
                             const float *const *logits, moeq_error *err)
{
    struct stream *s = user;
    (void)token_index;
    (void)err;
    for (size_t t = 0; t < tokens; t++) {
        const float *a = logits[0] + t * s->vocab, *b = logits[1] + t * s->vocab;
        double total = 0.0, mean = 0.0, square = 0.0;
        for (size_t v = 0; v < s->vocab; v++) {
            const double p = exp((double)a[v]), e = (double)b[v] - (double)a[v];
            total += p;
            mean += p * e;
            square += p * e * e;
        }
        s->variance += square / total - mean / total * mean / total;
    }
    return MOEQ_OK;
}

/* The same by two arms. */
static struct stream by_two_arms(const struct mq_context *context, const struct mq_view *view,
                                 const struct mq_windows *windows, size_t tensor,
                                 const struct mq_level *level)
{
    const struct mq_level **levels = calloc(view->tensors_count, sizeof *levels);
    levels[tensor] = level;
    const struct mq_arm arms[2] = {
        {.name = "stored", .view = view, .routes_from = -1},
        {.name = "one", .view = view, .levels = levels, .routes_from = -1}};
    struct stream s = {.layer = view->tensors[tensor].layer,
                       .hidden = view->hparams.hidden,
                       .vocab = view->hparams.vocab};
    const bool is_head = view->tensors[tensor].role == MQ_ROLE_HEAD;
    const struct mq_observer observer = {
        .user = &s, .on_hidden = on_hidden, .on_logits = is_head ? on_logits : NULL};
    if (s.layer < 0)
        s.layer = 0;
    moeq_error err = {0};
    ck_assert_msg(mq_evaluate(context, arms, 2, windows, &observer, &err) == MOEQ_OK, "%s",
                  err.message);
    free(levels);
    return s;
}

/* Whether the loss is the stream's behind the layer. Of mixers behind the first layer it is not. */
static bool is_of_the_stream(const struct mq_view *view, const struct mq_tensor *t)
{
    const enum mq_role_class class = mq_view_class(view, t->role);
    return t->role == MQ_ROLE_EMBEDDING
               ? !view->hparams.tied_head
               : t->layer == 0 || (t->layer > 0 && class != MQ_CLASS_ATTENTION);
}

START_TEST(is_what_the_stream_loses)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_level *const levels[LEVELS] = {mq_level_find("q8_0"), mq_level_find("q4_k")};
    const struct mq_sensitivity_options options = {.levels = levels, .levels_count = LEVELS};
    struct mq_view *view = test_open(mq_test_source(models[_i]));
    int32_t ids[WINDOWS * LENGTH];
    make_ids(view, ids);
    const struct mq_windows windows = {ids, WINDOWS, LENGTH};
    struct mq_sensitivity result;
    moeq_error err = {0};
    ck_assert_msg(mq_sensitivity_measure(&context, view, &windows, &options, &result, &err) ==
                      MOEQ_OK,
                  "%s", err.message);
    size_t measured = 0, compared = 0;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const bool has = !isnan(result.loss[i * LEVELS]);
        ck_assert_int_eq(has, result.tokens[i] > 0);
        if (!has || !is_of_the_stream(view, &view->tensors[i]) || measured++ % 7 != 0)
            continue;
        for (size_t l = 0; l < LEVELS; l++) {
            const struct stream s = by_two_arms(&context, view, &windows, i, levels[l]);
            const double expected = s.difference / s.squares;
            ck_assert_msg(fabs(result.loss[i * LEVELS + l] - expected) <= 2e-2 * expected + 1e-12,
                          "%s at %s: %g, expected %g", view->tensors[i].name, levels[l]->name,
                          result.loss[i * LEVELS + l], expected);
        }
        compared++;
    }
    ck_assert_uint_gt(compared, 2);
    mq_sensitivity_free(&result);
    mq_view_close(view);
}
END_TEST

/* q4_k's logits vary by as much more than q8_0's as the losses say; and a loss of the head is about the part of its weights
 * that is lost, since the demo's head is much like a random matrix. */
START_TEST(is_what_the_logits_lose)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_level *const levels[LEVELS] = {mq_level_find("q8_0"), mq_level_find("q4_k")};
    const struct mq_sensitivity_options options = {.levels = levels, .levels_count = LEVELS};
    struct mq_view *view = test_open(mq_test_source("demo/model"));
    const size_t head = (size_t)(mq_view_find(view, MQ_ROLE_HEAD, -1, -1) - view->tensors);
    int32_t ids[WINDOWS * LENGTH];
    make_ids(view, ids);
    const struct mq_windows windows = {ids, WINDOWS, LENGTH};
    struct mq_sensitivity result;
    moeq_error err = {0};
    ck_assert_msg(mq_sensitivity_measure(&context, view, &windows, &options, &result, &err) ==
                      MOEQ_OK,
                  "%s", err.message);
    const double *loss = result.loss + head * LEVELS;
    const double little = by_two_arms(&context, view, &windows, head, levels[0]).variance,
                 much = by_two_arms(&context, view, &windows, head, levels[1]).variance;
    ck_assert_msg(fabs(loss[1] / loss[0] - much / little) <= 2e-2 * much / little,
                  "%g times as much, expected %g", loss[1] / loss[0], much / little);
    ck_assert_msg(loss[1] > 2e-3 && loss[1] < 1e-2, "q4_k: %g", loss[1]);
    ck_assert_uint_eq(result.tokens[head], WINDOWS * LENGTH);
    mq_sensitivity_free(&result);
    mq_view_close(view);
}
END_TEST

/* ---- mixers behind the first layer, product by product ---- */

enum { MIXERS = 4 };

struct products {
    const struct mq_view *view;
    const struct mq_level *level;
    double error[MQ_ROLE_COUNT], whole[MQ_ROLE_COUNT], stream;
};

static void add_product(struct products *p, const struct mq_product *product, const float *weights,
                        const float *quantized)
{
    const size_t cols = product->tensor->cols;
    for (size_t t = 0; t < product->tokens; t++)
        for (size_t r = 0; r < product->tensor->rows; r++) {
            double y = 0.0, e = 0.0;
            for (size_t c = 0; c < cols; c++) {
                const double x = (double)product->x[t * product->ldx + c];
                y += x * (double)weights[r * cols + c];
                e += x * ((double)quantized[r * cols + c] - (double)weights[r * cols + c]);
            }
            p->whole[product->tensor->role] += y * y;
            p->error[product->tensor->role] += e * e;
        }
}

static moeq_status on_product(void *user, struct mq_product *product, moeq_error *err)
{
    struct products *p = user;
    const struct mq_tensor *t = product->tensor;
    if (t->layer != 1 || mq_view_class(p->view, t->role) != MQ_CLASS_ATTENTION)
        return MOEQ_OK;
    const size_t n = t->rows * t->cols, row_bytes = mq_level_row_bytes(p->level, t->cols);
    const struct mq_weights w = {
        .view = p->view, .tensor = t, .storage = mq_level_find(t->storage)};
    float *weights = malloc(n * sizeof *weights), *quantized = malloc(n * sizeof *quantized);
    uint8_t *bytes = malloc(t->rows * (mq_weights_row_bytes(&w) + row_bytes));
    ck_assert_int_eq(mq_weights_load(&w, mq_isa_detect(), 0, t->rows, bytes, weights, err),
                     MOEQ_OK);
    mq_level_encode_rows(p->level, mq_isa_detect(), MQ_EFFORT_DEFAULT, NULL, weights, t->rows,
                         t->cols, bytes);
    mq_level_decode_rows(p->level, mq_isa_detect(), bytes, t->rows, t->cols, quantized);
    add_product(p, product, weights, quantized);
    free(weights);
    free(quantized);
    free(bytes);
    return MOEQ_OK;
}

static moeq_status add_stream(void *user, uint32_t layer, size_t first_token, size_t tokens,
                              const float *const *hidden, moeq_error *err)
{
    struct products *p = user;
    (void)first_token;
    (void)err;
    for (size_t i = 0; layer == 1 && i < tokens * p->view->hparams.hidden; i++)
        p->stream += (double)hidden[0][i] * (double)hidden[0][i];
    return MOEQ_OK;
}

START_TEST(is_what_the_mixer_adds)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_level *const levels[1] = {mq_level_find("q4_k")};
    const struct mq_sensitivity_options options = {.levels = levels, .levels_count = 1};
    struct mq_view *view = test_open(mq_test_source("demo/model"));
    int32_t ids[WINDOWS * LENGTH];
    make_ids(view, ids);
    const struct mq_windows windows = {ids, WINDOWS, LENGTH};
    const struct mq_arm arm = {.name = "stored", .view = view, .routes_from = -1};
    struct products p = {.view = view, .level = levels[0]};
    const struct mq_observer observer = {
        .user = &p, .on_hidden = add_stream, .on_product = on_product};
    struct mq_sensitivity result;
    moeq_error err = {0};
    ck_assert_int_eq(mq_evaluate(&context, &arm, 1, &windows, &observer, &err), MOEQ_OK);
    ck_assert_int_eq(mq_sensitivity_measure(&context, view, &windows, &options, &result, &err),
                     MOEQ_OK);
    size_t compared = 0;
    for (enum mq_role role = MQ_ROLE_ATTN_Q; role <= MQ_ROLE_ATTN_O; role++) {
        const struct mq_tensor *t = mq_view_find(view, role, 1, -1);
        if (!t || mq_role_class(role) != MQ_CLASS_ATTENTION)
            continue;
        const double added = p.whole[MQ_ROLE_ATTN_O],
                     expected = p.error[role] / p.whole[role] * added / (p.stream + added),
                     found = result.loss[t - view->tensors];
        ck_assert_msg(fabs(found - expected) <= 1e-3 * expected, "%s: %g, expected %g", t->name,
                      found, expected);
        compared++;
    }
    ck_assert_uint_eq(compared, MIXERS);
    mq_sensitivity_free(&result);
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, is_what_the_logits_lose);
    tcase_add_test(tests, is_what_the_mixer_adds);
    tcase_add_loop_test(tests, is_what_the_stream_loses, 0, sizeof models / sizeof *models);
}

int main(void)
{
    return mq_test_main("sensitivity", add_tests);
}
