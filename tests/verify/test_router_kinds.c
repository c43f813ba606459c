/*
 * Every kind of router through all that compares models: a baseline that is played back gives the
 * same figures, to the last bit, as one that runs, also for arms that take its routes, compute in int8
 * or round as bf16 does. Layers differ in top_k and in kind.
 *
 * The routers are given to an OLMoE of 2 layers and 8 experts; the vectors that they need are taken
 * from the first numbers of its norms.
 */
#include "policy.h"
#include "referee.h"
#include "stored.h"
#include "test_support.h"
#include "view_int.h"

#include <stdlib.h>
#include <string.h>

enum { LAYERS = 2, EXPERTS = 8, TOKENS = 48, WINDOW = 24, ARMS = 5 };

/* ---- the model ---- */

static void add_vector(struct mq_view *view, enum mq_role role, int32_t layer)
{
    const struct mq_tensor *norm = mq_view_find(view, MQ_ROLE_ATTN_Q_NORM, layer, -1);
    struct mq_tensor t = *norm;
    t.role = role;
    t.name = mq_role_name(role);
    t.row_bytes = t.row_bytes / t.cols * EXPERTS;
    t.cols = EXPERTS;
    view->tensors = realloc(view->tensors, (view->tensors_count + 1) * sizeof t);
    ck_assert_ptr_nonnull(view->tensors);
    view->index[mq_view_index_at(view, role, layer, -1)] = (int32_t)view->tensors_count;
    view->tensors[view->tensors_count++] = t;
}

struct changed_program {
    struct mq_program kinds[LAYERS];
    const struct mq_program *layers[LAYERS];
    struct mq_model_program program;
};

/* The view's program with these routers. */
static void give_routers(struct mq_view *view, const struct mq_layer_router *routers,
                         struct changed_program *p)
{
    p->program = *view->program;
    p->program.layers = p->layers;
    p->program.kinds = p->kinds;
    p->program.kinds_count = LAYERS;
    for (int32_t layer = 0; layer < LAYERS; layer++) {
        struct mq_layer changed = view->program->layers[layer]->layer;
        changed.ffn.router = routers[layer];
        p->layers[layer] = &p->kinds[layer];
        mq_program_write(&p->kinds[layer], &changed, view->hparams.hidden);
        if (routers[layer].choice_bias)
            add_vector(view, MQ_ROLE_ROUTER_CHOICE_BIAS, layer);
        if (routers[layer].expert_scale)
            add_vector(view, MQ_ROLE_ROUTER_EXPERT_SCALE, layer);
    }
    view->program = &p->program;
}

/* ---- runs ---- */

/* What arm 0 left behind. */
struct recorded {
    float router[LAYERS][TOKENS][EXPERTS];
    float *hidden; /* [TOKENS][width] */
    size_t width;
};

struct observed {
    struct recorded *recorded; /* NULL: nothing is kept */
    struct mq_observer inner;
};

static moeq_status on_router(void *user, uint32_t layer, size_t first, size_t tokens,
                             const struct mq_routes *routes, moeq_error *err)
{
    struct observed *o = user;
    double scratch[64];
    ck_assert(mq_routing_scratch(EXPERTS) <= 64);
    for (size_t t = 0; t < tokens; t++) /* the choice is by what is compared */
        ck_assert(mq_routing_margin(MQ_ISA_GENERIC, &routes[0], t, scratch) >= 0);
    if (o->recorded)
        memcpy(o->recorded->router[layer][first], routes[0].logits,
               tokens * EXPERTS * sizeof(float));
    return o->inner.on_router(o->inner.user, layer, first, tokens, routes, err);
}

static moeq_status on_hidden(void *user, uint32_t layer, size_t first, size_t tokens,
                             const float *const *hidden, moeq_error *err)
{
    struct observed *o = user;
    (void)err;
    if (o->recorded && layer == LAYERS)
        memcpy(o->recorded->hidden + first * o->recorded->width, hidden[0],
               tokens * o->recorded->width * sizeof(float));
    return MOEQ_OK;
}

static bool wants_logits(void *user, size_t position)
{
    struct observed *o = user;
    return o->inner.wants_logits(o->inner.user, position);
}

static moeq_status on_logits(void *user, const size_t *index, size_t tokens,
                             const float *const *logits, moeq_error *err)
{
    struct observed *o = user;
    return o->inner.on_logits(o->inner.user, index, tokens, logits, err);
}

static moeq_status read_hidden(void *user, size_t first, size_t tokens, float *hidden,
                               moeq_error *err)
{
    const struct recorded *r = user;
    (void)err;
    memcpy(hidden, r->hidden + first * r->width, tokens * r->width * sizeof(float));
    return MOEQ_OK;
}

static moeq_status read_router(void *user, uint32_t layer, size_t first, size_t tokens,
                               float *logits, moeq_error *err)
{
    const struct recorded *r = user;
    (void)err;
    memcpy(logits, r->router[layer][first], tokens * EXPERTS * sizeof(float));
    return MOEQ_OK;
}

static void run(const struct mq_arm *arms, struct recorded *recorded,
                struct mq_arm_result results[ARMS])
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_protocol_options options = {.protocol = MQ_PROTOCOL_HALF, .context = WINDOW};
    struct mq_text_windows text;
    struct mq_referee *referee;
    struct observed o = {.recorded = recorded};
    int32_t ids[TOKENS];
    moeq_error err = {0};
    for (int32_t i = 0; i < TOKENS; i++)
        ids[i] = (37 * i + 5) % 251;
    ck_assert_ok(mq_protocol_windows(&options, ids, TOKENS, -1, "ids", &text, &err));
    ck_assert_ok(mq_referee_create(&context, arms, ARMS, &text, &referee, &err));
    o.inner = mq_referee_observer(referee);
    const struct mq_observer observer = {.user = &o,
                                         .on_hidden = on_hidden,
                                         .on_router = on_router,
                                         .wants_logits = wants_logits,
                                         .on_logits = on_logits};
    ck_assert_msg(mq_evaluate(&context, arms, ARMS, &text.windows, &observer, &err) == MOEQ_OK,
                  "%s", err.message);
    ck_assert_ok(mq_referee_finish(referee, results, &err));
    mq_referee_free(referee);
    mq_text_windows_free(&text);
}

