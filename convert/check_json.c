/* check_json.c: what checks found, as JSON documents. */
#include "check_json.h"

#include "json_tree.h"
#include "view_json.h"

/* Which tensor; layer and expert null where there is none. */
static void put_place(struct mq_json_tree *b, cJSON *o, const char *tensor, const char *role,
                      int32_t layer, int32_t expert)
{
    mq_json_put_text(b, o, "tensor", tensor);
    mq_json_put_text(b, o, "role", role);
    mq_json_put(b, o, "layer", layer >= 0 ? cJSON_CreateNumber(layer) : cJSON_CreateNull());
    mq_json_put(b, o, "expert", expert >= 0 ? cJSON_CreateNumber(expert) : cJSON_CreateNull());
}

/* Of a check: matrices with zeros where weights should be. */
static cJSON *zeros_json(struct mq_json_tree *b, const struct mq_zeros *zeros)
{
    cJSON *list = mq_json_array(b);
    for (size_t i = 0; i < zeros->count && i < MQ_ZEROS_LISTED; i++) {
        const struct mq_zero_place *z = &zeros->listed[i];
        cJSON *t = mq_json_object(b);
        put_place(b, t, z->name, mq_role_name(z->role), z->layer, z->expert);
        mq_json_put_text(b, t, "file", z->path);
        mq_json_put_count(b, t, "offset_bytes", z->offset);
        mq_json_put_count(b, t, "size_bytes", z->bytes);
        mq_json_put_bool(b, t, "whole_tensor", z->whole);
        mq_json_put_text(b, t, "continues_in", z->into);
        mq_json_append(b, list, t);
    }
    return list;
}

/* Zero rows at the end of an embedding table or head, which are no problem. */
static cJSON *padding_json(struct mq_json_tree *b, const struct mq_zeros *zeros)
{
    cJSON *list = mq_json_array(b);
    for (int i = 0; i < 2; i++) {
        const struct mq_zero_place *z = &zeros->padding[i];
        if (!z->bytes)
            continue;
        cJSON *t = mq_json_object(b);
        mq_json_put_text(b, t, "tensor", z->name);
        mq_json_put_count(b, t, "rows", z->rows);
        mq_json_append(b, list, t);
    }
    return list;
}

static void put_zeros(struct mq_json_tree *b, cJSON *o, const struct mq_zeros *zeros)
{
    mq_json_put_count(b, o, "zero_tensors", zeros->count);
    mq_json_put(b, o, "zeros", zeros_json(b, zeros));
    mq_json_put(b, o, "zero_padding", padding_json(b, zeros));
}

static void put_integrity(struct mq_json_tree *b, cJSON *o, const struct mq_integrity_result *result,
                          bool ok)
{
    cJSON *list = mq_json_array(b);
    mq_json_put_count(b, o, "file_bytes", result->file_bytes);
    mq_json_put_bool(b, o, "ok", ok);
    mq_json_put_count(b, o, "tensors", result->tensors);
    mq_json_put_count(b, o, "tensors_checked", result->tensors_checked);
    mq_json_put_bool(b, o, "header_damaged", result->header_damaged);
    mq_json_put_bool(b, o, "checksums_damaged", result->checksums_damaged);
    mq_json_put_count(b, o, "damaged_tensors", result->damaged_count);
    for (size_t i = 0; i < result->listed_count; i++) {
        const struct mq_damage *d = &result->damaged[i];
        cJSON *t = mq_json_object(b);
        put_place(b, t, d->name, d->role, d->layer, d->expert);
        mq_json_put_count(b, t, "offset_bytes", d->offset);
        mq_json_put_count(b, t, "size_bytes", d->size_bytes);
        mq_json_put_hex(b, t, "stored_crc32", d->stored_crc);
        mq_json_put_hex(b, t, "computed_crc32", d->computed_crc);
        mq_json_append(b, list, t);
    }
    mq_json_put(b, o, "damaged", list);
    put_zeros(b, o, &result->zeros);
}

cJSON *mq_weights_json(const struct mq_view *view, const struct mq_weights_result *r)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_document(&b, "check");
    mq_json_put_text(&b, o, "file", view->path);
    mq_json_put_text(&b, o, "format", view->kind == MQ_VIEW_GGUF ? "gguf" : "safetensors");
    mq_json_put(&b, o, "notes", mq_view_notes_json(view));
    mq_json_put_bool(&b, o, "ok", r->zeros.count == 0);
    mq_json_put_bool(&b, o, "has_checksums", false);
    mq_json_put_count(&b, o, "file_bytes", r->file_bytes);
    mq_json_put_count(&b, o, "tensors", r->tensors);
    mq_json_put_count(&b, o, "weights", r->weights);
    mq_json_put_count(&b, o, "unread_tensors", r->unread_tensors);
    mq_json_put_count(&b, o, "unread_weights", r->unread_weights);
    mq_json_put_text(&b, o, "unread_levels", r->unread_levels);
    put_zeros(&b, o, &r->zeros);
    return mq_json_finish(&b, o);
}

