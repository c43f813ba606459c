/* st_edit.c: reading safetensors files with the project's reader, writing them with its own few
 * lines. */
#include "st_edit.h"

#include "buffer.h"
#include "safetensors.h"
#include "test_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void st_edit_load(struct st_edit *edit, const char *path)
{
    struct mq_arena *arena = mq_arena_create();
    struct mq_safetensors st;
    moeq_error err = {0};
    ck_assert_msg(mq_safetensors_open(path, arena, &st, &err) == MOEQ_OK, "%s", err.message);
    for (size_t i = 0; i < st.count; i++) {
        const struct mq_st_entry *e = &st.entries[i];
        struct st_item *item = st_edit_add(edit, e->name, e->dtype, 0, 0, 0);
        item->dims = e->dims;
        memcpy(item->shape, e->shape, sizeof item->shape);
        free(item->bytes);
        item->size = (size_t)e->size_bytes;
        item->bytes = malloc(item->size + 1);
        ck_assert_ok(mq_file_read_at(&st.file, e->offset, item->bytes, item->size, &err));
    }
    mq_safetensors_close(&st);
    mq_arena_destroy(arena);
}

void st_edit_save(const struct st_edit *edit, const char *path)
{
    struct mq_buffer header = {0}, file = {0};
    size_t offset = 0;
    mq_buffer_putc(&header, '{');
    for (size_t i = 0; i < edit->count; i++) {
        const struct st_item *item = &edit->items[i];
        mq_buffer_printf(&header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "",
                         item->name, mq_dtype_name(item->dtype));
        for (uint32_t d = 0; d < item->dims; d++)
            mq_buffer_printf(&header, "%s%" PRIu64, d ? "," : "", item->shape[d]);
        mq_buffer_printf(&header, "],\"data_offsets\":[%zu,%zu]}", offset, offset + item->size);
        offset += item->size;
    }
    mq_buffer_putc(&header, '}');
    while (header.size % 8)
        mq_buffer_putc(&header, ' ');
    for (size_t i = 0; i < 8; i++)
        mq_buffer_putc(&file, (char)(header.size >> 8 * i));
    mq_buffer_append(&file, header.data, header.size);
    for (size_t i = 0; i < edit->count; i++)
        mq_buffer_append(&file, edit->items[i].bytes, edit->items[i].size);
    ck_assert(mq_buffer_ok(&file));
    test_write(path, file.data, file.size);
    mq_buffer_free(&header);
    mq_buffer_free(&file);
}

void st_edit_free(struct st_edit *edit)
{
    for (size_t i = 0; i < edit->count; i++)
        free(edit->items[i].bytes);
    edit->count = 0;
}

struct st_item *st_edit_find(struct st_edit *edit, const char *name)
{
    for (size_t i = 0; i < edit->count; i++)
        if (strcmp(edit->items[i].name, name) == 0)
            return &edit->items[i];
    return NULL;
}

void st_edit_remove(struct st_edit *edit, const char *name)
{
    struct st_item *item = st_edit_find(edit, name);
    ck_assert_msg(item != NULL, "no tensor %s", name);
    free(item->bytes);
    *item = edit->items[--edit->count];
}

struct st_item *st_edit_add(struct st_edit *edit, const char *name, enum mq_dtype dtype,
                            uint32_t dims, uint64_t a, uint64_t b)
{
    ck_assert_uint_lt(edit->count, sizeof edit->items / sizeof *edit->items);
    struct st_item *item = &edit->items[edit->count++];
    *item = (struct st_item){.dtype = dtype, .dims = dims, .shape = {a, b}};
    snprintf(item->name, sizeof item->name, "%s", name);
    item->size = (dims > 0 ? a : 1) * (dims > 1 ? b : 1) * mq_dtype_bytes(dtype);
    item->bytes = calloc(item->size + 1, 1);
    ck_assert_ptr_nonnull(item->bytes);
    return item;
}

void st_edit_prefix(struct st_edit *edit, const char *old, const char *new)
{
    for (size_t i = 0; i < edit->count; i++) {
        char name[256];
        if (strncmp(edit->items[i].name, old, strlen(old)) != 0)
            continue;
        snprintf(name, sizeof name, "%s%s", new, edit->items[i].name + strlen(old));
        memcpy(edit->items[i].name, name, sizeof name);
    }
}
