/* moeq_file.c: opening a moeq file as a model view. The format is in FORMAT.md. */
#include "view_int.h"

#include "error.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Inflates a zlib stream of unknown length, at most `cap` bytes. */
static moeq_status inflate_all(const unsigned char *bytes, size_t n, uint64_t cap,
                               struct mq_buffer *out, const char **problem)
{
    z_stream z = {.next_in = (unsigned char *)bytes, .avail_in = (uInt)n};
    unsigned char chunk[16384];
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

static moeq_status read_side_tensor(const struct mq_safetensors *st,
                                    const struct mq_side_file *side, struct mq_view *view,
                                    moeq_error *err)
{
    const char *path = st->file.path;
    const struct mq_st_entry *e = mq_safetensors_find(st, side->tensor_name);
    if (!e)
        return side->required ? mq_fail_file(err, MOEQ_MALFORMED, path, "tensor '%s' is missing",
                                             side->tensor_name)
                              : MOEQ_OK;
    if (e->dtype != MQ_U8 || e->dims != 1 || e->size_bytes > UINT_MAX)
        return mq_fail_tensor(err, MOEQ_MALFORMED, path, e->name, e->offset, "expected U8 [bytes]");
    unsigned char *packed = malloc(e->size_bytes + 1);
    if (!packed)
        return mq_fail_memory(err, "opening a model");
    moeq_status status = mq_file_read_at(&st->file, e->offset, packed, e->size_bytes, err);
    if (status == MOEQ_OK) {
        const char *problem;
        status =
            inflate_all(packed, e->size_bytes, side->cap_bytes, mq_view_side(view, side), &problem);
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

/* What people hand over instead: said plainly, where the safetensors reader could only say that the
 * first eight bytes are no sensible length. */
static moeq_status refuse_other_formats(const char *path, moeq_error *err)
{
    static const struct {
        const char *magic, *what;
    } others[] = {
        {"PK\x03\x04",
         "is a zip archive, as PyTorch's pickle files are, which can run code when "
         "loaded; moeq reads Hugging Face folders (safetensors), moeq and GGUF files"},
        {"{", "is JSON; for a Hugging Face model give its folder"},
    };
    char start[4] = "";
    struct mq_file file;
    MQ_TRY(mq_file_open(path, &file, err));
    const size_t n = file.size_bytes < sizeof start ? (size_t)file.size_bytes : sizeof start;
    moeq_status status = mq_file_read_at(&file, 0, start, n, err);
    for (size_t i = 0; i < sizeof others / sizeof *others && status == MOEQ_OK; i++)
        if (memcmp(start, others[i].magic, strlen(others[i].magic)) == 0)
            status = mq_fail_file(err, MOEQ_UNSUPPORTED, path, "%s", others[i].what);
    mq_file_close(&file);
    return status;
}

moeq_status mq_moeq_file_open(const char *path, struct mq_view *view, moeq_error *err)
{
    MQ_TRY(refuse_other_formats(path, err));
    struct mq_tensor_set set;
    moeq_status status = mq_tensor_set_open(&set, view->arena, "", &path, 1, err);
    if (status != MOEQ_OK)
        goto out;
    const struct mq_safetensors *st = &set.shards[0];
    MQ_TRY_OUT(check_metadata(st, err));
    view->is_moeq = true;
    view->metadata = st->metadata;
    for (size_t i = 0; i < mq_side_files_count; i++)
        MQ_TRY_OUT(read_side_tensor(st, &mq_side_files[i], view, err));
    const char *config_path = mq_arena_printf(view->arena, "%s: moeq.config.json", path);
    if (!config_path) {
        status = mq_fail_memory(err, "opening a model");
        goto out;
    }
    MQ_TRY_OUT(mq_config_parse(view->config_json.data, view->config_json.size, config_path,
                               &view->family, &view->hparams, err));
    MQ_TRY_OUT(mq_view_build_from_set(view, &set, err));
out:
    mq_tensor_set_free(&set);
    return status;
}
