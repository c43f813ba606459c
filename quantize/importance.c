/* importance.c: a table from tensors' names to the importance of their columns. */
#include "importance.h"

#include "error.h"
#include "strmap.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct item {
    const char *name;
    float *columns;
    size_t cols;
    uint64_t inputs;
};

struct mq_importance {
    const char *source;
    struct item *items;
    size_t count, capacity;
    struct mq_strmap by_name;
    struct mq_arena *arena; /* names and columns */
    bool blended;
    const char *calibrated_on;
};

moeq_status mq_importance_create(const char *source, struct mq_importance **out, moeq_error *err)
{
    struct mq_importance *m = *out = calloc(1, sizeof *m);
    if (m && (m->arena = mq_arena_create()) && (m->source = mq_arena_strdup(m->arena, source)))
        return MOEQ_OK;
    mq_importance_destroy(m);
    *out = NULL;
    return mq_fail_memory(err, "importance of columns");
}

void mq_importance_destroy(struct mq_importance *importance)
{
    if (!importance)
        return;
    mq_strmap_free(&importance->by_name);
    mq_arena_destroy(importance->arena);
    free(importance->items);
    free(importance);
}

static moeq_status check_columns(const struct mq_importance *m, const char *name,
                                 const float *columns, size_t cols, moeq_error *err)
{
    if (!cols)
        return mq_fail(err, MOEQ_MALFORMED, "%s: '%s' has no columns; expected their importance",
                       m->source, name);
    for (size_t c = 0; c < cols; c++)
        if (!(columns[c] >= 0.0f) || isinf(columns[c]))
            return mq_fail(err, MOEQ_MALFORMED,
                           "%s: '%s', column %zu: expected a mean square, found %g; make the file "
                           "anew, from a text that the model does not overflow on",
                           m->source, name, c, (double)columns[c]);
    return MOEQ_OK;
}

static bool reserve(struct mq_importance *m)
{
    if (m->count < m->capacity)
        return true;
    const size_t capacity = m->capacity ? 2 * m->capacity : 64;
    struct item *items = realloc(m->items, capacity * sizeof *items);
    if (!items)
        return false;
    m->items = items;
    m->capacity = capacity;
    return true;
}

moeq_status mq_importance_add(struct mq_importance *m, const char *name, const float *columns,
                              size_t cols, uint64_t inputs, moeq_error *err)
{
    MQ_TRY(check_columns(m, name, columns, cols, err));
    struct item item = {.cols = cols, .inputs = inputs};
    item.name = mq_arena_strdup(m->arena, name);
    item.columns = mq_arena_alloc(m->arena, cols, sizeof *item.columns);
    if (!item.name || !item.columns || m->count >= UINT32_MAX || !reserve(m))
        return mq_fail_memory(err, "importance of columns");
    switch (mq_strmap_add(&m->by_name, item.name, strlen(item.name), (uint32_t)m->count)) {
    case MQ_STRMAP_NO_MEMORY:
        return mq_fail_memory(err, "importance of columns");
    case MQ_STRMAP_DUPLICATE:
        return mq_fail(err, MOEQ_MALFORMED, "%s: '%s' is there twice", m->source, name);
    case MQ_STRMAP_ADDED:
        break;
    }
    memcpy(item.columns, columns, cols * sizeof *columns);
    m->items[m->count++] = item;
    return MOEQ_OK;
}

static struct item *find(const struct mq_importance *m, const struct mq_tensor *tensor)
{
    uint32_t i;
    if (!m || !mq_strmap_get(&m->by_name, tensor->name, strlen(tensor->name), &i))
        return NULL;
    return &m->items[i];
}

const float *mq_importance_columns(const struct mq_importance *m, const struct mq_tensor *tensor)
{
    const struct item *item = find(m, tensor);
    return item && item->cols == tensor->cols ? item->columns : NULL;
}

size_t mq_importance_count(const struct mq_importance *importance)
{
    return importance->count;
}

const char *mq_importance_source(const struct mq_importance *importance)
{
    return importance->source;
}

moeq_status mq_importance_set_calibrated_on(struct mq_importance *m, const char *list,
                                            moeq_error *err)
{
    m->calibrated_on = mq_arena_strdup(m->arena, list);
    return m->calibrated_on ? MOEQ_OK : mq_fail_memory(err, "importance of columns");
}

const char *mq_importance_calibrated_on(const struct mq_importance *importance)
{
    return importance->calibrated_on;
}

const char *mq_importance_name(const struct mq_importance *importance)
{
    const char *slash = strrchr(importance->source, '/');
    return slash ? slash + 1 : importance->source;
}

/* The sum of the matrices' CRCs does not depend on their order. */
uint32_t mq_importance_fingerprint(const struct mq_importance *m)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < m->count; i++) {
        const struct item *item = &m->items[i];
        const uLong name = crc32_z(0, (const Bytef *)item->name, strlen(item->name) + 1);
        sum += (uint32_t)crc32_z(name, (const Bytef *)item->columns,
                                 item->cols * sizeof *item->columns);
    }
    return sum;
}

