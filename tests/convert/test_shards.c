/*
 * test_shards.c: moeq models in several files: the same tensors as in one, whatever the size; which
 * tensors stand together; what is said of missing, foreign and damaged files; resuming.
 */
#include "moeq_index.h"
#include "moeq_profile.h"
#include "safetensors.h"
#include "stored.h"
#include "test_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEMO "demo/model"

enum { MIB = 1 << 20, SHARDS = 5 }; /* what 1 MiB makes of the demo at q4_k */

static struct mq_context fast(void)
{
    return (struct mq_context){.isa = mq_isa_detect(), .threads = 3};
}

/* A fresh folder; static storage of the caller. */
static void make_folder(const char *name, char folder[1024])
{
    char command[2100];
    snprintf(folder, 1024, "%s", mq_test_temporary(name));
    snprintf(command, sizeof command, "rm -rf '%s' && mkdir '%s'", folder, folder);
    ck_assert_int_eq(system(command), 0);
}

static void shard_path(const char *folder, int shard, const char *suffix, char path[1200])
{
    snprintf(path, 1200, "%s/m-%05d-of-%05d.moeq%s", folder, shard, SHARDS, suffix);
}

static void index_path(const char *folder, char path[1200])
{
    snprintf(path, 1200, "%s/m.moeq.index.json", folder);
}

/* The demo in shards: folder/m-*.moeq and folder/m.moeq.index.json. */
static void convert_demo(const char *folder, const char *level, uint64_t shard_bytes)
{
    char model[1024], output[1200];
    const struct mq_context context = fast();
    moeq_error err = {0};
    strcpy(model, mq_test_source(DEMO));
    snprintf(output, sizeof output, "%s/m.moeq", folder);
    ck_assert_msg(test_convert_sharded(model, level, shard_bytes, output, true, &context, NULL,
                                       &err) == MOEQ_OK,
                  "%s", err.message);
}

static struct mq_view *open_model(const char *path)
{
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_msg(mq_model_open(path, &view, &err) == MOEQ_OK, "%s", err.message);
    return view;
}

static struct mq_plan *plan_demo(const struct mq_view *view, uint64_t shard_bytes)
{
    const struct mq_policy policy = mq_policy_default(mq_level_find("q4_k"));
    struct mq_plan *plan;
    moeq_error err = {0};
    ck_assert_msg(mq_plan_create_sharded(view, &policy, shard_bytes, &plan, &err) == MOEQ_OK, "%s",
                  err.message);
    return plan;
}

/* ---- the plan ---- */

/* Every byte of every file is written once, and none is larger than asked for, unless it holds one
 * tensor alone. */
static void check_places(const struct mq_plan *plan, uint64_t shard_bytes)
{
    uint64_t written = 0;
    const size_t tensors = plan->view->tensors_count;
    size_t *in_file = calloc(plan->files_count, sizeof *in_file);
    ck_assert_ptr_nonnull(in_file);
    for (size_t i = 0; i < tensors; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        const struct mq_plan_file *f = &plan->files[e->file];
        in_file[e->file]++;
        written += e->size_bytes;
        ck_assert_uint_eq(f->layout->items[e->item - f->first_item].offset, e->offset);
        ck_assert_str_eq(f->layout->items[e->item - f->first_item].name, e->tensor->name);
        if (i > 0)
            ck_assert_uint_ge(e->file, plan->entries[i - 1].file);
    }
    for (size_t i = 0; i < plan->pieces_count; i++) {
        in_file[plan->pieces[i].file] += plan->pieces[i].bytes != NULL;
        written += plan->pieces[i].size_bytes;
    }
    uint64_t bytes = 0;
    for (size_t f = plan->has_index; f < plan->files_count; f++) {
        const struct mq_plan_file *file = &plan->files[f];
        written += file->header_bytes + MQ_CRC_TABLE_BYTES(file->layout->count - 1);
        bytes += file->file_bytes;
        ck_assert_uint_eq(file->header_bytes % MQ_GROUP_ALIGN, 0);
        ck_assert_uint_gt(in_file[f], 0);
        if (in_file[f] > 1)
            ck_assert_uint_le(file->file_bytes, shard_bytes);
    }
    free(in_file);
    ck_assert_uint_eq(written, bytes);
    ck_assert_uint_eq(bytes, plan->output_bytes);
}

