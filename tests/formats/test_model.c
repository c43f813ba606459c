/* test_model.c: copies of the reference models for tests that damage or convert them. */
#include "stored.h"
#include "test_model.h"

#include "st_edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *test_path(const char *folder, const char *file)
{
    static char ring[8][1024];
    static unsigned next;
    char *path = ring[next++ % 8];
    snprintf(path, sizeof ring[0], "%s/%s", folder, file);
    return path;
}

const char *test_model_copy(const char *relative, const char *name)
{
    char command[4096];
    const char *to = mq_test_temporary(name);
    snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s' '%s' && chmod -R u+w '%s'", to,
             mq_test_source(relative), to, to);
    ck_assert_int_eq(system(command), 0);
    return to;
}

struct mq_buffer test_read(const char *path)
{
    struct mq_buffer bytes;
    moeq_error err = {0};
    ck_assert_msg(mq_file_read_all(path, 1 << 28, &bytes, &err) == MOEQ_OK, "%s", err.message);
    return bytes;
}

void test_write(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_msg(f != NULL, "cannot write %s", path);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

void test_replace(const char *path, const char *old, const char *new)
{
    struct mq_buffer bytes = test_read(path), out = {0};
    const char *at = memmem(bytes.data, bytes.size, old, strlen(old));
    ck_assert_msg(at != NULL, "%s holds no '%s'", path, old);
    mq_buffer_append(&out, bytes.data, (size_t)(at - bytes.data));
    mq_buffer_puts(&out, new);
    at += strlen(old);
    mq_buffer_append(&out, at, bytes.size - (size_t)(at - bytes.data));
    test_write(path, out.data, out.size);
    mq_buffer_free(&bytes);
    mq_buffer_free(&out);
}

bool test_files_equal(const char *a, const char *b)
{
    struct mq_buffer x = test_read(a), y = test_read(b);
    const bool equal = x.size == y.size && memcmp(x.data, y.data, x.size) == 0;
    mq_buffer_free(&x);
    mq_buffer_free(&y);
    return equal;
}

moeq_status test_convert_sharded(const char *model, const char *level, uint64_t shard_bytes,
                                 const char *output, bool keep, const struct mq_context *context,
                                 struct mq_convert_result *result, moeq_error *err)
{
    const struct mq_context plain = {.isa = MQ_ISA_GENERIC, .threads = 2};
    const struct mq_convert_options options = {.output = output, .replace = !keep};
    const struct mq_policy policy = mq_policy_default(mq_level_find(level));
    struct mq_convert_result unused;
    struct mq_view *view = NULL;
    struct mq_plan *plan = NULL;
    moeq_status status = mq_model_open(model, &view, err);
    if (status == MOEQ_OK)
        status = mq_plan_create_sharded(view, &policy, shard_bytes, &plan, err);
    if (status == MOEQ_OK)
        status =
            mq_convert(context ? context : &plain, plan, &options, result ? result : &unused, err);
    mq_plan_free(plan);
    mq_view_close(view);
    return status;
}

const char *test_f8_model(const char *name, bool claimed)
{
    static const char tensor[] = "model.layers.0.self_attn.o_proj.weight";
    static struct st_edit edit;
    const float scale = 0.015625f;
    const char *folder = test_model_copy("tests/fixtures/oracles/llama2", name);
    const char *weights = test_path(folder, "model.safetensors");
    st_edit_load(&edit, weights);
    const struct st_item *old = st_edit_find(&edit, tensor);
    ck_assert_ptr_nonnull(old);
    const uint64_t rows = old->shape[0], cols = old->shape[1];
    st_edit_remove(&edit, tensor);
    struct st_item *codes = st_edit_add(&edit, tensor, MQ_F8_E4M3, 2, rows, cols);
    for (size_t i = 0; i < codes->size; i++) /* none is NaN */
        codes->bytes[i] = (unsigned char)(i * 7 % 96 + (i & 1) * 128);
    struct st_item *scales = st_edit_add(&edit, "model.layers.0.self_attn.o_proj.weight_scale_inv",
                                         MQ_F32, 2, (rows + 127) / 128, (cols + 127) / 128);
    for (size_t i = 0; i < scales->size; i += sizeof scale)
        memcpy(scales->bytes + i, &scale, sizeof scale);
    st_edit_save(&edit, weights);
    st_edit_free(&edit);
    if (claimed)
        test_replace(test_path(folder, "config.json"), "{",
                     "{\"quantization_config\": {\"quant_method\": \"fp8\", "
                     "\"weight_block_size\": [128, 128]}, ");
    return folder;
}

struct mq_view *test_open(const char *path)
{
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_msg(mq_model_open(path, &view, &err) == MOEQ_OK, "%s", err.message);
    return view;
}

moeq_status test_convert(const char *model, const char *level, const char *output,
                         const struct mq_context *context, struct mq_convert_result *result,
                         moeq_error *err)
{
    return test_convert_sharded(model, level, 0, output, false, context, result, err);
}

void test_stop_progress(void *stopper, const struct mq_progress *progress)
{
    struct test_stopper *s = stopper;
    ck_assert_uint_le(progress->done, progress->total);
    if (--s->left == 0)
        atomic_store(&s->cancel, true);
}

void test_refused(const char *path, moeq_status status, const char *message)
{
    struct mq_view *view;
    moeq_error err = {0};
    struct mq_buffer expected = {0};
    for (const char *p = message; *p; p++) {
        if (p[0] == '%' && p[1] == 's') {
            mq_buffer_puts(&expected, path);
            p++;
        } else {
            mq_buffer_putc(&expected, *p);
        }
    }
    const moeq_status found = mq_model_open(path, &view, &err);
    ck_assert_str_eq(err.message, expected.data);
    ck_assert_int_eq(found, status);
    ck_assert_int_eq(err.status, status);
    ck_assert_ptr_null(view);
    mq_buffer_free(&expected);
}
