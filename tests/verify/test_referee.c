/*
 * The referee fed with made-up logits and routes: its sums against plain loops, the same results
 * however the evaluation is cut, and exactly 0 and 1 for an arm that equals the baseline.
 */
#include "test_support.h"
#include "figure_values.h"
#include "referee.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 4, DENSE_LAYER = 1, VOCAB = 37, EXPERTS = 6, TOP_K = 2, WINDOWS = 5, LENGTH = 12 };
enum { TOKENS = WINDOWS * LENGTH, ARMS = 3 };

/* What an evaluator would hand over. */
struct evaluation {
    float logits[ARMS][TOKENS][VOCAB];
    float router[LAYERS][ARMS][TOKENS][EXPERTS];
    int32_t experts[LAYERS][ARMS][TOKENS][TOP_K];
    float weights[LAYERS][ARMS][TOKENS][TOP_K];
    int32_t ids[TOKENS];
};

static void choose(const float *logits, int32_t *experts, float *weights)
{
    uint32_t best = 0, second = 1;
    for (uint32_t e = 1; e < EXPERTS; e++)
        if (logits[e] > logits[best])
            best = e;
    second = best == 0;
    for (uint32_t e = 0; e < EXPERTS; e++)
        if (e != best && logits[e] > logits[second])
            second = e;
    const float p = 1 / (1 + expf(logits[second] - logits[best]));
    experts[best > second] = (int32_t)best;
    weights[best > second] = p;
    experts[best < second] = (int32_t)second;
    weights[best < second] = 1 - p;
}

/* Arm 1 is the baseline with noise, arm 2 the baseline itself. */
static struct evaluation *invent(void)
{
    struct evaluation *e = calloc(1, sizeof *e);
    uint64_t seed = 7;
    for (size_t t = 0; t < TOKENS; t++)
        e->ids[t] = (int32_t)(mq_test_random(&seed) % VOCAB);
    for (size_t a = 0; a < ARMS; a++) {
        const float noise = a == 1 ? 0.5f : 0;
        for (size_t t = 0; t < TOKENS; t++) {
            for (size_t v = 0; v < VOCAB; v++)
                e->logits[a][t][v] = a == 0 ? 2 * mq_test_gauss(&seed)
                                            : e->logits[0][t][v] + noise * mq_test_gauss(&seed);
            for (size_t l = 0; l < LAYERS; l++) {
                for (size_t x = 0; x < EXPERTS; x++)
                    e->router[l][a][t][x] =
                        a == 0 ? mq_test_gauss(&seed)
                               : e->router[l][0][t][x] + noise * mq_test_gauss(&seed);
                choose(e->router[l][a][t], e->experts[l][a][t], e->weights[l][a][t]);
            }
        }
    }
    return e;
}

static const struct mq_program sparse = {
    .layer.ffn = {.kind = MQ_FFN_ROUTED, .router = {.experts = EXPERTS, .top_k = TOP_K}}};
static const struct mq_program dense = {.layer.ffn = {.kind = MQ_FFN_DENSE}};

/* Plays the evaluator: passes of `step` windows, logits in slices of `slice` tokens. */
static void play(const struct evaluation *e, const struct mq_observer *o, size_t step, size_t slice)
{
    for (size_t first = 0; first < WINDOWS; first += step) {
        const size_t windows = first + step < WINDOWS ? step : WINDOWS - first;
        const size_t begin = first * LENGTH, tokens = windows * LENGTH;
        for (uint32_t l = 0; l < LAYERS; l++) {
            struct mq_routes routes[ARMS];
            for (size_t a = 0; a < ARMS; a++)
                routes[a] = (struct mq_routes){e->router[l][a][begin], e->experts[l][a][begin],
                                               e->weights[l][a][begin], &sparse.layer.ffn.router,
                                               {NULL, NULL}};
            if (l != DENSE_LAYER)
                ck_assert_ok(o->on_router(o->user, l, begin, tokens, routes, NULL));
        }
        size_t index[TOKENS], wanted = 0;
        for (size_t t = 0; t < tokens; t++)
            if (o->wants_logits(o->user, begin + t))
                index[wanted++] = begin + t;
        for (size_t from = 0; from < wanted; from += slice) {
            const size_t n = from + slice < wanted ? slice : wanted - from;
            float rows[ARMS][TOKENS][VOCAB];
            const float *logits[ARMS];
            for (size_t a = 0; a < ARMS; a++) {
                for (size_t i = 0; i < n; i++)
                    memcpy(rows[a][i], e->logits[a][index[from + i]], sizeof rows[a][i]);
                logits[a] = &rows[a][0][0];
            }
            ck_assert_ok(o->on_logits(o->user, index + from, n, logits, NULL));
        }
    }
}

