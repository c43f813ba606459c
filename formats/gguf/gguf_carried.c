/* gguf_carried.c: metadata from a GGUF file, by way of a view, into another. */
#include "gguf_carried.h"

#include "error.h"
#include "open_options.h"

#include <string.h>

enum { MAX_CARRIED_BYTES = 256 << 20 }; /* as mq_side_files has it */

static bool describes_file(const char *name)
{
    return strcmp(name, MQ_GGUF_KEY_ALIGNMENT) == 0 || strncmp(name, "split.", 6) == 0;
}

static void put_key(struct mq_gguf_writer *w, const struct mq_gguf *g,
                    const struct mq_gguf_key *key)
{
    mq_gguf_put_value(w, key->name, key->type, key->element, key->count, g->header + key->offset,
                      (size_t)key->size_bytes);
}

moeq_status mq_gguf_carry(const struct mq_gguf *gguf, struct mq_view *view, moeq_error *err)
{
    struct mq_gguf_writer w = {.architecture = ""};
    for (size_t i = 0; i < gguf->keys_count; i++)
        if (!describes_file(gguf->keys[i].name))
            put_key(&w, gguf, &gguf->keys[i]);
    MQ_TRY(mq_gguf_writer_finish(&w, &view->side[MQ_SIDE_GGUF_METADATA], err));
    if (view->side[MQ_SIDE_GGUF_METADATA].size <= MAX_CARRIED_BYTES)
        return MOEQ_OK;
    const size_t size = view->side[MQ_SIDE_GGUF_METADATA].size;
    mq_buffer_free(&view->side[MQ_SIDE_GGUF_METADATA]);
    return mq_view_note(view, err,
                        "its metadata of %zu bytes are too large to be kept (%d at most): what is "
                        "made of it has only what moeq knows",
                        size, MAX_CARRIED_BYTES);
}

moeq_status mq_gguf_read_carried(const struct mq_view *view, struct mq_arena *arena,
                                 struct mq_gguf *gguf, moeq_error *err)
{
    const char *path = mq_arena_printf(arena, "%s: metadata of GGUF", view->path);
    memset(gguf, 0, sizeof *gguf);
    gguf->file.fd = -1;
    if (!path)
        return mq_fail_memory(err, "planning");
    MQ_TRY(mq_gguf_parse(path, view->side[MQ_SIDE_GGUF_METADATA].data,
                         view->side[MQ_SIDE_GGUF_METADATA].size, arena, gguf, err));
    if (gguf->tensors_count)
        return mq_fail_file(err, MOEQ_MALFORMED, path, "expected no tensors, found %zu",
                            gguf->tensors_count);
    return MOEQ_OK;
}

/* LLAMA_FTYPE_MOSTLY_* of mixes, and of a file that is of their main type alone. */
static const struct {
    uint32_t mix, plain;
} mixes[] = {
    {12, 11} /* Q3_K_M */, {13, 11} /* Q3_K_L */, {15, 14} /* Q4_K_M */, {17, 16} /* Q5_K_M */,
    {21, 10} /* Q2_K_S */, {22, 23} /* IQ3_XS */, {22, 26},              {27, 26} /* IQ3_M */,
    {29, 28} /* IQ2_M */,  {29, 20},
};

bool mq_gguf_kept_file_type(const struct mq_gguf *carried, uint32_t *file_type)
{
    const struct mq_gguf_key *key = carried ? mq_gguf_find(carried, MQ_GGUF_KEY_FILE_TYPE) : NULL;
    uint64_t value;
    if (!key || key->type == MQ_GGUF_ARRAY || !mq_gguf_whole(carried, key, 0, &value) ||
        value > UINT32_MAX)
        return false;
    *file_type = (uint32_t)value;
    return true;
}

uint32_t mq_gguf_file_type(const struct mq_gguf *carried, uint32_t file_type)
{
    uint32_t value;
    if (mq_gguf_kept_file_type(carried, &value))
        for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++)
            if (mixes[i].mix == value && mixes[i].plain == file_type)
                return value;
    return file_type;
}

void mq_gguf_put_carried(struct mq_gguf_writer *w, const struct mq_gguf *carried)
{
    for (size_t i = 0; i < carried->keys_count; i++)
        if (!mq_gguf_writer_has(w, carried->keys[i].name) && !describes_file(carried->keys[i].name))
            put_key(w, carried, &carried->keys[i]);
}
