/* shards_check.c: the integrity of a moeq model in several files. */
#include "shards_check.h"

#include "error.h"
#include "moeq_index.h"
#include "stored.h"
#include "weights_check.h"

#include <string.h>

/* Progress of one shard as part of the whole. */
struct whole {
    const struct mq_context *context;
    uint64_t before, total;
};

static void on_progress(void *user, const struct mq_progress *p)
{
    const struct whole *whole = user;
    const struct mq_progress now = {p->phase, whole->before + p->done, whole->total, p->unit};
    whole->context->progress(whole->context->progress_user, &now);
}

/* A file of the wrong size is not read: it is cut short, or not this model's. */
static moeq_status check_shard(const struct mq_context *context, const struct mq_moeq_index *index,
                               size_t shard, struct mq_shard_result *r, moeq_error *err)
{
    const moeq_status listed = mq_moeq_index_check_shard(index, shard, r->path, &r->problem);
    if (listed != MOEQ_OK && listed != MOEQ_CORRUPT)
        return MOEQ_OK;
    /* What is wrong inside says more than that the last word is another. */
    moeq_error inside = {0};
    moeq_status status = mq_integrity_check(context, r->path, &r->integrity, &inside);
    if (status == MOEQ_CANCELLED || status == MOEQ_NO_MEMORY)
        return mq_fail(err, status, "%s", inside.message);
    if (status == MOEQ_OK)
        status = mq_integrity_status(&r->integrity, &inside);
    if (status != MOEQ_OK)
        r->problem = inside;
    return MOEQ_OK;
}

static moeq_status check_all(const struct mq_context *context, const struct mq_moeq_index *index,
                             struct mq_shards_result *result, moeq_error *err)
{
    struct whole whole = {.context = context};
    struct mq_context part = *context;
    if (context->progress) {
        part.progress = on_progress;
        part.progress_user = &whole;
    }
    for (size_t i = 0; i < index->count; i++)
        whole.total += index->shards[i].size_bytes; /* may wrap around: it is for show only */
    for (size_t i = 0; i < index->count; i++) {
        struct mq_shard_result *r = &result->shards[i];
        r->path = mq_moeq_index_shard_path(index, i, result->arena);
        if (!r->path)
            return mq_fail_memory(err, "checking a model");
        result->count++;
        MQ_TRY(check_shard(&part, index, i, r, err));
        result->file_bytes += r->integrity.file_bytes;
        result->tensors_checked += r->integrity.tensors_checked;
        whole.before += index->shards[i].size_bytes;
    }
    return MOEQ_OK;
}

/* The index lists what the shards hold, and they are a model. */
static moeq_status check_index(const struct mq_context *context, struct mq_shards_result *result,
                               moeq_error *err)
{
    struct mq_view *view;
    if (mq_shards_status(result, NULL) != MOEQ_OK)
        return MOEQ_OK;
    /* each shard's checksums were compared already */
    const struct mq_open_options unchecked = {.no_check = true};
    moeq_status status = mq_model_open_with(result->path, &unchecked, &view, &result->problem);
    if (status == MOEQ_OK) {
        status = mq_zero_matrices(context, view, result->arena, &result->zeros, &result->problem);
        mq_view_close(view);
        if (status == MOEQ_OK)
            status = mq_zeros_status(&result->zeros, &result->problem);
    }
    return status == MOEQ_NO_MEMORY ? mq_fail_memory(err, "checking a model") : MOEQ_OK;
}

moeq_status mq_shards_check(const struct mq_context *context, const char *path,
                            struct mq_shards_result *result, moeq_error *err)
{
    struct mq_moeq_index index = {0};
    moeq_status status = MOEQ_OK;
    memset(result, 0, sizeof *result);
    result->arena = mq_arena_create();
    if (!result->arena)
        return mq_fail_memory(err, "checking a model");
    result->path = mq_arena_strdup(result->arena, path);
    if (!result->path) {
        status = mq_fail_memory(err, "checking a model");
        goto out;
    }
    MQ_TRY_OUT(mq_moeq_index_read(result->path, result->arena, &index, err));
    result->shards = mq_arena_alloc(result->arena, index.count, sizeof *result->shards);
    if (!result->shards) {
        status = mq_fail_memory(err, "checking a model");
        goto out;
    }
    MQ_TRY_OUT(check_all(context, &index, result, err));
    MQ_TRY_OUT(check_index(context, result, err));
out:
    mq_moeq_index_free(&index);
    if (status != MOEQ_OK)
        mq_shards_free(result);
    return status;
}

void mq_shards_free(struct mq_shards_result *result)
{
    for (size_t i = 0; i < result->count; i++)
        mq_integrity_free(&result->shards[i].integrity);
    mq_arena_destroy(result->arena);
    memset(result, 0, sizeof *result);
}

moeq_status mq_shards_status(const struct mq_shards_result *result, moeq_error *err)
{
    const moeq_error *first = &result->problem;
    for (size_t i = result->count; i-- > 0;)
        if (result->shards[i].problem.status != MOEQ_OK)
            first = &result->shards[i].problem;
    if (err && err->status == MOEQ_OK)
        *err = *first;
    return first->status;
}