static const struct mq_program *const fake_layers[LAYERS] = {&sparse, &dense, &sparse, &sparse};
static const struct mq_model_program fake_program = {
    .layers = (const struct mq_program **)(uintptr_t)fake_layers};
static const struct mq_view fake_view = {
    .path = "fake",
    .program = &fake_program,
    .hparams = {.layers = LAYERS, .vocab = VOCAB, .experts = EXPERTS, .top_k = TOP_K},
};
static const struct mq_arm fake_arms[ARMS] = {
    {.name = "base", .view = &fake_view, .routes_from = -1},
    {.name = "noisy", .view = &fake_view, .routes_from = -1},
    {.name = "same", .view = &fake_view, .routes_from = -1},
};

static void run(const struct evaluation *e, enum mq_protocol protocol, unsigned threads,
                size_t step, size_t slice, struct mq_arm_result *results)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = threads};
    const struct mq_protocol_options options = {.protocol = protocol, .context = LENGTH};
    struct mq_text_windows text;
    struct mq_referee *referee;
    ck_assert_ok(mq_protocol_windows(&options, e->ids, TOKENS, -1, "ids", &text, NULL));
    ck_assert_ok(mq_referee_create(&context, fake_arms, ARMS, &text, &referee, NULL));
    const struct mq_observer observer = mq_referee_observer(referee);
    play(e, &observer, step, slice);
    ck_assert_ok(mq_referee_finish(referee, results, NULL));
    mq_referee_free(referee);
    mq_text_windows_free(&text);
}

static void free_results(struct mq_arm_result *results)
{
    for (size_t a = 0; a < ARMS; a++)
        mq_arm_result_free(&results[a]);
}

static double nll_of(const float *x, int32_t target)
{
    long double sum = 0;
    for (size_t i = 0; i < VOCAB; i++)
        sum += expl((long double)x[i]);
    return (double)(logl(sum) - (long double)x[target]);
}

START_TEST(sums)
{
    struct evaluation *e = invent();
    for (int protocol = 0; protocol < MQ_PROTOCOL_COUNT; protocol++) {
        struct mq_arm_result r[ARMS];
        const size_t first = protocol == MQ_PROTOCOL_HALF ? LENGTH / 2 : 0;
        double nll = 0, base_nll = 0, exact = 0, flip_kld = 0, scored = 0;
        size_t flip_tokens = 0;
        run(e, (enum mq_protocol)protocol, 2, 2, 7, r);
        for (size_t t = 0; t < TOKENS; t++) {
            for (size_t l = 0; l < LAYERS; l++)
                if (l != DENSE_LAYER)
                    exact += memcmp(e->experts[l][0][t], e->experts[l][1][t],
                                    sizeof e->experts[l][0][t]) == 0;
            if (t % LENGTH < first || t % LENGTH == LENGTH - 1)
                continue;
            scored++;
            nll += nll_of(e->logits[1][t], e->ids[t + 1]);
            base_nll += nll_of(e->logits[0][t], e->ids[t + 1]);
        }
        ck_assert(r[1].perplexity.scored_tokens == (size_t)scored);
        ck_assert_double_eq_tol(r[1].perplexity.nll.value, nll / scored, 1e-13);
        ck_assert_double_eq_tol(r[0].perplexity.nll.value, base_nll / scored, 1e-13);
        ck_assert_double_eq_tol(r[1].log_ppl_ratio.value, (nll - base_nll) / scored, 1e-13);
        ck_assert_double_eq_tol(r[1].ppl_ratio.value, exp((nll - base_nll) / scored), 1e-13);
        const struct mq_routing_result *routing = &r[1].routing;
        ck_assert(r[1].has_routing);
        ck_assert_uint_eq(routing->tokens, TOKENS);
        ck_assert_uint_eq(routing->layers_count, LAYERS - 1);
        ck_assert_uint_eq(routing->layers[1].layer, 2);
        ck_assert_double_eq_tol(routing->overall.metric[MQ_ROUTING_EXACT_SET].value,
                                exact / (TOKENS * (LAYERS - 1)), 1e-13);
        double mean_of_layers[MQ_ROUTING_COUNT] = {0};
        for (size_t l = 0; l < routing->layers_count; l++)
            for (int k = 0; k < MQ_ROUTING_COUNT; k++)
                mean_of_layers[k] += routing->layers[l].rates.metric[k].value / (LAYERS - 1);
        for (int k = 0; k < MQ_ROUTING_COUNT; k++)
            ck_assert_double_eq_tol(routing->overall.metric[k].value, mean_of_layers[k], 1e-12);
        for (size_t g = 0; g < routing->flips_count; g++) {
            flip_tokens += routing->flips[g].scored_tokens;
            if (routing->flips[g].scored_tokens)
                flip_kld +=
                    routing->flips[g].kld.value * (double)routing->flips[g].scored_tokens / scored;
        }
        ck_assert_uint_eq(routing->flips_count, LAYERS); /* 0, 1, 2, 3 of three layers */
        ck_assert(flip_tokens == (size_t)scored);
        ck_assert_double_eq_tol(flip_kld, r[1].kld.mean.value, 1e-12);
        uint64_t choices = 0, changed = 0;
        for (size_t b = 0; b < MQ_MARGIN_BINS; b++) {
            choices += routing->margin_choices[b];
            changed += routing->margin_flips[b];
        }
        ck_assert_uint_eq(choices, TOKENS * (LAYERS - 1));
        ck_assert_uint_eq(choices - changed, (uint64_t)exact);
        free_results(r);
    }
    free(e);
}
END_TEST

