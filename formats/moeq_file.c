/* moeq_file.c: opening a moeq file, or several with an index, as a model view. The format is in
 * FORMAT.md. */
#include "view_int.h"

#include "checked.h"
#include "checksums.h"
#include "error.h"
#include "folder_tokenizer.h"
#include "moeq_index.h"
#include "open_options.h"
#include "token_profile.h"
#include "tensor_set_view.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Inflates a zlib stream of unknown length, at most `cap` bytes. */
static moeq_status inflate_all(const unsigned char *bytes, size_t n, uint64_t cap,
                               struct mq_buffer *out, const char **problem)
{
    z_stream z = {.next_in = (unsigned char *)bytes, .avail_in = (uInt)n};
    unsigned char chunk[16384];
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    cap = mq_min_u64(cap, 1 << 17); /* what fills the caps takes most of a fuzzer's time */
#endif
    *problem = NULL;
    if (inflateInit(&z) != Z_OK)
        return MOEQ_NO_MEMORY;
    int r = Z_OK;
    while (r == Z_OK && !*problem && mq_buffer_ok(out)) {
        z.next_out = chunk;
        z.avail_out = sizeof chunk;
        r = inflate(&z, Z_NO_FLUSH);
        mq_buffer_append(out, chunk, sizeof chunk - z.avail_out);
        if (out->size > cap)
            *problem = "inflates to more than such a file may have";
        else if (r != Z_OK && r != Z_STREAM_END)
            *problem = "is no complete zlib stream";
        else if (r == Z_STREAM_END && z.avail_in)
            *problem = "has bytes after its zlib stream";
    }
    inflateEnd(&z);
    if (!mq_buffer_ok(out))
        return MOEQ_NO_MEMORY;
    return *problem ? MOEQ_MALFORMED : MOEQ_OK;
}

static moeq_status read_side_tensor(const struct mq_tensor_set *set, enum mq_side which,
                                    struct mq_view *view, moeq_error *err)
{
    const struct mq_side_file *side = &mq_side_files[which];
    const struct mq_located *at =
        side->tensor_name ? mq_tensor_set_find(set, side->tensor_name) : NULL;
    if (!at)
        return side->required ? mq_fail_file(err, MOEQ_MALFORMED, view->path,
                                             "tensor '%s' is missing", side->tensor_name)
                              : MOEQ_OK;
    const struct mq_st_entry *e = at->entry;
    const struct mq_safetensors *st = &set->shards[at->shard];
    const char *path = st->file.path;
    if (e->dtype != MQ_U8 || e->dims != 1 || e->size_bytes > UINT_MAX)
        return mq_fail_tensor(err, MOEQ_MALFORMED, path, e->name, e->offset, "expected U8 [bytes]");
    unsigned char *packed = malloc(e->size_bytes + 1);
    if (!packed)
        return mq_fail_memory(err, "opening a model");
    moeq_status status = mq_file_read_at(&st->file, e->offset, packed, e->size_bytes, err);
    if (status == MOEQ_OK) {
        const char *problem;
        status = inflate_all(packed, e->size_bytes, side->cap_bytes, &view->side[which], &problem);
        if (problem)
            status = mq_fail_tensor(err, status, path, e->name, e->offset, "%s", problem);
        else if (status != MOEQ_OK)
            status = mq_fail_memory(err, "opening a model");
    }
    free(packed);
    return status;
}

static moeq_status check_metadata(const struct mq_safetensors *st, moeq_error *err)
{
    const char *format = mq_metadata_get(st->metadata, MQ_META_FORMAT);
    const char *version = mq_metadata_get(st->metadata, MQ_META_VERSION);
    if (format && strcmp(format, "moeqref") == 0)
        return mq_fail_file(err, MOEQ_UNSUPPORTED, st->file.path,
                            "is a recording of moeq record: it has no weights, and serves "
                            "moeq verify --against only");
    if (format && strcmp(format, "moeqcal") == 0)
        return mq_fail_file(err, MOEQ_UNSUPPORTED, st->file.path,
                            "is a calibration of moeq calibrate: it has no weights; give the model "
                            "that it was made of");
    if (!format || strcmp(format, "moeq") != 0)
        return mq_fail_file(err, MOEQ_UNSUPPORTED, st->file.path,
                            "is a safetensors file but no moeq file; for a Hugging Face model give "
                            "its folder");
    if (!version || strcmp(version, MQ_PROFILE_VERSION) != 0)
        return mq_fail_file(err, MOEQ_UNSUPPORTED, st->file.path,
                            "moeq.version is \"%.20s\", this program reads \"" MQ_PROFILE_VERSION
                            "\"",
                            version ? version : "absent");
    return MOEQ_OK;
}

/* A shard says which it is of how many; a file that is all of a model says nothing. */
static moeq_status check_shard_number(const struct mq_safetensors *st, size_t shard, size_t count,
                                      moeq_error *err)
{
    const char *found = mq_metadata_get(st->metadata, MQ_META_SHARD);
    char expected[64];
    snprintf(expected, sizeof expected, "%zu of %zu", shard + 1, count);
    if (count == 1 && found)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, st->file.path,
                            "is shard %.40s of a model: give the model's index (*" MQ_INDEX_ENDING
                            ") instead",
                            found);
    if (count > 1 && (!found || strcmp(found, expected) != 0))
        return mq_fail_file(err, MOEQ_MALFORMED, st->file.path,
                            MQ_META_SHARD " is \"%.40s\", the index has it as \"%s\"",
                            found ? found : "absent", expected);
    return MOEQ_OK;
}