cJSON *mq_integrity_json(const struct mq_integrity_result *result)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_document(&b, "check");
    mq_json_put_text(&b, o, "file", result->path);
    put_integrity(&b, o, result, mq_integrity_ok(result));
    return mq_json_finish(&b, o);
}

static const char *problem_text(const moeq_error *problem)
{
    return problem->status == MOEQ_OK ? NULL : problem->message;
}

cJSON *mq_shards_json(const struct mq_shards_result *result)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_document(&b, "check"), *files = mq_json_array(&b);
    uint64_t damaged = 0;
    for (size_t i = 0; i < result->count; i++) {
        const struct mq_shard_result *r = &result->shards[i];
        cJSON *file = mq_json_object(&b);
        mq_json_put_text(&b, file, "file", r->path);
        mq_json_put_text(&b, file, "problem", problem_text(&r->problem));
        put_integrity(&b, file, &r->integrity, r->problem.status == MOEQ_OK);
        mq_json_append(&b, files, file);
        damaged += r->integrity.damaged_count;
    }
    mq_json_put_text(&b, o, "file", result->path);
    mq_json_put_text(&b, o, "problem", problem_text(&result->problem));
    mq_json_put_count(&b, o, "file_bytes", result->file_bytes);
    mq_json_put_bool(&b, o, "ok", mq_shards_status(result, NULL) == MOEQ_OK);
    mq_json_put_count(&b, o, "tensors_checked", result->tensors_checked);
    mq_json_put_count(&b, o, "damaged_tensors", damaged);
    put_zeros(&b, o, &result->zeros);
    mq_json_put(&b, o, "files", files);
    return mq_json_finish(&b, o);
}

cJSON *mq_manifest_json(const char *path, const char *list, const struct mq_manifest *manifest)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_document(&b, "check"), *files = mq_json_array(&b);
    moeq_error problem = {0};
    mq_manifest_status(manifest, &problem);
    for (size_t i = 0; i < manifest->count; i++) {
        const struct mq_manifest_file *f = &manifest->files[i];
        cJSON *file = mq_json_object(&b);
        mq_json_put_text(&b, file, "file", f->path);
        mq_json_put_count(&b, file, "file_bytes", f->size_bytes);
        mq_json_put_bool(&b, file, "ok", mq_manifest_good(f));
        mq_json_put_text(&b, file, "sha256", f->found);
        mq_json_put_text(&b, file, "sha256_expected", f->expected);
        mq_json_append(&b, files, file);
    }
    mq_json_put_text(&b, o, "file", path);
    mq_json_put_text(&b, o, "manifest", list);
    mq_json_put_bool(&b, o, "ok", problem.status == MOEQ_OK);
    mq_json_put_text(&b, o, "problem", problem_text(&problem));
    mq_json_put_count(&b, o, "file_bytes", manifest->bytes);
    mq_json_put(&b, o, "files", files);
    return mq_json_finish(&b, o);
}

static cJSON *difference_json(struct mq_json_tree *b, const struct mq_against_difference *d)
{
    cJSON *o = mq_json_object(b);
    mq_json_put_text(b, o, "tensor", d->tensor);
    mq_json_put_text(b, o, "file", d->file);
    mq_json_put_text(b, o, "problem", d->why);
    mq_json_put(b, o, "expert",
                d->expert >= 0 ? cJSON_CreateNumber((double)d->expert) : cJSON_CreateNull());
    if (!d->why) {
        mq_json_put_count(b, o, "row", d->row);
        mq_json_put_count(b, o, "offset_bytes", d->offset);
        mq_json_put_count(b, o, "different_bytes", d->bytes);
    }
    mq_json_put_count(b, o, "size_bytes", d->size_bytes);
    return o;
}

cJSON *mq_against_json(const struct mq_view *output, const struct mq_view *source,
                       const struct mq_against_result *r)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_document(&b, "check"), *differences = mq_json_array(&b);
    cJSON *keys = mq_json_array(&b), *notes = mq_view_notes_json(source);
    for (size_t i = 0; i < r->listed_count; i++)
        mq_json_append(&b, differences, difference_json(&b, &r->differences[i]));
    for (size_t i = 0; i < r->keys_count; i++) {
        cJSON *key = mq_json_object(&b);
        mq_json_put_text(&b, key, "key", r->keys[i].key);
        mq_json_put_text(&b, key, "expected", r->keys[i].expected);
        mq_json_put_text(&b, key, "found", r->keys[i].found);
        mq_json_append(&b, keys, key);
    }
    for (size_t i = 0; i < r->notes_count; i++)
        mq_json_append(&b, notes, cJSON_CreateString(r->notes[i]));
    mq_json_put_text(&b, o, "file", output->path);
    mq_json_put_text(&b, o, "against", source->path);
    mq_json_put_bool(&b, o, "ok", mq_against_equal(r));
    mq_json_put(&b, o, "notes", notes);
    mq_json_put_count(&b, o, "tensors", r->tensors);
    mq_json_put_count(&b, o, "bytes", r->bytes);
    mq_json_put_count(&b, o, "different", r->different);
    mq_json_put(&b, o, "differences", differences);
    mq_json_put(&b, o, "different_keys", keys);
    return mq_json_finish(&b, o);
}