/* Loads are counted choices; the shift is half of what they differ by. */
/* Layers of other numbers of experts, one beside shared experts, and one without a router. */
START_TEST(layers_differ)
{
    enum { N = 4 };
    static const struct mq_program few = {.layer.ffn = {.kind = MQ_FFN_ROUTED,
                                                        .shared_rows = 8,
                                                        .router = {.experts = 3, .top_k = 1}}},
                                   none = {.layer.attention.kind = MQ_MIXER_MAMBA};
    const struct mq_program *layers[] = {&none, &few, &sparse};
    const struct mq_model_program program = {.layers = layers};
    const struct mq_view view = {.hparams = {.layers = 3, .vocab = 2}, .program = &program};
    const struct mq_arm arms[] = {{.view = &view, .routes_from = -1},
                                  {.view = &view, .routes_from = -1}};
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_protocol_options options = {.protocol = MQ_PROTOCOL_FULL, .context = N};
    const int32_t ids[N] = {0, 1, 0, 1};
    struct mq_text_windows text;
    struct mq_referee *referee;
    ck_assert_ok(mq_protocol_windows(&options, ids, N, -1, "ids", &text, NULL));
    ck_assert_ok(mq_referee_create(&context, arms, 2, &text, &referee, NULL));
    const struct mq_observer o = mq_referee_observer(referee);
    /* layer 1: one token of four goes elsewhere */
    const float z[N][3] = {{2, 0, 0}, {0, 2, 0}, {0, 0, 2}, {2, 0, 0}};
    const int32_t one[N] = {0, 1, 2, 0}, other[N] = {0, 1, 1, 0};
    const float w[N] = {1, 1, 1, 1};
    const struct mq_layer_router *r = &few.layer.ffn.router;
    const struct mq_routes first[] = {{z[0], one, w, r, {NULL, NULL}},
                                      {z[0], other, w, r, {NULL, NULL}}};
    ck_assert_ok(o.on_router(o.user, 1, 0, N, first, NULL));
    /* layer 2: all keep one of two */
    float y[N][EXPERTS] = {{0}};
    int32_t two[N][TOP_K], shifted[N][TOP_K];
    float v[N][TOP_K];
    for (int t = 0; t < N; t++)
        for (int k = 0; k < TOP_K; k++) {
            two[t][k] = k;
            shifted[t][k] = k + 1;
            v[t][k] = 0.5f;
        }
    r = &sparse.layer.ffn.router;
    const struct mq_routes second[] = {{y[0], two[0], v[0], r, {NULL, NULL}},
                                       {y[0], shifted[0], v[0], r, {NULL, NULL}}};
    ck_assert_ok(o.on_router(o.user, 2, 0, N, second, NULL));
    const float logits[N][2] = {{0}};
    const float *both[] = {logits[0], logits[0]};
    const size_t index[] = {0, 1, 2};
    ck_assert_ok(o.on_logits(o.user, index, 3, both, NULL));
    struct mq_arm_result results[2];
    ck_assert_ok(mq_referee_finish(referee, results, NULL));
    const struct mq_routing_result *routing = &results[1].routing;
    ck_assert_uint_eq(routing->layers_count, 2);
    const struct mq_routing_layer *a = &routing->layers[0], *b = &routing->layers[1];
    ck_assert(a->layer == 1 && a->experts == 3 && a->top_k == 1 && a->shared);
    ck_assert(b->layer == 2 && b->experts == EXPERTS && b->top_k == TOP_K && !b->shared);
    ck_assert(a->rates.metric[MQ_ROUTING_OVERLAP].value == 0.75);
    ck_assert(b->rates.metric[MQ_ROUTING_OVERLAP].value == 0.5);
    ck_assert(a->load[0] == 0.5 && a->load[1] == 0.5 && a->load[2] == 0 && a->base_load[2] == 0.25);
    ck_assert(b->load[0] == 0 && b->load[1] == 0.5 && b->load[2] == 0.5);
    ck_assert(routing->overall.metric[MQ_ROUTING_OVERLAP].value == 0.625);
    struct mq_routing_figures chance; /* the mean of 1/3 and 2/6 */
    ck_assert(mq_routing_chance_of(&view, &chance) && !mq_routing_uniform(&view));
    ck_assert_double_eq_tol(chance.metric[MQ_ROUTING_OVERLAP], 1.0 / 3, 1e-15);
    ck_assert_double_eq_tol(chance.metric[MQ_ROUTING_EXACT_SET], (1.0 / 3 + 1.0 / 15) / 2, 1e-15);
    for (size_t i = 0; i < 2; i++)
        mq_arm_result_free(&results[i]);
    mq_referee_free(referee);
    mq_text_windows_free(&text);
}
END_TEST

