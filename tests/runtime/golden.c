/* golden.c: reading the reference outputs of a checkpoint, and collecting the evaluator's. */
#include "golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void golden_open(const char *path, struct golden *golden)
{
    moeq_error err = {0};
    memset(golden, 0, sizeof *golden);
    golden->arena = mq_arena_create();
    ck_assert_ptr_nonnull(golden->arena);
    ck_assert_msg(mq_safetensors_open(path, golden->arena, &golden->file, &err) == MOEQ_OK, "%s",
                  err.message);
    const struct mq_st_entry *ids = mq_safetensors_find(&golden->file, "input_ids");
    ck_assert(ids && ids->dims == 2);
    size_t n;
    golden->windows = (struct mq_windows){
        .ids = golden_read(golden, "input_ids", &n),
        .count = ids->shape[0],
        .length = ids->shape[1],
    };
    ck_assert_uint_eq(n, golden->windows.count * golden->windows.length);
}

void golden_close(struct golden *golden)
{
    free((void *)golden->windows.ids);
    mq_safetensors_close(&golden->file);
    mq_arena_destroy(golden->arena);
}

void *golden_read(const struct golden *golden, const char *name, size_t *elements)
{
    const struct mq_st_entry *entry = mq_safetensors_find(&golden->file, name);
    moeq_error err = {0};
    if (!entry)
        return NULL;
    void *bytes = malloc(entry->size_bytes);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_msg(mq_file_read_at(&golden->file.file, entry->offset, bytes, entry->size_bytes,
                                  &err) == MOEQ_OK,
                  "%s", err.message);
    *elements = entry->size_bytes / 4; /* f32 and i32 alone */
    return bytes;
}

struct collector {
    struct collected *arms;
    size_t count;
};

static moeq_status on_hidden(void *user, uint32_t layer, size_t first, size_t tokens,
                             const float *const *hidden, moeq_error *err)
{
    (void)err;
    const struct collector *c = user;
    for (size_t a = 0; a < c->count; a++) {
        struct collected *r = &c->arms[a];
        if (!hidden[a])
            continue; /* it is played back */
        memcpy(r->hidden + (layer * r->tokens + first) * r->hidden_size, hidden[a],
               tokens * r->hidden_size * sizeof(float));
    }
    return MOEQ_OK;
}

static moeq_status on_router(void *user, uint32_t layer, size_t first, size_t tokens,
                             const struct mq_routes *routes, moeq_error *err)
{
    (void)err;
    const struct collector *c = user;
    for (size_t a = 0; a < c->count; a++) {
        struct collected *r = &c->arms[a];
        const size_t at = layer * r->tokens + first, top_k = routes[a].router->top_k;
        const size_t choice = layer * r->tokens * r->top_k + first * top_k;
        ck_assert_uint_le(top_k, r->top_k);
        memcpy(r->router_logits + at * r->experts, routes[a].logits,
               tokens * r->experts * sizeof(float));
        memcpy(r->chosen + choice, routes[a].experts, tokens * top_k * sizeof(int32_t));
        memcpy(r->weights + choice, routes[a].weights, tokens * top_k * sizeof(float));
    }
    return MOEQ_OK;
}

static moeq_status on_logits(void *user, const size_t *token_index, size_t tokens,
                             const float *const *logits, moeq_error *err)
{
    (void)err;
    const struct collector *c = user;
    for (size_t a = 0; a < c->count; a++) {
        struct collected *r = &c->arms[a];
        for (size_t i = 0; i < tokens; i++)
            memcpy(r->logits + token_index[i] * r->vocab, logits[a] + i * r->vocab,
                   r->vocab * sizeof(float));
        r->logits_seen += tokens;
    }
    return MOEQ_OK;
}

static moeq_status on_quantized(void *user, const struct mq_quantized *q, moeq_error *err)
{
    const struct collector *c = user;
    (void)err;
    ck_assert(q->tensor->rows > 1);
    ck_assert(q->squares.within == q->squares.lost);
    if (mq_view_class(q->view, q->tensor->role) != MQ_CLASS_EXPERTS)
        return MOEQ_OK;
    c->arms[q->arm].squared_error += q->squares.lost;
    c->arms[q->arm].squared_weights += q->squares.weights;
    c->arms[q->arm].quantized++;
    return MOEQ_OK;
}

/* Of all layers with experts. */
static size_t largest_top_k(const struct mq_view *view)
{
    size_t most = 0;
    for (uint32_t layer = 0; layer < view->hparams.layers; layer++) {
        const struct mq_layer *l = &view->program->layers[layer]->layer;
        if (l->ffn.router.top_k > most)
            most = l->ffn.router.top_k;
    }
    return most;
}

moeq_status collect(const struct mq_context *context, const struct mq_arm *arms, size_t arms_count,
                    const struct mq_windows *windows, struct collected *results, moeq_error *err)
{
    return collect_whole(context, arms, arms_count, windows, false, results, err);
}

moeq_status collect_whole(const struct mq_context *context, const struct mq_arm *arms,
                          size_t arms_count, const struct mq_windows *windows, bool whole,
                          struct collected *results, moeq_error *err)
{
    const struct mq_hparams *hp = &arms[0].view->hparams;
    for (size_t a = 0; a < arms_count; a++) {
        struct collected *r = &results[a];
        *r = (struct collected){
            .tokens = windows->count * windows->length,
            .layers = hp->layers,
            .hidden_size = hp->hidden,
            .vocab = hp->vocab,
            .experts = hp->experts,
            .top_k = largest_top_k(arms[0].view),
        };
        r->hidden = calloc((r->layers + 1) * r->tokens * r->hidden_size, sizeof(float));
        r->router_logits = calloc(r->layers * r->tokens * r->experts + 1, sizeof(float));
        r->chosen = calloc(r->layers * r->tokens * r->top_k + 1, sizeof(int32_t));
        r->weights = calloc(r->layers * r->tokens * r->top_k + 1, sizeof(float));
        r->logits = calloc(r->tokens * r->vocab, sizeof(float));
        ck_assert(r->hidden && r->router_logits && r->chosen && r->weights && r->logits);
    }
    struct collector collector = {results, arms_count};
    const struct mq_observer observer = {
        .user = &collector,
        .whole = whole,
        .on_hidden = on_hidden,
        .on_router = on_router,
        .on_logits = on_logits,
        .on_quantized = on_quantized,
    };
    return mq_evaluate(context, arms, arms_count, windows, &observer, err);
}

void collected_free(struct collected *c)
{
    free(c->hidden);
    free(c->router_logits);
    free(c->chosen);
    free(c->weights);
    free(c->logits);
}

/* Sums over matrices that may have been told in another order. */
static bool same_sum(double a, double b)
{
    return fabs(a - b) <= 1e-12 * fabs(a);
}

bool collected_equal(const struct collected *a, const struct collected *b)
{
#define SAME(field, n) (memcmp(a->field, b->field, (n) * sizeof a->field[0]) == 0)
    return a->logits_seen == b->logits_seen && a->quantized == b->quantized &&
           same_sum(a->squared_error, b->squared_error) &&
           same_sum(a->squared_weights, b->squared_weights) &&
           SAME(hidden, (a->layers + 1) * a->tokens * a->hidden_size) &&
           SAME(router_logits, a->layers * a->tokens * a->experts) &&
           SAME(chosen, a->layers * a->tokens * a->top_k) &&
           SAME(weights, a->layers * a->tokens * a->top_k) && SAME(logits, a->tokens * a->vocab);
#undef SAME
}