START_TEST(every_byte_has_a_place)
{
    static const uint64_t sizes[] = {1, 20000, 50000, 150000, 300000, MIB, 2 * MIB, 3333333};
    struct mq_view *view = open_model(mq_test_source(DEMO));
    size_t before = SIZE_MAX;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct mq_plan *plan = plan_demo(view, sizes[i]);
        ck_assert(plan->has_index);
        ck_assert_str_eq(plan->files[0].name_end, MQ_INDEX_ENDING);
        check_places(plan, sizes[i]);
        ck_assert_uint_le(plan->files_count, before);
        before = plan->files_count;
        mq_plan_free(plan);
    }
    /* what fits in one file is one file, without index, and the same */
    struct mq_plan *one = plan_demo(view, 0), *fits = plan_demo(view, one->output_bytes + 40960);
    ck_assert(!fits->has_index && fits->files_count == 1);
    ck_assert_str_eq(fits->files[0].header, one->files[0].header);
    mq_plan_free(one);
    mq_plan_free(fits);
    mq_view_close(view);
}
END_TEST

START_TEST(groups_stay_together)
{
    struct mq_view *view = open_model(mq_test_source(DEMO));
    struct mq_plan *plan = plan_demo(view, 150000); /* an expert has 3 x 36,864 bytes */
    ck_assert_uint_gt(plan->files_count, 24);
    for (size_t i = 1; i < view->tensors_count; i++) {
        const struct mq_plan_entry *a = &plan->entries[i - 1], *b = &plan->entries[i];
        if (b->tensor->expert >= 0 && b->tensor->layer == a->tensor->layer &&
            b->tensor->expert == a->tensor->expert) {
            ck_assert_uint_eq(a->file, b->file);
            ck_assert_uint_eq(a->offset + a->size_bytes, b->offset);
        } else if (b->tensor->expert >= 0) {
            ck_assert_uint_eq(b->offset % MQ_GROUP_ALIGN, 0);
        }
    }
    mq_plan_free(plan);
    mq_view_close(view);
}
END_TEST

/* ---- what is written ---- */

static void same_tensors(const struct mq_view *a, const struct mq_view *b)
{
    moeq_error err = {0};
    ck_assert_uint_eq(a->tensors_count, b->tensors_count);
    for (size_t i = 0; i < a->tensors_count; i++) {
        const struct mq_tensor *s = &a->tensors[i], *t = &b->tensors[i];
        ck_assert_str_eq(s->name, t->name);
        ck_assert_str_eq(s->storage, t->storage);
        ck_assert_uint_eq(s->row_bytes, t->row_bytes);
        const size_t n = (size_t)(s->rows * s->row_bytes);
        char *x = malloc(2 * n);
        ck_assert_ptr_nonnull(x);
        ck_assert_ok(mq_view_read_rows(a, s, 0, s->rows, x, &err));
        ck_assert_ok(mq_view_read_rows(b, t, 0, t->rows, x + n, &err));
        ck_assert_msg(memcmp(x, x + n, n) == 0, "%s differs", s->name);
        free(x);
    }
    ck_assert_uint_eq(a->side[MQ_SIDE_CONFIG].size, b->side[MQ_SIDE_CONFIG].size);
    ck_assert_uint_eq(a->side[MQ_SIDE_TOKENIZER].size, b->side[MQ_SIDE_TOKENIZER].size);
    ck_assert_int_eq(memcmp(a->side[MQ_SIDE_CONFIG].data, b->side[MQ_SIDE_CONFIG].data,
                            a->side[MQ_SIDE_CONFIG].size),
                     0);
    ck_assert_int_eq(memcmp(a->side[MQ_SIDE_TOKENIZER].data, b->side[MQ_SIDE_TOKENIZER].data,
                            a->side[MQ_SIDE_TOKENIZER].size),
                     0);
    for (const char **m = a->metadata; m[0]; m += 2) /* the levels of all tensors, and the rest */
        ck_assert_str_eq(mq_metadata_get(b->metadata, m[0]), m[1]);
}

