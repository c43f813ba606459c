/* stored_table.c: see the header. */
#include "stored_table.h"

#include "error.h"
#include "moeq_profile.h"
#include "safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static moeq_status grow(void *rows, size_t size, size_t count, size_t more, moeq_error *err)
{
    void **at = rows;
    void *larger = realloc(*at, (count + more + 1) * size);
    if (!larger)
        return mq_fail_memory(err, "comparing files");
    *at = larger;
    return MOEQ_OK;
}

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void add_key(struct mq_stored_table *t, const struct mq_stored_key *key)
{
    if (mq_strmap_add(&t->by_key, key->name, strlen(key->name), (uint32_t)t->keys_count) ==
        MQ_STRMAP_ADDED)
        t->keys[t->keys_count++] = *key;
}

static moeq_status add_tensor(struct mq_stored_table *t, const struct mq_stored_tensor *tensor,
                              moeq_error *err)
{
    if (!tensor->kind)
        return mq_fail_memory(err, "comparing files");
    if (mq_strmap_add(&t->by_name, tensor->name, strlen(tensor->name), (uint32_t)t->count) ==
        MQ_STRMAP_NO_MEMORY)
        return mq_fail_memory(err, "comparing files");
    t->tensors[t->count] = *tensor;
    t->tensors[t->count++].first_unit = t->units;
    t->units += (size_t)tensor->experts;
    return MOEQ_OK;
}

/* ---- safetensors ---- */

static const char *kind_of_entry(struct mq_arena *arena, const struct mq_st_entry *e)
{
    if (e->dims == 2)
        return mq_arena_printf(arena, "%s [%" PRIu64 ", %" PRIu64 "]", mq_dtype_name(e->dtype),
                               e->shape[0], e->shape[1]);
    return mq_arena_printf(arena, "%s [%" PRIu64 "]", mq_dtype_name(e->dtype), e->shape[0]);
}

static moeq_status add_safetensors(struct mq_stored_table *t, const struct mq_safetensors *st,
                                   uint32_t file, moeq_error *err)
{
    size_t pairs = 0;
    while (st->metadata[2 * pairs])
        pairs++;
    MQ_TRY(grow(&t->tensors, sizeof *t->tensors, t->count, st->count, err));
    MQ_TRY(grow(&t->keys, sizeof *t->keys, t->keys_count, pairs, err));
    for (size_t i = 0; i < st->count; i++) {
        const struct mq_st_entry *e = &st->entries[i];
        if (begins(e->name, MQ_PAD_PREFIX) || strcmp(e->name, MQ_CRC_NAME) == 0)
            continue;
        const bool matrix = e->dims == 2 && e->shape[0];
        const struct mq_stored_tensor tensor = {.name = e->name,
                                                .kind = kind_of_entry(t->arena, e),
                                                .file = file,
                                                .offset = e->offset,
                                                .size_bytes = e->size_bytes,
                                                .row_bytes = matrix ? e->size_bytes / e->shape[0]
                                                                    : e->size_bytes,
                                                .experts = 1};
        MQ_TRY(add_tensor(t, &tensor, err));
    }
    for (size_t i = 0; i < pairs; i++) {
        const struct mq_stored_key key = {.name = st->metadata[2 * i],
                                          .bytes = st->metadata[2 * i + 1],
                                          .size = strlen(st->metadata[2 * i + 1]),
                                          .is_text = true};
        add_key(t, &key);
    }
    return MOEQ_OK;
}

/* ---- GGUF ---- */

static const char *show(struct mq_arena *arena, const struct mq_gguf *g,
                        const struct mq_gguf_key *key)
{
    double number;
    bool yes;
    if (key->type == MQ_GGUF_ARRAY)
        return mq_arena_printf(arena, "a list of %" PRIu64, key->count);
    if (mq_gguf_bool(g, key, &yes))
        return yes ? "true" : "false";
    return mq_gguf_number(g, key, 0, &number) ? mq_arena_printf(arena, "%.7g", number) : NULL;
}

static moeq_status add_gguf(struct mq_stored_table *t, const struct mq_gguf *g, uint32_t file,
                            moeq_error *err)
{
    MQ_TRY(grow(&t->tensors, sizeof *t->tensors, t->count, g->tensors_count, err));
    MQ_TRY(grow(&t->keys, sizeof *t->keys, t->keys_count, g->keys_count, err));
    for (size_t i = 0; i < g->tensors_count; i++) {
        const struct mq_gguf_tensor *e = &g->tensors[i];
        const struct mq_stored_tensor tensor = {
            .name = e->name,
            .kind = mq_arena_printf(t->arena, "%s [%" PRIu64 ", %" PRIu64 ", %" PRIu64 "]",
                                    e->type->name, e->ne[0], e->ne[1], e->ne[2]),
            .file = file,
            .offset = e->offset,
            .size_bytes = e->size_bytes,
            .row_bytes = e->row_bytes,
            .experts = e->dims == 3 && e->ne[2] ? e->ne[2] : 1};
        MQ_TRY(add_tensor(t, &tensor, err));
    }
    for (size_t i = 0; i < g->keys_count; i++) {
        const struct mq_gguf_key *k = &g->keys[i];
        const bool text = k->type == MQ_GGUF_STRING; /* behind its length */
        const struct mq_stored_key key = {.name = k->name,
                                          .bytes = g->header + k->offset + (text ? 8 : 0),
                                          .size = (size_t)k->size_bytes - (text ? 8 : 0),
                                          .type = (uint64_t)k->type << 8 | k->element,
                                          .is_text = text,
                                          .shown = text ? NULL : show(t->arena, g, k)};
        add_key(t, &key);
    }
    return MOEQ_OK;
}

