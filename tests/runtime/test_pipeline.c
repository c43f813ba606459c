/* test_pipeline.c: who evaluates what among several ranks, and that what they see together is what one process sees. */
#include "exact_sum.h"
#include "golden.h"
#include "pipeline.h"
#include "thread_peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the division ---- */

/* Every layer, the head too, of every window is one rank's; and the stages of a pipeline follow each other. */
static void check_division(const struct mq_pipeline_work *w, const struct mq_pipelines *d,
                           unsigned ranks)
{
    const size_t units = (size_t)w->layers + 1;
    unsigned *seen = calloc(units * w->windows, sizeof *seen);
    ck_assert_ptr_nonnull(seen);
    ck_assert(d->pipelines >= 1 && d->stages >= 1 && d->pipelines * d->stages <= ranks);
    ck_assert(d->batch >= 1 && d->batch <= w->windows);
    for (unsigned r = 0; r < ranks; r++) {
        const struct mq_part p = mq_pipeline_part(w, d, r);
        ck_assert_int_eq(p.idle, r >= d->pipelines * d->stages);
        if (p.idle)
            continue;
        ck_assert(p.layer_begin < p.layer_end || p.head);
        ck_assert(p.window_begin < p.window_end);
        ck_assert(p.stage || p.layer_begin == 0);
        if (p.stage) {
            const struct mq_part before = mq_pipeline_part(w, d, r - 1);
            ck_assert(before.pipeline == p.pipeline && before.layer_end == p.layer_begin &&
                      !before.head);
        }
        for (size_t window = p.window_begin; window < p.window_end; window++)
            for (uint32_t unit = p.layer_begin; unit < p.layer_end + p.head; unit++)
                seen[window * units + unit]++;
    }
    for (size_t i = 0; i < units * w->windows; i++)
        ck_assert_uint_eq(seen[i], 1);
    free(seen);
}

static double stage_cost(const struct mq_pipeline_work *w, const struct mq_pipelines *d,
                         unsigned rank)
{
    const struct mq_part p = mq_pipeline_part(w, d, rank);
    double sum = 0;
    for (uint32_t i = p.layer_begin; i < p.layer_end + p.head; i++)
        sum += w->costs[i].batch + w->costs[i].token * (double)(d->batch * w->length);
    return sum;
}

START_TEST(everything_once)
{
    enum { LAYERS = 13 };
    struct mq_layer_cost costs[LAYERS + 1];
    uint64_t state = 18;
    for (int round = 0; round < 200; round++) {
        struct mq_pipeline_work w = {.costs = costs,
                                     .layers = (uint32_t)(mq_test_random(&state) % LAYERS + 1),
                                     .windows = mq_test_random(&state) % 30 + 1,
                                     .length = 64};
        const unsigned ranks = (unsigned)(mq_test_random(&state) % 40 + 1);
        w.batch_tokens = round % 3 ? 0 : mq_test_random(&state) % 1000 + 1;
        w.pipelines = round % 5 ? 0 : (unsigned)(mq_test_random(&state) % 5 + 1);
        w.apart = round % 7 == 0;
        for (uint32_t i = 0; i <= w.layers; i++)
            costs[i] = (struct mq_layer_cost){.once = mq_test_random(&state) % 1000,
                                              .batch = mq_test_random(&state) % 1000,
                                              .token = mq_test_random(&state) % 10,
                                              .read = mq_test_random(&state) % 2000};
        const struct mq_pipelines d = mq_pipeline_divide(&w, ranks);
        check_division(&w, &d, ranks);
        if (w.batch_tokens && w.batch_tokens >= w.length)
            ck_assert_uint_le(d.batch * w.length, w.batch_tokens);
        if (w.pipelines)
            ck_assert_uint_le(d.pipelines, w.pipelines);
    }
}
END_TEST

