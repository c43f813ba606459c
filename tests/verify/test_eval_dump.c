/* The dump against the reference outputs of a checkpoint: same keys, dtypes and shapes, values
 * within what f32 arithmetic in another order gives; refusals. */
#include "test_support.h"
#include "eval_dump.h"
#include "safetensors.h"
#include "stored.h"
#include "st_writer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct mq_context context(void)
{
    return (struct mq_context){.isa = mq_isa_detect(), .threads = 2};
}

static void *read_entry(const struct mq_safetensors *st, const struct mq_st_entry *e)
{
    void *bytes = malloc(e->size_bytes + 1);
    ck_assert_ok(mq_file_read_at(&st->file, e->offset, bytes, e->size_bytes, NULL));
    return bytes;
}

/* Every tensor of the dump is in the reference with the same type and shape, and near it. */
static void compare(const char *dump, const char *reference, size_t expected_tensors)
{
    struct mq_arena *arena = mq_arena_create();
    struct mq_safetensors a, b;
    ck_assert_ok(mq_safetensors_open(dump, arena, &a, NULL));
    ck_assert_ok(mq_safetensors_open(reference, arena, &b, NULL));
    ck_assert_uint_eq(a.count, expected_tensors);
    ck_assert_str_eq(mq_metadata_get(a.metadata, "compute"), "f32");
    for (size_t i = 0; i < a.count; i++) {
        const struct mq_st_entry *e = &a.entries[i], *f = mq_safetensors_find(&b, e->name);
        ck_assert_msg(f != NULL, "%s", e->name);
        ck_assert_msg(e->dtype == f->dtype && e->dims == f->dims &&
                          memcmp(e->shape, f->shape, e->dims * sizeof *e->shape) == 0,
                      "%s", e->name);
        float *x = read_entry(&a, e), *y = read_entry(&b, f);
        if (e->dtype == MQ_I32) {
            ck_assert_msg(memcmp(x, y, e->size_bytes) == 0, "%s", e->name);
        } else {
            double error = 0, size = 0;
            for (size_t k = 0; k < e->size_bytes / 4; k++) {
                /* no fmax: GCC 12 for arm64 fails on two of them in a loop */
                const double here = fabs((double)x[k] - (double)y[k]), top = fabs((double)y[k]);
                error = here > error ? here : error;
                size = top > size ? top : size;
            }
            ck_assert_msg(error <= 1e-4 * size, "%s: %g of %g", e->name, error, size);
        }
        free(x);
        free(y);
    }
    mq_safetensors_close(&a);
    mq_safetensors_close(&b);
    mq_arena_destroy(arena);
}

static void dump(const char *model, const char *golden, bool hidden, size_t tensors)
{
    const struct mq_context ctx = context();
    const char *output = mq_test_temporary("dump.safetensors");
    const struct mq_dump_options options = {
        .ids_path = golden, .output_path = output, .hidden = hidden};
    struct mq_dump_result result;
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_msg(mq_model_open(model, &view, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_msg(mq_eval_dump(&ctx, view, &options, &result, &err) == MOEQ_OK, "%s", err.message);
    compare(output, golden, tensors);
    mq_view_close(view);
}

#define ORACLES "tests/fixtures/oracles/"

START_TEST(mixtral)
{
    /* logits; router.{0,1}.{logits,experts,weights}; hidden.{0,1,2} */
    const char *model = mq_test_source(ORACLES "mixtral");
    dump(model, mq_test_source(ORACLES "mixtral/golden.safetensors"), false, 1 + 6);
    dump(model, mq_test_source(ORACLES "mixtral/golden.safetensors"), true, 1 + 6 + 3);
}
END_TEST

START_TEST(dense)
{
    dump(mq_test_source(ORACLES "mistral"), mq_test_source(ORACLES "mistral/golden.safetensors"),
         false, 1);
}
END_TEST

static void write_ids(const char *path, enum mq_dtype dtype, uint32_t dims, const void *ids,
                      uint64_t n)
{
    struct mq_st_entry entry = {.name = "input_ids", .dtype = dtype, .dims = dims, .shape = {1, n}};
    struct mq_st_writer writer;
    if (dims == 1)
        entry.shape[0] = n;
    ck_assert_ok(mq_st_writer_open(&writer, path, &entry, 1, NULL, NULL, NULL));
    ck_assert_ok(mq_st_writer_put(&writer, 0, 0, ids, n * mq_dtype_bytes(dtype), NULL));
    ck_assert_ok(mq_st_writer_finish(&writer, NULL));
}

static moeq_status try_ids(const struct mq_view *view, const char *ids, const char *output,
                           moeq_error *err)
{
    const struct mq_context ctx = context();
    const struct mq_dump_options options = {.ids_path = ids, .output_path = output};
    struct mq_dump_result result;
    memset(err, 0, sizeof *err);
    return mq_eval_dump(&ctx, view, &options, &result, err);
}

START_TEST(ids)
{
    const char *path = mq_test_temporary("ids.safetensors"),
               *out = mq_test_temporary("o.safetensors");
    const int64_t wide[] = {1, 5, 255}, beyond[] = {1, 5, 256}, far[] = {1, (int64_t)1 << 32};
    const int32_t negative[] = {3, -1};
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source(ORACLES "mixtral"), &view, &err));
    write_ids(path, MQ_I64, 2, wide, 3);
    ck_assert_int_eq(try_ids(view, path, out, &err), MOEQ_OK);
    write_ids(path, MQ_I64, 2, beyond, 3);
    ck_assert_int_eq(try_ids(view, path, out, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(
        strstr(err.message, "id 256 (number 2) is outside the vocabulary of 256"));
    write_ids(path, MQ_I64, 2, far, 2);
    ck_assert_int_eq(try_ids(view, path, out, &err), MOEQ_INVALID_ARGUMENT);
    write_ids(path, MQ_I32, 2, negative, 2);
    ck_assert_int_eq(try_ids(view, path, out, &err), MOEQ_INVALID_ARGUMENT);
    write_ids(path, MQ_I32, 1, negative, 2);
    ck_assert_int_eq(try_ids(view, path, out, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "I32 or I64 [windows, tokens]"));
    mq_view_close(view);
}
END_TEST

START_TEST(output_is_input)
{
    const char *path = mq_test_temporary("x.safetensors");
    const int32_t good[] = {3, 4};
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source(ORACLES "mixtral"), &view, &err));
    write_ids(path, MQ_I32, 2, good, 2);
    ck_assert_int_eq(try_ids(view, path, path, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "would replace an input"));
    ck_assert(mq_path_exists(path));
    ck_assert_int_eq(try_ids(view, path, view->files[0].file.path, &err), MOEQ_INVALID_ARGUMENT);
    mq_view_close(view);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, mixtral);
    tcase_add_test(tests, dense);
    tcase_add_test(tests, ids);
    tcase_add_test(tests, output_is_input);
}

int main(void)
{
    return mq_test_main("eval_dump", add);
}