/* What the files say of the model (which is the same in all), and the levels of all tensors. */
static moeq_status merge_metadata(const struct mq_tensor_set *set, struct mq_view *view,
                                  moeq_error *err)
{
    size_t room = 1, n = 0;
    for (size_t s = 0; s < set->shards_count; s++)
        for (const char **m = set->shards[s].metadata; m[0]; m += 2)
            room += 2;
    view->metadata = mq_arena_alloc(view->arena, room, sizeof *view->metadata);
    if (!view->metadata)
        return mq_fail_memory(err, "opening a model");
    for (size_t s = 0; s < set->shards_count; s++)
        for (const char **m = set->shards[s].metadata; m[0]; m += 2) {
            if (strcmp(m[0], MQ_META_CALIBRATED_ON) == 0) { /* not for people */
                view->calibrated_on = m[1];
                continue;
            }
            const bool of_tensor = strncmp(m[0], MQ_META_TENSOR, sizeof MQ_META_TENSOR - 1) == 0;
            if (of_tensor || (s == 0 && strcmp(m[0], MQ_META_SHARD) != 0)) {
                view->metadata[n++] = m[0];
                view->metadata[n++] = m[1];
            }
        }
    return MOEQ_OK;
}

static moeq_status open_set(struct mq_tensor_set *set, struct mq_view *view, moeq_error *err)
{
    for (size_t s = 0; s < set->shards_count; s++) {
        MQ_TRY(check_metadata(&set->shards[s], err));
        MQ_TRY(check_shard_number(&set->shards[s], s, set->shards_count, err));
    }
    view->kind = MQ_VIEW_MOEQ;
    MQ_TRY(merge_metadata(set, view, err));
    for (int side = 0; side < MQ_SIDE_COUNT; side++)
        MQ_TRY(read_side_tensor(set, (enum mq_side)side, view, err));
    const char *config_path = mq_arena_printf(view->arena, "%s: moeq.config.json", view->path);
    if (!config_path)
        return mq_fail_memory(err, "opening a model");
    MQ_TRY(mq_view_read_choices(view, view->metadata, view->path, err));
    mq_recall_tokenizer_problem(view);
    if (mq_metadata_get(view->metadata, MQ_META_LOSSES))
        MQ_TRY(mq_view_note(view, err, "%s", mq_metadata_get(view->metadata, MQ_META_LOSSES)));
    MQ_TRY(mq_config_parse(view, config_path, err));
    MQ_TRY(mq_view_build_from_set(view, set, err));
    return view->options.no_check ? MOEQ_OK : mq_checksums_open(view, set, err);
}

moeq_status mq_moeq_file_open(const char *path, struct mq_view *view, moeq_error *err)
{
    struct mq_tensor_set set = {0};
    moeq_status status = mq_tensor_set_open(&set, view->arena, &path, 1, true, err);
    if (status == MOEQ_OK)
        status = open_set(&set, view, err);
    mq_tensor_set_free(&set);
    return status;
}

/* Whether the index's sum is that of its tensors. */
static moeq_status check_total(const struct mq_moeq_index *index, const struct mq_tensor_set *set,
                               moeq_error *err)
{
    uint64_t total = 0; /* no overflow: the files have these bytes */
    for (size_t i = 0; i < set->count; i++)
        total += set->tensors[i].entry->size_bytes;
    if (total == index->total_bytes)
        return MOEQ_OK;
    return mq_fail_file(err, MOEQ_MALFORMED, index->path,
                        "total_size is %" PRIu64 ", its tensors have %" PRIu64 " bytes",
                        index->total_bytes, total);
}

moeq_status mq_moeq_index_open(const char *path, struct mq_view *view, moeq_error *err)
{
    struct mq_moeq_index index;
    struct mq_tensor_set set = {0};
    if (mq_path_exists(path))
        MQ_TRY(mq_view_remember(view, path, err));
    MQ_TRY(mq_moeq_index_read(path, view->arena, &index, err));
    moeq_status status = MOEQ_OK;
    view->index_path = index.path;
    const char **paths = mq_arena_alloc(view->arena, index.count, sizeof *paths);
    for (size_t i = 0; i < index.count; i++) {
        if (!paths || !(paths[i] = mq_moeq_index_shard_path(&index, i, view->arena))) {
            status = mq_fail_memory(err, "opening a model");
            goto out;
        }
        MQ_TRY_OUT(mq_moeq_index_check_shard(&index, i, paths[i], err));
    }
    MQ_TRY_OUT(mq_tensor_set_open(&set, view->arena, paths, index.count, true, err));
    MQ_TRY_OUT(mq_tensor_set_compare(&set, index.map, path, err));
    MQ_TRY_OUT(check_total(&index, &set, err));
    MQ_TRY_OUT(open_set(&set, view, err));
out:
    mq_tensor_set_free(&set);
    mq_moeq_index_free(&index);
    return status;
}
