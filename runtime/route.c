/* route.c: the step `route`: router logits, choices and their report. */
#include "pass_int.h"

#include "error.h"
#include "router.h"

#include <string.h>

/* A router's vector of an arm: NULL if there is none in it. A recording has those that its layers
 * take. */
static moeq_status load_vector(struct mq_pass *pass, const struct mq_pass_arm *arm, bool wanted,
                               enum mq_role role, int32_t layer, float *room, const float **vector,
                               moeq_error *err)
{
    *vector = NULL;
    if (!wanted)
        return MOEQ_OK;
    if (!mq_arm_weights(arm->arm, role, layer, -1).tensor)
        return mq_fail(err, MOEQ_MALFORMED, "%s: has no %s of layer %d", arm->arm->view->path,
                       mq_role_name(role), layer);
    *vector = room;
    return mq_pass_load_vector(pass, arm, role, layer, -1, room, err);
}

static moeq_status load_vectors(struct mq_pass *pass, size_t a, int32_t layer,
                                struct mq_router_vectors *v, moeq_error *err)
{
    const struct mq_layer_router *r = &pass->layer->ffn.router;
    const struct mq_pass_arm *arm = &pass->arms[a];
    float *room = pass->router_vectors + 2 * a * pass->sizes.experts;
    MQ_TRY(load_vector(pass, arm, r->choice_bias, MQ_ROLE_ROUTER_CHOICE_BIAS, layer, room,
                       &v->choice_bias, err));
    return load_vector(pass, arm, r->expert_scale, MQ_ROLE_ROUTER_EXPERT_SCALE, layer,
                       room + r->experts, &v->expert_scale, err);
}

static moeq_status multiply(struct mq_pass *pass, int32_t layer, moeq_error *err)
{
    const struct mq_layer_router *r = &pass->layer->ffn.router;
    mq_pass_weights(pass, MQ_ROLE_ROUTER, layer, -1);
    if (r->logit_bias)
        MQ_TRY(mq_pass_bias(pass, MQ_ROLE_ROUTER_BIAS, layer, -1, err));
    for (size_t a = 0; a < pass->arms_count; a++) {
        pass->products[a].x = pass->arms[a].x;
        pass->products[a].ldx = pass->sizes.ldh;
        pass->products[a].y = pass->arms[a].router_logits;
        pass->products[a].compute = MQ_COMPUTE_F32; /* small, and choices hang on it */
        pass->products[a].ldy = r->experts;
    }
    return mq_pass_apply(pass, MQ_LINEAR_STORE, err);
}

/* An arm with foreign routes comes after their owner, so that they are there to be copied. */
moeq_status mq_pass_route(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                          moeq_error *err)
{
    const struct mq_observer *observer = pass->observer;
    const struct mq_layer_router *router = &pass->layer->ffn.router;
    const size_t routes = pass->tokens * router->top_k;
    const size_t first_token = pass->first_window * pass->windows->length;
    (void)step;
    MQ_TRY(multiply(pass, layer, err));
    for (size_t a = 0; a < pass->arms_count; a++) {
        struct mq_pass_arm *arm = &pass->arms[a];
        struct mq_router_vectors vectors;
        if (arm->idle) {
            pass->routes[a] = pass->routes[0];
            continue;
        }
        const struct mq_playback *playback = arm->arm->playback;
        MQ_TRY(load_vectors(pass, a, layer, &vectors, err));
        if (playback)
            MQ_TRY(playback->read_router(playback->user, (uint32_t)layer, first_token, pass->tokens,
                                         arm->router_logits, err));
        if (arm->arm->routes_from >= 0) {
            const struct mq_pass_arm *from = &pass->arms[arm->arm->routes_from];
            from = from->idle ? &pass->arms[0] : from;
            memcpy(arm->chosen, from->chosen, routes * sizeof(int32_t));
            memcpy(arm->weights, from->weights, routes * sizeof(float));
        } else {
            mq_router_choose(pass->context->isa, router, &vectors, arm->router_logits, pass->tokens,
                             pass->probabilities, arm->chosen, arm->weights);
        }
        pass->routes[a] =
            (struct mq_routes){arm->router_logits, arm->chosen, arm->weights, router, vectors};
    }
    if (!observer->on_router)
        return MOEQ_OK;
    return observer->on_router(observer->user, (uint32_t)layer, first_token, pass->tokens,
                               pass->routes, err);
}