/* Mixtral 8x7B on 16 ranks: two layers each, in a pipeline that is full most of the time. */
START_TEST(balance)
{
    enum { LAYERS = 32, RANKS = 16 };
    struct mq_layer_cost costs[LAYERS + 1];
    struct mq_pipeline_work w = {
        .costs = costs, .layers = LAYERS, .windows = 256, .length = 512};
    for (uint32_t i = 0; i < LAYERS; i++)
        costs[i] = (struct mq_layer_cost){.batch = 1.45e9 * 16, .token = 3.9e8, .read = 1.45e11};
    costs[LAYERS] = (struct mq_layer_cost){.batch = 1.3e8 * 16, .token = 1.3e8, .read = 1.3e10};
    const struct mq_pipelines d = mq_pipeline_divide(&w, RANKS);
    check_division(&w, &d, RANKS);
    ck_assert_uint_eq(d.pipelines, 1);
    ck_assert_uint_eq(d.stages, RANKS);
    double all = 0;
    for (unsigned r = 0; r < RANKS; r++)
        all += stage_cost(&w, &d, r);
    ck_assert_double_lt(d.greatest, 1.2 * all / RANKS);
    const double batches = (double)((w.windows + d.batch - 1) / d.batch);
    ck_assert_double_gt(batches / (batches + RANKS - 1), 0.7);
    /* more ranks than layers: replicas */
    const struct mq_pipelines many = mq_pipeline_divide(&w, 4 * LAYERS);
    check_division(&w, &many, 4 * LAYERS);
    ck_assert_uint_ge(many.pipelines, 2);
    ck_assert_double_lt(many.time, d.time / 2);
}
END_TEST

/* ---- ranks together ---- */

enum { ARMS = 5, LENGTH = 24 };

struct fixture {
    struct mq_view *view;
    struct golden golden;
    struct mq_windows windows;
    const struct mq_level **levels[2];
    struct mq_arm arms[ARMS];
    struct mq_playback playback;
    struct collected alone[ARMS];
    const struct collected *stored; /* what is played back */
    struct collected of_rank[THREAD_PEERS_MAX][ARMS];
    struct mq_context context;
    bool whole;
};

static moeq_status read_hidden(void *user, size_t first_token, size_t tokens, float *hidden,
                               moeq_error *err)
{
    const struct collected *c = ((const struct fixture *)user)->stored;
    (void)err;
    memcpy(hidden, c->hidden + (c->layers * c->tokens + first_token) * c->hidden_size,
           tokens * c->hidden_size * sizeof *hidden);
    return MOEQ_OK;
}

static moeq_status read_router(void *user, uint32_t layer, size_t first_token, size_t tokens,
                               float *logits, moeq_error *err)
{
    const struct collected *c = ((const struct fixture *)user)->stored;
    (void)err;
    memcpy(logits, c->router_logits + (layer * c->tokens + first_token) * c->experts,
           tokens * c->experts * sizeof *logits);
    return MOEQ_OK;
}

/* Arms: stored, quantized, quantized from the last layer on alone, with the first one's routes, and that one's as it is
 * played back. Eight windows. */
static void set_up(struct fixture *f)
{
    moeq_error err = {0};
    memset(f, 0, sizeof *f);
    ck_assert_msg(mq_view_open(mq_test_source("tests/fixtures/oracles/qwen3_moe"), &f->view,
                               &err) == MOEQ_OK,
                  "%s", err.message);
    golden_open(mq_test_source("tests/fixtures/oracles/qwen3_moe/golden.safetensors"), &f->golden);
    f->windows = f->golden.windows;
    f->windows.count = f->windows.count * f->windows.length / LENGTH;
    f->windows.length = LENGTH;
    f->context = (struct mq_context){.isa = mq_isa_detect(), .threads = 1};
    for (int i = 0; i < 2; i++)
        f->levels[i] = calloc(f->view->tensors_count, sizeof **f->levels);
    for (size_t i = 0; i < f->view->tensors_count; i++) {
        const struct mq_tensor *t = &f->view->tensors[i];
        if (mq_role_class(t->role) != MQ_CLASS_EXPERTS)
            continue;
        f->levels[0][i] = mq_level_find("q4_k");
        if ((uint32_t)t->layer == f->view->hparams.layers - 1)
            f->levels[1][i] = mq_level_find("q3_k");
    }
    f->playback = (struct mq_playback){f, read_hidden, read_router};
    for (int a = 0; a < ARMS; a++)
        f->arms[a] = (struct mq_arm){.name = "arm", .view = f->view, .routes_from = -1};
    f->arms[1].levels = f->levels[0];
    f->arms[2].levels = f->levels[1];
    f->arms[3].levels = f->levels[0];
    f->arms[3].routes_from = 0;
    f->arms[4].playback = &f->playback;
    struct collected stored; /* what is played back in the run of all */
    ck_assert_ok(collect(&f->context, f->arms, 1, &f->windows, &stored, &err));
    f->stored = &stored;
    ck_assert_ok(collect(&f->context, f->arms, ARMS, &f->windows, f->alone, &err));
    f->stored = &f->alone[0];
    collected_free(&stored);
}