START_TEST(holds_what_one_file_holds)
{
    char whole[1024], folder[1024], path[1200];
    static const uint64_t sizes[] = {1, 150000, MIB};
    make_folder("whole", whole);
    convert_demo(whole, "q4_k", 0);
    snprintf(path, sizeof path, "%s/m.moeq", whole);
    struct mq_view *one = open_model(path);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        make_folder("shards", folder);
        convert_demo(folder, "q4_k", sizes[i]);
        index_path(folder, path);
        struct mq_view *by_index = open_model(path), *by_folder = open_model(folder);
        ck_assert(by_index->kind == MQ_VIEW_MOEQ && by_folder->kind == MQ_VIEW_MOEQ);
        ck_assert_uint_gt(by_index->files_count, 1);
        same_tensors(one, by_index);
        same_tensors(one, by_folder);
        ck_assert_ptr_null(mq_metadata_get(by_index->metadata, MQ_META_SHARD));
        mq_view_close(by_index);
        mq_view_close(by_folder);
    }
    /* and back into one: the same tensors once more */
    const struct mq_context context = fast();
    moeq_error err = {0};
    snprintf(path, sizeof path, "%s/again.moeq", whole);
    ck_assert_ok(test_convert(folder, "q4_k", path, &context, NULL, &err));
    struct mq_view *again = open_model(path);
    for (size_t i = 0; i < again->tensors_count; i++)
        ck_assert_str_eq(again->tensors[i].storage, one->tensors[i].storage);
    mq_view_close(again);
    mq_view_close(one);
}
END_TEST

START_TEST(same_bytes_everywhere)
{
    char model[1024], folder[1024], other[1024], output[1200], a[1200], b[1200];
    const struct mq_context generic = {
        .isa = MQ_ISA_GENERIC, .threads = 1, .memory_bytes = 24u << 20};
    moeq_error err = {0};
    strcpy(model, mq_test_source(DEMO));
    make_folder("fast", folder);
    make_folder("generic", other);
    convert_demo(folder, "q8_0", 2 * MIB);
    snprintf(output, sizeof output, "%s/m.moeq", other);
    ck_assert_ok(test_convert_sharded(model, "q8_0", 2 * MIB, output, true, &generic, NULL, &err));
    index_path(folder, a);
    index_path(other, b);
    ck_assert(test_files_equal(a, b)); /* which has the checksums of the shards' */
    snprintf(a, sizeof a, "%s/m-00002-of-00004.moeq", folder);
    snprintf(b, sizeof b, "%s/m-00002-of-00004.moeq", other);
    ck_assert(test_files_equal(a, b));
}
END_TEST

/* Whatever the extension, and if there is none: as the Hub would name it. */
START_TEST(names_are_the_hubs)
{
    static const char *const names[][2] = {
        {"model.safetensors", "model-00001-of-00005.safetensors"},
        {"plain", "plain-00001-of-00005"},
    };
    const struct mq_context context = fast();
    for (size_t i = 0; i < 2; i++) {
        char model[1024], folder[1024], output[1200];
        moeq_error err = {0};
        strcpy(model, mq_test_source(DEMO));
        make_folder("names", folder);
        snprintf(output, sizeof output, "%s/%s", folder, names[i][0]);
        ck_assert_ok(test_convert_sharded(model, "q4_k", MIB, output, true, &context, NULL, &err));
        ck_assert_int_eq(access(test_path(folder, names[i][1]), F_OK), 0);
        strcat(output, MQ_INDEX_ENDING);
        mq_view_close(open_model(output));
        mq_view_close(open_model(folder));
    }
}
END_TEST

/* ---- what is missing or wrong ---- */

static void ends_in(const char *path, moeq_status status, const char *format, const char *a,
                    const char *b)
{
    struct mq_view *view;
    moeq_error err = {0};
    char end[4096];
    snprintf(end, sizeof end, format, a, b);
    const moeq_status found = mq_model_open(path, &view, &err);
    const size_t n = strlen(err.message), m = strlen(end);
    ck_assert_msg(n >= m && strcmp(err.message + n - m, end) == 0, "%s\nexpected: %s", err.message,
                  end);
    ck_assert_int_eq(found, status);
}