START_TEST(expert_loads)
{
    struct evaluation *e = invent();
    struct mq_arm_result r[ARMS];
    run(e, MQ_PROTOCOL_HALF, 2, 2, 7, r);
    const struct mq_routing_result *routing = &r[1].routing;
    double shifts = 0;
    for (size_t i = 0; i < routing->layers_count; i++) {
        const struct mq_routing_layer *l = &routing->layers[i];
        ck_assert(l->experts == EXPERTS && l->top_k == TOP_K && !l->shared);
        double totals[2] = {0}, shift = 0;
        for (int32_t x = 0; x < EXPERTS; x++) {
            size_t chosen[2] = {0};
            for (size_t a = 0; a < 2; a++) {
                for (size_t t = 0; t < TOKENS; t++)
                    for (size_t k = 0; k < TOP_K; k++)
                        chosen[a] += e->experts[l->layer][a][t][k] == x;
                totals[a] += (double)chosen[a] / (TOKENS * TOP_K);
            }
            ck_assert(l->base_load[x] == (double)chosen[0] / (TOKENS * TOP_K));
            ck_assert(l->load[x] == (double)chosen[1] / (TOKENS * TOP_K));
            shift += fabs(l->load[x] - l->base_load[x]) / 2;
        }
        ck_assert_double_eq_tol(totals[0], 1, 1e-15);
        ck_assert_double_eq_tol(totals[1], 1, 1e-15);
        ck_assert_double_eq_tol(l->load_shift, shift, 1e-15);
        ck_assert_double_gt(shift, 0);
        shifts += shift;
        ck_assert(r[2].routing.layers[i].load_shift == 0);
    }
    ck_assert_double_eq_tol(routing->load_shift, shifts / (LAYERS - 1), 1e-15);
    free_results(r);
    free(e);
}
END_TEST