static void tear_down(struct fixture *f)
{
    for (int a = 0; a < ARMS; a++)
        collected_free(&f->alone[a]);
    mq_view_close(f->view);
    golden_close(&f->golden);
    free(f->levels[0]);
    free(f->levels[1]);
}

static void rank(void *user, const struct mq_peers *peers)
{
    struct fixture *f = user;
    struct mq_context context = f->context;
    moeq_error err = {0};
    context.peers = peers;
    ck_assert_msg(collect_whole(&context, f->arms, ARMS, &f->windows, f->whole,
                                f->of_rank[peers->rank], &err) == MOEQ_OK,
                  "%s", err.message);
}

/* What only one has filled in (the other's are zeros). */
static void join_numbers(void *to, const void *from, size_t n)
{
    uint32_t *a = to;
    const uint32_t *b = from;
    for (size_t i = 0; i < n; i++) {
        ck_assert_msg(!a[i] || !b[i], "two ranks have seen it");
        a[i] |= b[i];
    }
}

static void join(struct collected *to, const struct collected *from)
{
    join_numbers(to->hidden, from->hidden, (to->layers + 1) * to->tokens * to->hidden_size);
    join_numbers(to->router_logits, from->router_logits, to->layers * to->tokens * to->experts);
    join_numbers(to->chosen, from->chosen, to->layers * to->tokens * to->top_k);
    join_numbers(to->weights, from->weights, to->layers * to->tokens * to->top_k);
    join_numbers(to->logits, from->logits, to->tokens * to->vocab);
    to->logits_seen += from->logits_seen;
    to->quantized += from->quantized;
    to->squared_error += from->squared_error;
    to->squared_weights += from->squared_weights;
}

START_TEST(same_bits)
{
    static const struct {
        unsigned ranks, pipelines;
        uint64_t batch_tokens;
        bool whole;
    } cases[] = {{2, 1, LENGTH, false}, {4, 1, 0, false},      {5, 2, 2 * LENGTH, false},
                 {7, 3, LENGTH, false}, {3, 0, LENGTH, true},  {8, 0, 3 * LENGTH, false}};
    static struct fixture f;
    set_up(&f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (mq_test_sampled() && i > 1 && i != 4)
            continue;
        f.context.pipelines = cases[i].pipelines;
        f.context.batch_tokens = cases[i].batch_tokens;
        f.whole = cases[i].whole;
        thread_peers_run(cases[i].ranks, rank, &f);
        for (unsigned r = 1; r < cases[i].ranks; r++)
            for (int a = 0; a < ARMS; a++) {
                join(&f.of_rank[0][a], &f.of_rank[r][a]);
                collected_free(&f.of_rank[r][a]);
            }
        for (int a = 0; a < ARMS; a++) {
            ck_assert_msg(collected_equal(&f.alone[a], &f.of_rank[0][a]), "%u ranks, arm %d",
                          cases[i].ranks, a);
            collected_free(&f.of_rank[0][a]);
        }
    }
    tear_down(&f);
}
END_TEST

/* What pipelines sum up of a layer joins to the same bits, however it was divided; small numbers keep their digits. */
START_TEST(sums_join)
{
    enum { NUMBERS = 3000 };
    struct mq_fine_sum all = {0}, parts[3] = {{0}}, joined = {0};
    uint64_t state = 7;
    double plain = 0;
    for (int i = 0; i < NUMBERS; i++) {
        const double value = (double)mq_test_uniform(&state) * (i % 2 ? 1e-7 : 1e-9);
        plain += value;
        mq_fine_sum_add(&all, value);
        mq_fine_sum_add(&parts[mq_test_random(&state) % 3], value);
        mq_fine_sum_carry(&all);
    }
    for (int i = 2; i >= 0; i--) {
        joined.whole += parts[i].whole;
        joined.high += parts[i].high;
        joined.low += parts[i].low;
    }
    ck_assert_double_eq(mq_fine_sum_value(joined), mq_fine_sum_value(all));
    ck_assert_double_eq_tol(mq_fine_sum_value(all), plain, 1e-12 * plain);
    mq_fine_sum_add(&all, 12345.0);
    ck_assert_double_eq_tol(mq_fine_sum_value(all), 12345.0 + plain, 1e-11);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, sums_join);
    tcase_add_test(tests, everything_once);
    tcase_add_test(tests, balance);
    tcase_add_test(tests, same_bits);
}

int main(void)
{
    return mq_test_main("test_pipeline", add_tests);
}