START_TEST(names_each_shard_that_is_wrong)
{
    char folder[1024], other[1024], index[1200], shard[1200], foreign[1200], saved[1200];
    make_folder("wrong", folder);
    make_folder("other", other);
    convert_demo(folder, "q4_k", MIB);
    convert_demo(other, "q4_k", MIB);
    index_path(folder, index);
    shard_path(folder, 3, "", shard);
    shard_path(folder, 3, ".saved", saved);
    ck_assert_int_eq(rename(shard, saved), 0);
    ends_in(index, MOEQ_NOT_FOUND, "%s: is missing: %s lists it as shard 3 of 5", shard, index);
    ends_in(folder, MOEQ_NOT_FOUND, "%s: is missing: %s lists it as shard 3 of 5", shard, index);
    /* cut short */
    struct mq_buffer bytes = test_read(saved);
    test_write(shard, bytes.data, bytes.size - 1);
    ends_in(index, MOEQ_MALFORMED, "%s says 999548: cut short, or a shard of another conversion",
            index, "");
    test_write(shard, "", 0);
    ends_in(index, MOEQ_MALFORMED, "%s says 999548: cut short, or a shard of another conversion",
            index, "");
    /* Another of the model's; and one of the same size and header, of other weights: what a model
     * trained further gives. */
    shard_path(other, 2, "", foreign);
    ck_assert_int_eq(rename(foreign, shard), 0);
    ends_in(index, MOEQ_CORRUPT, "(of another conversion, or damaged)", "", "");
    bytes.data[bytes.size - 1] ^= 1;
    test_write(shard, bytes.data, bytes.size);
    ends_in(index, MOEQ_CORRUPT, "(of another conversion, or damaged)", "", "");
    mq_buffer_free(&bytes);
    ck_assert_int_eq(rename(saved, shard), 0);
    mq_view_close(open_model(index));
    /* alone; and without the index */
    ends_in(shard, MOEQ_INVALID_ARGUMENT,
            "%s: is shard 3 of 5 of a model: give the model's index (*.index.json) instead", shard,
            "");
    ck_assert_int_eq(unlink(index), 0);
    ends_in(index, MOEQ_NOT_FOUND, "%s: no such file or folder", index, "");
    ends_in(folder, MOEQ_UNSUPPORTED, "is the download, or the conversion, complete?", "", "");
}
END_TEST