START_TEST(itself)
{
    struct evaluation *e = invent();
    struct mq_arm_result r[ARMS];
    run(e, MQ_PROTOCOL_HALF, 2, WINDOWS, TOKENS, r);
    const struct mq_arm_result *same = &r[2];
    ck_assert(same->perplexity.nll.value == r[0].perplexity.nll.value);
    ck_assert(same->ppl_ratio.value == 1.0 && same->ppl_ratio.se == 0.0);
    ck_assert(same->kld.mean.value == 0 && same->kld.mean.se == 0 && same->kld.max == 0);
    ck_assert(same->kld.median == 0 && same->kld.p99_9 == 0);
    ck_assert(same->same_top.value == 1.0 && same->same_top.se == 0.0);
    ck_assert(same->delta_p_rms.value == 0 && same->delta_p_rms.se == 0);
    for (size_t i = 0; i < MQ_FIGURE_COUNT; i++) {
        const struct mq_figure *f = &mq_figures[i];
        if (f->section == MQ_SECTION_MEMORY || f->section == MQ_SECTION_TASKS ||
            f->scope != MQ_OF_MODEL || f->absolute)
            continue; /* there are no tasks here: test_tasks */
        ck_assert_msg(mq_figure_of_result(f, same).value == mq_figure_ideal(f), "%s", f->id);
    }
    for (size_t l = 0; l <= same->routing.layers_count; l++) {
        const struct mq_routing_estimates *rates = l < same->routing.layers_count
                                                       ? &same->routing.layers[l].rates
                                                       : &same->routing.overall;
        for (int k = 0; k < MQ_ROUTING_COUNT; k++) {
            const struct mq_figure *figure = mq_routing_figure(k);
            ck_assert_msg(rates->metric[k].value == mq_figure_ideal(figure), "%s", figure->id);
            ck_assert(rates->metric[k].se == 0.0);
        }
    }
    ck_assert(r[1].kld.mean.value > 0 && r[1].same_top.value < 1);
    free_results(r);
    free(e);
}
END_TEST

/* Passes, slices and threads change nothing, to the last bit. */
START_TEST(any_cut)
{
    struct evaluation *e = invent();
    struct mq_arm_result first[ARMS], r[ARMS];
    run(e, MQ_PROTOCOL_HALF, 1, WINDOWS, TOKENS, first);
    static const size_t cuts[][3] = {{1, 1, 1}, {2, 2, 5}, {4, 3, 11}, {3, 1, 100}};
    for (size_t c = 0; c < 4; c++) {
        run(e, MQ_PROTOCOL_HALF, (unsigned)cuts[c][0], cuts[c][1], cuts[c][2], r);
        for (size_t a = 0; a < ARMS; a++) {
            ck_assert_mem_eq(&r[a].perplexity, &first[a].perplexity, sizeof r[a].perplexity);
            if (a == 0)
                continue;
            ck_assert_mem_eq(&r[a].kld, &first[a].kld, sizeof r[a].kld);
            ck_assert_mem_eq(&r[a].routing.overall, &first[a].routing.overall,
                             sizeof r[a].routing.overall);
            for (size_t l = 0; l < r[a].routing.layers_count; l++)
                ck_assert_mem_eq(&r[a].routing.layers[l].rates, &first[a].routing.layers[l].rates,
                                 sizeof r[a].routing.layers[l].rates);
        }
        free_results(r);
    }
    free_results(first);
    free(e);
}
END_TEST

START_TEST(not_finite)
{
    struct evaluation *e = invent();
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_protocol_options options = {.context = LENGTH};
    struct mq_text_windows text;
    struct mq_referee *referee;
    moeq_error err = {0};
    ck_assert_ok(mq_protocol_windows(&options, e->ids, TOKENS, -1, "ids", &text, NULL));
    ck_assert_ok(mq_referee_create(&context, fake_arms, ARMS, &text, &referee, NULL));
    const struct mq_observer o = mq_referee_observer(referee);
    const size_t index[] = {LENGTH + 6, LENGTH + 7, LENGTH + 8};
    e->logits[1][1][5] = NAN;
    e->logits[2][2][5] = INFINITY;
    const float *logits[] = {&e->logits[0][0][0], &e->logits[1][0][0], &e->logits[2][0][0]};
    ck_assert_int_eq(o.on_logits(o.user, index, 3, logits, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "arm 'noisy', window 1, position 7"));
    mq_referee_free(referee);
    mq_text_windows_free(&text);
    free(e);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, sums);
    tcase_add_test(tests, layers_differ);
    tcase_add_test(tests, expert_loads);
    tcase_add_test(tests, itself);
    tcase_add_test(tests, any_cut);
    tcase_add_test(tests, not_finite);
}

int main(void)
{
    return mq_test_main("referee", add);
}