static void check_equal(const struct mq_arm_result *a, const struct mq_arm_result *b)
{
    const struct mq_routing_result *x = &a->routing, *y = &b->routing;
    ck_assert_mem_eq(&a->perplexity, &b->perplexity, sizeof a->perplexity);
    ck_assert_mem_eq(&a->kld, &b->kld, sizeof a->kld);
    ck_assert_mem_eq(&x->overall, &y->overall, sizeof x->overall);
    ck_assert_mem_eq(x->margin_choices, y->margin_choices, sizeof x->margin_choices);
    ck_assert_mem_eq(x->margin_flips, y->margin_flips, sizeof x->margin_flips);
}

/* Routers of both layers. */
static void check(const struct mq_layer_router *routers)
{
    struct mq_view *view;
    static struct changed_program program;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("tests/fixtures/oracles/olmoe"), &view, &err));
    give_routers(view, routers, &program);
    const struct mq_policy policy = mq_policy_default(mq_level_find("q2_k"));
    const struct mq_level **levels = calloc(view->tensors_count, sizeof *levels);
    ck_assert_ok(mq_policy_apply(&policy, view, levels, &err));
    for (size_t i = 0; i < view->tensors_count; i++)
        if (!levels[i]->quantized)
            levels[i] = NULL;
    struct mq_arm arms[ARMS] = {
        {.name = "base", .view = view, .routes_from = -1},
        {.name = "level", .view = view, .routes_from = -1, .levels = levels},
        {.name = "its weights", .view = view, .routes_from = 0, .levels = levels},
        {.name = "int8", .view = view, .routes_from = -1, .levels = levels,
         .compute = MQ_COMPUTE_INT8},
        {.name = "floor", .view = view, .routes_from = -1, .bf16_activations = true},
    };
    struct recorded recorded = {.width = view->hparams.hidden};
    struct mq_arm_result ran[ARMS], played[ARMS];
    recorded.hidden = calloc(TOKENS * recorded.width, sizeof(float));
    run(arms, &recorded, ran);
    const struct mq_playback playback = {&recorded, read_hidden, read_router};
    arms[0].playback = &playback;
    run(arms, NULL, played);
    for (size_t a = 1; a < ARMS; a++)
        check_equal(&ran[a], &played[a]);
    ck_assert_mem_eq(&ran[0].perplexity, &played[0].perplexity, sizeof ran[0].perplexity);
    /* what is wrong is seen, and routes that are taken over are the same */
    const struct mq_estimate *level = ran[1].routing.overall.metric;
    const struct mq_estimate *taken = ran[2].routing.overall.metric;
    ck_assert(level[MQ_ROUTING_ROUTER_KL].value > 0 && taken[MQ_ROUTING_ROUTER_KL].value > 0);
    ck_assert(taken[MQ_ROUTING_EXACT_SET].value == 1 && taken[MQ_ROUTING_WEIGHTED].value == 1);
    for (int l = 0; l < LAYERS; l++)
        ck_assert_uint_eq(ran[1].routing.layers[l].top_k, routers[l].top_k);
    for (size_t a = 0; a < ARMS; a++) {
        mq_arm_result_free(&ran[a]);
        mq_arm_result_free(&played[a]);
    }
    free(recorded.hidden);
    free(levels);
    mq_view_close(view);
}

#define ROUTER(...)                            \
    {                                          \
        .experts = EXPERTS, .scale = 1, __VA_ARGS__ \
    }

/* The kinds of the field, two to a model. */
static const struct mq_layer_router pairs[][LAYERS] = {
    {ROUTER(.top_k = 3, .normalize = MQ_NORMALIZE_SUM), ROUTER(.top_k = 2, .softcap = 0.5f)},
    {ROUTER(.top_k = 2, .score = MQ_SCORE_SIGMOID, .choice_bias = 1, .groups = 4, .top_groups = 2,
            .groups_by = MQ_GROUPS_BY_TWO_BEST, .normalize = MQ_NORMALIZE_SUM),
     ROUTER(.top_k = 3, .score = MQ_SCORE_SIGMOID)},
    {ROUTER(.top_k = 2, .score = MQ_SCORE_LOGIT, .weights = MQ_WEIGHTS_SOFTMAX_CHOSEN),
     ROUTER(.top_k = 1, .score = MQ_SCORE_LOGIT, .weights = MQ_WEIGHTS_SIGMOID)},
    {ROUTER(.top_k = 2, .groups = 2, .top_groups = 1),
     ROUTER(.top_k = 2, .expert_scale = 1)},
    {ROUTER(.top_k = 2, .score = MQ_SCORE_LOGIT, .weights = MQ_WEIGHTS_SPARSEMIXER, .jitter = 0.01f),
     ROUTER(.top_k = 4, .choice_bias = 1)},
};

START_TEST(a_played_back_baseline_is_the_one_that_ran)
{
    check(pairs[_i]);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, a_played_back_baseline_is_the_one_that_ran, 0,
                        sizeof pairs / sizeof *pairs);
}

int main(void)
{
    return mq_test_main("router_kinds", add);
}