#define W2 "model.layers.1.block_sparse_moe.experts.2.w2.weight"
static const struct {
    const char *old, *new;
    moeq_status status;
    const char *message; /* its end */
} tampered[] = {
    {"\"format\": \"moeq\"", "\"format\": \"mo\"", MOEQ_UNSUPPORTED,
     "is the index of no moeq model; for a Hugging Face model give its folder"},
    {"\"weight_map\"", "\"weights\"", MOEQ_MALFORMED, "expected an object \"weight_map\""},
    {"\"moeq.version\": \"1\"", "\"moeq.version\": \"2\"", MOEQ_UNSUPPORTED,
     "moeq.version is \"2\", this program reads \"1\""},
    {"\"moeq.version\": \"1\"", "\"moeq.version\": 1", MOEQ_UNSUPPORTED,
     "moeq.version is \"absent\", this program reads \"1\""},
    {"\"moeq.shards\"", "\"shards\"", MOEQ_MALFORMED,
     "expected a list \"moeq.shards\" in the metadata"},
    {"\"name\": \"m-00002", "\"name\": \"../m-00002", MOEQ_MALFORMED,
     "moeq.shards, entry 2: expected \"name\" (a file of this folder), \"bytes\" and \"crc32\" (8 "
     "hexadecimal digits)"},
    {"\"bytes\": 9", "\"bytes\": -9", MOEQ_MALFORMED,
     "moeq.shards, entry 1: expected \"name\" (a file of this folder), \"bytes\" and \"crc32\" (8 "
     "hexadecimal digits)"},
    {"\"crc32\": \"", "\"crc32\": \"0x", MOEQ_MALFORMED,
     "moeq.shards, entry 1: expected \"name\" (a file of this folder), \"bytes\" and \"crc32\" (8 "
     "hexadecimal digits)"},
    {"\"total_size\": ", "\"total_size\": 1", MOEQ_MALFORMED, "its tensors have 4434380 bytes"},
    {"\"total_size\": ", "\"total_size\": \"1\", \"x\": ", MOEQ_MALFORMED,
     "expected a whole number \"total_size\" in the metadata"},
    {W2, "model.layers.1.block_sparse_moe.experts.2.w4.weight", MOEQ_NOT_FOUND,
     "tensor 'model.layers.1.block_sparse_moe.experts.2.w4.weight' is listed in "
     "m-00003-of-00005.moeq but is not in that file"},
    {W2 "\": \"m-00003", W2 "\": \"m-00004", MOEQ_NOT_FOUND,
     "tensor '" W2 "' is listed in m-00004-of-00005.moeq but stands in m-00003-of-00005.moeq"},
    {W2 "\": \"m-00003-of-00005.moeq\"", W2 "\": 3", MOEQ_MALFORMED,
     "weight_map: \"" W2 "\" names no file"},
    {"    \"" W2 "\": \"m-00003-of-00005.moeq\",\n", "", MOEQ_MALFORMED,
     "is missing from m.moeq.index.json"},
    {"\"name\": \"m-00002-of-00005.moeq\"", "\"name\": \"m-00001-of-00005.moeq\"", MOEQ_MALFORMED,
     NULL},                                                       /* another's size */
    {"\"moeq.config.json\"", "\"" W2 "\"", MOEQ_MALFORMED, NULL}, /* a key twice */
    {"{\n", "{{", MOEQ_MALFORMED, NULL},
};

START_TEST(refuses_a_wrong_index)
{
    char folder[1024], index[1200];
    make_folder("tampered", folder);
    convert_demo(folder, "q4_k", MIB);
    index_path(folder, index);
    struct mq_buffer good = test_read(index);
    for (size_t i = 0; i < sizeof tampered / sizeof *tampered; i++) {
        test_replace(index, tampered[i].old, tampered[i].new);
        if (tampered[i].message) {
            ends_in(index, tampered[i].status, "%s", tampered[i].message, "");
        } else {
            struct mq_view *view;
            moeq_error err = {0};
            ck_assert_msg(mq_model_open(index, &view, &err) == tampered[i].status, "%s: %s",
                          tampered[i].new, err.message);
        }
        test_write(index, good.data, good.size);
    }
    for (size_t n = 0; n < good.size; n += 97) { /* cut short anywhere */
        struct mq_view *view;
        moeq_error err = {0};
        test_write(index, good.data, n);
        ck_assert_int_eq(mq_model_open(index, &view, &err), MOEQ_MALFORMED);
        ck_assert_str_eq(err.path, index);
    }
    mq_buffer_free(&good);
}
END_TEST

START_TEST(several_models_in_one_folder)
{
    char folder[1024], output[1200], model[1024], message[3000];
    const struct mq_context context = fast();
    struct mq_view *view;
    moeq_error err = {0};
    strcpy(model, mq_test_source(DEMO));
    make_folder("several", folder);
    convert_demo(folder, "q4_k", MIB);
    snprintf(output, sizeof output, "%s/n.moeq", folder);
    ck_assert_ok(test_convert_sharded(model, "q3_k", MIB, output, true, &context, NULL, &err));
    ck_assert_int_eq(mq_model_open(folder, &view, &err), MOEQ_INVALID_ARGUMENT);
    snprintf(message, sizeof message, "%s: holds several models, ", folder);
    ck_assert_msg(strstr(err.message, message) == err.message, "%s", err.message);
    /* A Hugging Face model comes first, whatever else is beside it. */
    snprintf(message, sizeof message, "cp '%s'/* '%s'", model, folder);
    ck_assert_int_eq(system(message), 0);
    view = open_model(folder);
    ck_assert(view->kind != MQ_VIEW_MOEQ);
    mq_view_close(view);
}
END_TEST