void mq_importance_put_json(struct mq_json_tree *tree, cJSON *object, const struct mq_importance *m)
{
    if (!m)
        return;
    cJSON *o = mq_json_object(tree);
    mq_json_put_text(tree, o, "path", m->source);
    mq_json_put_count(tree, o, "matrices", m->count);
    mq_json_put_hex(tree, o, "fingerprint", mq_importance_fingerprint(m));
    mq_json_put(tree, object, "importance", o);
}

moeq_status mq_importance_check(const struct mq_importance *m, const struct mq_view *view,
                                moeq_error *err)
{
    size_t known = 0;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        const struct item *item = find(m, t);
        if (item && item->cols != t->cols)
            return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                           "%s: '%s' has %zu columns, in %s it has %" PRIu64
                           ": use a calibration of this model",
                           m->source, mq_tensor_shown(t), item->cols, view->path, t->cols);
        known += item != NULL;
    }
    if (known == 0)
        return mq_fail(
            err, MOEQ_INVALID_ARGUMENT,
            "%s: none of its %zu matrices is in %s%s%s%s: use a calibration of this model",
            m->source, m->count, view->path, m->count ? ", '" : "",
            m->count ? m->items[0].name : "", m->count ? "' for one" : "");
    return MOEQ_OK;
}

void mq_importance_raise(struct mq_importance *m)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct item *item = &m->items[i];
        double sum = 0;
        for (size_t c = 0; c < item->cols; c++)
            sum += (double)item->columns[c];
        for (size_t c = 0; c < item->cols; c++)
            item->columns[c] += (float)(MQ_IMPORTANCE_FLOOR * sum / (double)item->cols);
    }
}

void mq_importance_blend(float *columns, size_t cols, uint64_t inputs, const float *prior)
{
    const double n = inputs == UINT64_MAX ? INFINITY : (double)inputs;
    const double share = isinf(n) ? 1.0 : n / (n + MQ_IMPORTANCE_PRIOR); /* of what was seen */
    for (size_t c = 0; c < cols; c++)
        columns[c] = (float)(share * (double)columns[c] + (1.0 - share) * (double)prior[c]);
}

/* The mean over a layer's experts, by inputs; false if there is none. */
static bool layer_mean(const struct mq_importance *m, const struct mq_view *view, enum mq_role role,
                       int32_t layer, double *sum, float *mean, size_t cols)
{
    const struct mq_tensor *t;
    double inputs = 0;
    memset(sum, 0, cols * sizeof *sum);
    for (int32_t e = 0; (t = mq_view_find(view, role, layer, e)) != NULL; e++) {
        const struct item *item = find(m, t);
        if (!item || item->cols != cols || item->inputs == UINT64_MAX)
            continue;
        inputs += (double)item->inputs;
        for (size_t c = 0; c < cols; c++)
            sum[c] += (double)item->inputs * (double)item->columns[c];
    }
    for (size_t c = 0; c < cols && inputs > 0; c++)
        mean[c] = (float)(sum[c] / inputs);
    return inputs > 0;
}

static void flat_mean(const struct item *item, float *mean)
{
    double sum = 0;
    for (size_t c = 0; c < item->cols; c++)
        sum += (double)item->columns[c];
    for (size_t c = 0; c < item->cols; c++)
        mean[c] = (float)(sum / (double)item->cols);
}

static void blend_layer(const struct mq_importance *m, const struct mq_view *view,
                        enum mq_role role, int32_t layer, size_t cols, double *sum, float *prior)
{
    const bool own = role == MQ_ROLE_EXPERT_DOWN;
    const struct mq_tensor *t;
    if (!own && !layer_mean(m, view, role, layer, sum, prior, cols))
        return;
    for (int32_t e = 0; (t = mq_view_find(view, role, layer, e)) != NULL; e++) {
        const struct item *item = find(m, t);
        if (!item || item->cols != cols)
            continue;
        if (own)
            flat_mean(item, prior);
        mq_importance_blend(item->columns, cols, item->inputs, prior);
    }
}

moeq_status mq_importance_blend_experts(struct mq_importance *m, const struct mq_view *view,
                                        moeq_error *err)
{
    static const enum mq_role roles[] = {MQ_ROLE_EXPERT_GATE, MQ_ROLE_EXPERT_UP,
                                         MQ_ROLE_EXPERT_DOWN};
    size_t widest = 1;
    for (size_t i = 0; i < m->count; i++)
        widest = m->items[i].cols > widest ? m->items[i].cols : widest;
    double *sum = malloc(widest * sizeof *sum);
    float *prior = malloc(widest * sizeof *prior);
    for (size_t r = 0; sum && prior && !m->blended && r < sizeof roles / sizeof *roles; r++)
        for (uint32_t layer = 0; layer < view->hparams.layers; layer++) {
            const struct mq_tensor *first = mq_view_find(view, roles[r], (int32_t)layer, 0);
            if (first && first->cols <= widest)
                blend_layer(m, view, roles[r], (int32_t)layer, first->cols, sum, prior);
        }
    const bool done = sum && prior;
    m->blended = done;
    free(sum);
    free(prior);
    return done ? MOEQ_OK : mq_fail_memory(err, "blending the importance of columns");
}