/* ---- files ---- */

static moeq_status begin(struct mq_stored_table *t, size_t files, moeq_error *err)
{
    *t = (struct mq_stored_table){.arena = mq_arena_create()};
    t->gguf = t->arena ? mq_arena_alloc(t->arena, files, sizeof *t->gguf) : NULL;
    if (!t->gguf || !mq_strmap_init(&t->by_name, 1024) || !mq_strmap_init(&t->by_key, 1024))
        return mq_fail_memory(err, "comparing files");
    return MOEQ_OK;
}

moeq_status mq_stored_table_of_view(struct mq_stored_table *t, const struct mq_view *v,
                                    moeq_error *err)
{
    MQ_TRY(begin(t, v->files_count, err));
    for (uint32_t i = 0; i < v->files_count; i++) {
        const char *path = v->files[i].file.path;
        if (v->kind == MQ_VIEW_GGUF) {
            t->gguf_count = i + 1;
            MQ_TRY(mq_gguf_read(path, t->arena, &t->gguf[i], err));
            MQ_TRY(add_gguf(t, &t->gguf[i], i, err));
            continue;
        }
        struct mq_safetensors st = {0};
        moeq_status status = mq_safetensors_open(path, t->arena, &st, err);
        if (status == MOEQ_OK)
            status = add_safetensors(t, &st, i, err);
        mq_safetensors_close(&st);
        MQ_TRY(status);
    }
    return MOEQ_OK;
}

static moeq_status add_planned(struct mq_stored_table *t, const struct mq_plan_file *f,
                               uint32_t file, moeq_error *err)
{
    static char name[] = "what is to be written";
    struct mq_safetensors st = {.file = {.fd = -1, .path = name}, .header_bytes = f->header_bytes};
    moeq_status status = mq_safetensors_parse(f->header + 8, (size_t)f->header_bytes - 8,
                                              f->file_bytes - f->header_bytes, t->arena, &st, err);
    if (status == MOEQ_OK)
        status = add_safetensors(t, &st, file, err);
    mq_strmap_free(&st.by_name);
    return status;
}

moeq_status mq_stored_table_of_plan(struct mq_stored_table *t, const struct mq_plan *plan,
                                    bool gguf, moeq_error *err)
{
    MQ_TRY(begin(t, plan->files_count, err));
    for (uint32_t i = plan->has_index; i < plan->files_count; i++) {
        const struct mq_plan_file *f = &plan->files[i];
        if (gguf) {
            t->gguf_count = i + 1;
            MQ_TRY(mq_gguf_parse_header("what is to be written", f->header, (size_t)f->header_bytes,
                                        f->file_bytes, t->arena, &t->gguf[i], err));
            MQ_TRY(add_gguf(t, &t->gguf[i], i, err));
        } else {
            MQ_TRY(add_planned(t, f, i, err));
        }
    }
    return MOEQ_OK;
}

void mq_stored_table_free(struct mq_stored_table *t)
{
    for (size_t i = 0; i < t->gguf_count; i++)
        mq_gguf_close(&t->gguf[i]);
    free(t->tensors);
    free(t->keys);
    mq_strmap_free(&t->by_name);
    mq_strmap_free(&t->by_key);
    mq_arena_destroy(t->arena);
    *t = (struct mq_stored_table){0};
}

const struct mq_stored_tensor *mq_stored_find(const struct mq_stored_table *t, const char *name)
{
    uint32_t i;
    return mq_strmap_get(&t->by_name, name, strlen(name), &i) ? &t->tensors[i] : NULL;
}

const struct mq_stored_key *mq_stored_find_key(const struct mq_stored_table *t, const char *name)
{
    uint32_t i;
    return mq_strmap_get(&t->by_key, name, strlen(name), &i) ? &t->keys[i] : NULL;
}

const struct mq_stored_tensor *mq_stored_at(const struct mq_stored_table *t, uint32_t file,
                                            uint64_t offset)
{
    size_t low = 0, high = t->count; /* the first that begins behind it */
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct mq_stored_tensor *m = &t->tensors[middle];
        if (m->file < file || (m->file == file && m->offset <= offset))
            low = middle + 1;
        else
            high = middle;
    }
    const struct mq_stored_tensor *at = low ? &t->tensors[low - 1] : NULL;
    return at && at->file == file && offset - at->offset < at->size_bytes ? at : NULL;
}