START_TEST(refuses_to_touch_the_source)
{
    char folder[1024], index[1200], output[1200], link_path[1200];
    const struct mq_context context = fast();
    make_folder("source", folder);
    convert_demo(folder, "q4_k", MIB);
    index_path(folder, index);
    struct mq_buffer before = test_read(index);
    snprintf(output, sizeof output, "%s/m.moeq", folder);
    for (uint64_t size = MIB; size <= 2 * MIB; size += MIB) { /* the same names; the index only */
        moeq_error err = {0};
        ck_assert_int_eq(
            test_convert_sharded(index, "q4_k", size, output, false, &context, NULL, &err),
            MOEQ_INVALID_ARGUMENT);
        ck_assert_msg(strstr(err.message, "the output is also the input") != NULL, "%s",
                      err.message);
    }
    snprintf(link_path, sizeof link_path, "%s.link", folder);
    unlink(link_path);
    ck_assert_int_eq(link(index, link_path), 0);
    moeq_error err = {0};
    ck_assert_int_eq(test_convert(index, "q4_k", link_path, &context, NULL, &err),
                     MOEQ_INVALID_ARGUMENT);
    struct mq_buffer after = test_read(index);
    ck_assert_str_eq(after.data, before.data);
    mq_buffer_free(&before);
    mq_buffer_free(&after);
    mq_view_close(open_model(index));
}
END_TEST

/* ---- resuming ---- */

static moeq_status interrupted(const char *output, const char *level, uint64_t size, int after,
                               bool keep)
{
    struct test_stopper s = {.left = after};
    const struct mq_context context = {.isa = mq_isa_detect(),
                                       .threads = 1,
                                       .progress = test_stop_progress,
                                       .progress_user = &s,
                                       .cancel = &s.cancel};
    char model[1024];
    moeq_error err = {0};
    strcpy(model, mq_test_source(DEMO));
    return test_convert_sharded(model, level, size, output, keep, &context, NULL, &err);
}

static void same_folders(const char *a, const char *b)
{
    char command[4096];
    snprintf(command, sizeof command, "diff -r '%s' '%s' >&2", a, b);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(goes_on_where_it_stopped)
{
    char model[1024], whole[1024], folder[1024], output[1200], a[1200], b[1200];
    const struct mq_context context = fast();
    struct mq_convert_result result;
    moeq_error err = {0};
    strcpy(model, mq_test_source(DEMO));
    make_folder("whole", whole);
    make_folder("resumed", folder);
    convert_demo(whole, "q4_k", MIB);
    snprintf(output, sizeof output, "%s/m.moeq", folder);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(interrupted(output, "q4_k", MIB, 20, true), MOEQ_CANCELLED);
        ends_in(folder, MOEQ_NOT_FOUND,
                "%s: holds an unfinished conversion, m.moeq.index.json.part: the same moeq convert "
                "finishes it",
                folder, "");
    }
    ck_assert_ok(test_convert_sharded(model, "q4_k", MIB, output, true, &context, &result, &err));
    ck_assert_uint_eq(result.tensors_resumed, 40);
    same_folders(folder, whole);
    /* Killed between two renames: all have their names but the first; all but the index. */
    for (int named = 4; named <= 5; named++) {
        make_folder("resumed", folder);
        ck_assert_int_eq(interrupted(output, "q4_k", MIB, 95, true), MOEQ_CANCELLED);
        for (int shard = SHARDS; shard > SHARDS - named; shard--) {
            shard_path(folder, shard, ".part", a);
            shard_path(folder, shard, "", b);
            ck_assert_int_eq(rename(a, b), 0);
        }
        ends_in(folder, MOEQ_NOT_FOUND, "the same moeq convert finishes it", "", "");
        ck_assert_ok(
            test_convert_sharded(model, "q4_k", MIB, output, true, &context, &result, &err));
        ck_assert_uint_eq(result.tensors_resumed, 95);
        same_folders(folder, whole);
    }
    /* It is there, and is not replaced without being asked to. */
    ck_assert_int_eq(test_convert_sharded(model, "q4_k", MIB, output, true, &context, NULL, &err),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "exists already; give --force to replace it"));
    same_folders(folder, whole);
    /* Shards without index, which nobody has interrupted, are not replaced either. */
    memset(&err, 0, sizeof err);
    index_path(folder, a);
    index_path(whole, b);
    ck_assert_int_eq(unlink(a), 0);
    ck_assert_int_eq(test_convert_sharded(model, "q4_k", MIB, output, true, &context, NULL, &err),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "m-00001-of-00005.moeq: exists already"));
    ck_assert_int_eq(unlink(b), 0);
    same_folders(folder, whole); /* nothing new beside them */
    shard_path(folder, 1, "", a);
    shard_path(whole, 1, "", b);
    ck_assert_int_eq(unlink(a) + unlink(b), 0);
    memset(&err, 0, sizeof err);
    ck_assert_int_eq(test_convert_sharded(model, "q4_k", MIB, output, true, &context, NULL, &err),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "m-00002-of-00005.moeq: exists already"));
    same_folders(folder, whole);
}
END_TEST

START_TEST(replaces_when_asked_to)
{
    char model[1024], whole[1024], folder[1024], output[1200], index[1200];
    const struct mq_context context = fast();
    moeq_error err = {0};
    struct mq_view *view;
    strcpy(model, mq_test_source(DEMO));
    make_folder("whole", whole);
    make_folder("replaced", folder);
    convert_demo(whole, "q4_k", MIB);
    convert_demo(folder, "q4_k", MIB);
    snprintf(output, sizeof output, "%s/m.moeq", folder);
    index_path(folder, index);
    /* other weights under the same names: until they are all there, the old model is */
    ck_assert_int_eq(interrupted(output, "q4_k", MIB, 50, false), MOEQ_CANCELLED);
    view = open_model(index);
    mq_view_close(view);
    ck_assert_ok(test_convert_sharded(model, "q4_k", MIB, output, false, &context, NULL, &err));
    same_folders(folder, whole);
}
END_TEST

/* Another size makes other files; what an interrupted run has left of the old ones is removed. */
START_TEST(another_size_begins_anew)
{
    char model[1024], whole[1024], folder[1024], output[1200];
    const struct mq_context context = fast();
    struct mq_convert_result result;
    moeq_error err = {0};
    strcpy(model, mq_test_source(DEMO));
    make_folder("whole", whole);
    make_folder("resized", folder);
    convert_demo(whole, "q4_k", 2 * MIB);
    snprintf(output, sizeof output, "%s/m.moeq", folder);
    test_write(test_path(folder, "m-notes.part"), "mine", 4);
    ck_assert_int_eq(interrupted(output, "q4_k", MIB, 50, true), MOEQ_CANCELLED);
    ck_assert_int_eq(access(test_path(folder, "m-00005-of-00005.moeq.part"), F_OK), 0);
    ck_assert_ok(
        test_convert_sharded(model, "q4_k", 2 * MIB, output, true, &context, &result, &err));
    ck_assert_uint_eq(result.tensors_resumed, 0);
    ck_assert_int_eq(unlink(test_path(folder, "m-notes.part")), 0);
    same_folders(folder, whole);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, every_byte_has_a_place);
    tcase_add_test(tests, groups_stay_together);
    tcase_add_test(tests, holds_what_one_file_holds);
    tcase_add_test(tests, same_bytes_everywhere);
    tcase_add_test(tests, names_are_the_hubs);
    tcase_add_test(tests, names_each_shard_that_is_wrong);
    tcase_add_test(tests, refuses_a_wrong_index);
    tcase_add_test(tests, several_models_in_one_folder);
    tcase_add_test(tests, refuses_to_touch_the_source);
    tcase_add_test(tests, goes_on_where_it_stopped);
    tcase_add_test(tests, replaces_when_asked_to);
    tcase_add_test(tests, another_size_begins_anew);
}

int main(void)
{
    return mq_test_main("test_shards", add_tests);
}
