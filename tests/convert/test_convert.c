/* test_convert.c: the same bytes whatever the threads, kernels and memory; refusals; resuming. */
#include "stored.h"
#include "test_model.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *out(const char *name)
{
    const char *path = mq_test_temporary(name);
    char command[4096];
    snprintf(command, sizeof command, "rm -rf '%s' '%s.part' '%s.part.journal'", path, path, path);
    ck_assert_int_eq(system(command), 0);
    return path;
}

START_TEST(same_bytes_everywhere)
{
    static const char *const levels[] = {"q8_0", "q4_k", "q3_k", "f16"};
    static const unsigned threads[] = {1, 2, 5};
    for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
        char reference[1024], path[1024];
        strcpy(reference, out("reference.moeq"));
        strcpy(path, out("other.moeq"));
        moeq_error err = {0};
        const struct mq_context first = {.isa = MQ_ISA_GENERIC, .threads = 1};
        ck_assert_ok(
            test_convert(mq_test_source(MIXTRAL), levels[l], reference, &first, NULL, &err));
        for (int isa = 0; isa < MQ_ISA_COUNT; isa++)
            for (size_t t = 0; t < 3 && mq_isa_available((enum mq_isa)isa); t++) {
                if (mq_test_sampled() && t != (l + (size_t)isa) % 3)
                    continue;
                const struct mq_context context = {.isa = (enum mq_isa)isa,
                                                   .threads = threads[t],
                                                   .memory_bytes = t == 1 ? 24u << 20 : 0};
                const moeq_status status =
                    test_convert(mq_test_source(MIXTRAL), levels[l], path, &context, NULL, &err);
                ck_assert_msg(status == MOEQ_OK, "%s", err.message);
                ck_assert_msg(test_files_equal(path, reference), "%s: %s with %u threads differs",
                              levels[l], mq_isa_name((enum mq_isa)isa), threads[t]);
            }
    }
}
END_TEST

static void refused(const char *model, const char *output, bool replace, moeq_status status,
                    const char *part_of_message)
{
    const struct mq_context context = {.isa = MQ_ISA_GENERIC, .threads = 1};
    const struct mq_convert_options options = {.output = output, .replace = replace};
    const struct mq_policy policy = mq_policy_default(mq_level_find("q8_0"));
    struct mq_convert_result result;
    struct mq_view *view;
    struct mq_plan *plan;
    moeq_error err = {0};
    ck_assert_msg(mq_model_open(model, &view, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_ok(mq_plan_create(view, &policy, &plan, &err));
    const moeq_status found = mq_convert(&context, plan, &options, &result, &err);
    ck_assert_msg(strstr(err.message, part_of_message) != NULL, "%s", err.message);
    ck_assert_int_eq(found, status);
    mq_plan_free(plan);
    mq_view_close(view);
    /* Refused before anything was written. */
    char part[1100];
    snprintf(part, sizeof part, "%s.part.journal", output);
    ck_assert_int_ne(access(part, F_OK), 0);
}

START_TEST(refuses_to_touch_the_source)
{
    char model[1024], link_folder[1024], link_shard[1024], hard[1024], source[1024], part[1100];
    strcpy(model, test_model_copy(MIXTRAL, "source"));
    char shard[1100];
    strcpy(shard, test_path(model, "model-00002-of-00007.safetensors"));
    struct mq_buffer before = test_read(shard);
    strcpy(link_folder, out("link"));
    strcpy(link_shard, out("shard.link"));
    strcpy(hard, out("shard.hard"));
    ck_assert_int_eq(symlink(model, link_folder), 0);
    ck_assert_int_eq(symlink(shard, link_shard), 0);
    ck_assert_int_eq(link(shard, hard), 0);
    static const char inside[] = "the output would lie inside the source folder";
    static const char equal[] = "the output is also the input";
    refused(model, shard, true, MOEQ_INVALID_ARGUMENT, inside);
    refused(model, test_path(model, "new.moeq"), false, MOEQ_INVALID_ARGUMENT, inside);
    refused(model, test_path(link_folder, "new.moeq"), false, MOEQ_INVALID_ARGUMENT, inside);
    refused(link_folder, test_path(model, "new.moeq"), false, MOEQ_INVALID_ARGUMENT, inside);
    refused(model, link_shard, true, MOEQ_INVALID_ARGUMENT, equal);
    refused(model, hard, true, MOEQ_INVALID_ARGUMENT, equal);
    struct mq_buffer after = test_read(shard);
    ck_assert_uint_eq(after.size, before.size);
    ck_assert_int_eq(memcmp(after.data, before.data, after.size), 0);
    mq_buffer_free(&before);
    mq_buffer_free(&after);
    /* A moeq file onto itself; and one whose name is that of the part. */
    moeq_error err = {0};
    strcpy(source, out("m.moeq"));
    ck_assert_ok(test_convert(model, "q8_0", source, NULL, NULL, &err));
    refused(source, source, true, MOEQ_INVALID_ARGUMENT, equal);
    snprintf(part, sizeof part, "%s.part", source);
    ck_assert_int_eq(rename(source, part), 0);
    refused(part, source, true, MOEQ_INVALID_ARGUMENT, equal);
    ck_assert_int_eq(access(part, F_OK), 0);
}
END_TEST

START_TEST(refuses_bad_outputs)
{
    char model[1024];
    strcpy(model, mq_test_source(MIXTRAL));
    char folder[1024], file[1024], slash[1100];
    strcpy(folder, out("folder"));
    strcpy(file, out("exists.moeq"));
    ck_assert_int_eq(mkdir(folder, 0777), 0);
    test_write(file, "precious", 8);
    refused(model, folder, true, MOEQ_INVALID_ARGUMENT, "is a folder; the output is one file");
    snprintf(slash, sizeof slash, "%s/", folder);
    refused(model, slash, true, MOEQ_INVALID_ARGUMENT, "is a folder; the output is one file");
    refused(model, file, false, MOEQ_INVALID_ARGUMENT,
            "exists already; give --force to replace it");
    refused(model, out("no/such/folder/m.moeq"), false, MOEQ_NOT_FOUND,
            "cannot write to this folder: No such file or directory");
    refused(model, "/dev/full", true, MOEQ_INVALID_ARGUMENT, "exists and is no regular file");
    refused(model, "", false, MOEQ_INVALID_ARGUMENT, "no usable file name");
    struct mq_buffer kept = test_read(file);
    ck_assert_str_eq(kept.data, "precious");
    mq_buffer_free(&kept);
}
END_TEST

START_TEST(refuses_too_little_memory)
{
    const struct mq_context context = {.threads = 4, .memory_bytes = 1 << 20};
    char path[1024], part[1100];
    moeq_error err = {0};
    strcpy(path, out("small.moeq"));
    ck_assert_int_eq(test_convert(mq_test_source(MIXTRAL), "q8_0", path, &context, NULL, &err),
                     MOEQ_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.message, "MiB for its buffers; --memory gives 1 MiB"));
    snprintf(part, sizeof part, "%s.part", path);
    ck_assert_int_ne(access(part, F_OK), 0); /* no disk was reserved for nothing */
}
END_TEST

static moeq_status interrupted_run(const char *model, const char *level, const char *path,
                                   int after)
{
    struct test_stopper s = {.left = after};
    const struct mq_context context = {.isa = MQ_ISA_GENERIC,
                                       .threads = 1,
                                       .progress = test_stop_progress,
                                       .progress_user = &s,
                                       .cancel = &s.cancel};
    moeq_error err = {0};
    return test_convert(model, level, path, &context, NULL, &err);
}

START_TEST(goes_on_where_it_stopped)
{
    char model[1024], path[1024], reference[1024], part[1100], journal[1100];
    strcpy(model, test_model_copy(MIXTRAL, "resumed"));
    strcpy(path, out("resumed.moeq"));
    strcpy(reference, out("uninterrupted.moeq"));
    snprintf(part, sizeof part, "%s.part", path);
    snprintf(journal, sizeof journal, "%s.part.journal", path);
    struct mq_convert_result result;
    moeq_error err = {0};
    ck_assert_ok(test_convert(model, "q4_k", reference, NULL, NULL, &err));
    /* Three times a few tensors further, then to the end. */
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(interrupted_run(model, "q4_k", path, 10), MOEQ_CANCELLED);
        ck_assert_int_ne(access(path, F_OK), 0);
        ck_assert_int_eq(access(part, F_OK), 0);
    }
    ck_assert_ok(test_convert(model, "q4_k", path, NULL, &result, &err));
    ck_assert_uint_eq(result.tensors_resumed, 30);
    ck_assert(test_files_equal(path, reference));
    ck_assert_int_ne(access(part, F_OK), 0);
    ck_assert_int_ne(access(journal, F_OK), 0);
    /* A torn last record is done again; so is everything behind a wrong one. */
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(interrupted_run(model, "q4_k", path, 10), MOEQ_CANCELLED);
    struct mq_buffer text = test_read(journal);
    ck_assert_int_eq(truncate(journal, (off_t)text.size - 4), 0);
    ck_assert_int_eq(interrupted_run(model, "q4_k", path, 5), MOEQ_CANCELLED);
    mq_buffer_free(&text);
    ck_assert_ok(test_convert(model, "q4_k", path, NULL, &result, &err));
    ck_assert_uint_eq(result.tensors_resumed, 14);
    ck_assert(test_files_equal(path, reference));
}
END_TEST

START_TEST(starts_afresh_when_something_changed)
{
    char model[1024], path[1024], reference[1024], journal[1100];
    struct mq_convert_result result;
    moeq_error err = {0};
    strcpy(model, test_model_copy(MIXTRAL, "changing"));
    strcpy(path, out("changing.moeq"));
    strcpy(reference, out("changing.reference.moeq"));
    snprintf(journal, sizeof journal, "%s.part.journal", path);
    /* another level */
    ck_assert_int_eq(interrupted_run(model, "q4_k", path, 20), MOEQ_CANCELLED);
    ck_assert_ok(test_convert(model, "q3_k", path, NULL, &result, &err));
    ck_assert_uint_eq(result.tensors_resumed, 0);
    ck_assert_ok(test_convert(model, "q3_k", reference, NULL, NULL, &err));
    ck_assert(test_files_equal(path, reference));
    /* a shard that was written again, with other weights */
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(interrupted_run(model, "q3_k", path, 40), MOEQ_CANCELLED);
    const char *shard = test_path(model, "model-00003-of-00007.safetensors");
    struct mq_buffer bytes = test_read(shard);
    for (size_t i = bytes.size - 4096; i < bytes.size; i += 2)
        bytes.data[i] ^= 1;
    test_write(shard, bytes.data, bytes.size);
    mq_buffer_free(&bytes);
    ck_assert_ok(test_convert(model, "q3_k", path, NULL, &result, &err));
    ck_assert_uint_eq(result.tensors_resumed, 0);
    ck_assert_ok(test_convert(model, "q3_k", reference, NULL, NULL, &err));
    ck_assert(test_files_equal(path, reference));
    /* a journal that is none */
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(interrupted_run(model, "q3_k", path, 40), MOEQ_CANCELLED);
    test_write(journal, "\0\0\0moeq", 7);
    ck_assert_ok(test_convert(model, "q3_k", path, NULL, &result, &err));
    ck_assert_uint_eq(result.tensors_resumed, 0);
    ck_assert(test_files_equal(path, reference));
}
END_TEST

/* A NaN in the source is named, not quantized. */
START_TEST(names_a_weight_that_is_not_finite)
{
    char model[1024], path[1024];
    moeq_error err = {0};
    strcpy(model, test_model_copy(MIXTRAL, "nan"));
    strcpy(path, out("nan.moeq"));
    const char *shard = test_path(model, "model-00003-of-00007.safetensors");
    struct mq_buffer bytes = test_read(shard);
    /* experts.0.w1 begins the data; row 2, column 5 */
    uint64_t n = 0;
    memcpy(&n, bytes.data, 8);
    char *at = bytes.data + 8 + n + (2 * 64 + 5) * 2;
    at[0] = (char)0xc0;
    at[1] = (char)0x7f;
    test_write(shard, bytes.data, bytes.size);
    mq_buffer_free(&bytes);
    ck_assert_int_eq(test_convert(model, "q4_k", path, NULL, NULL, &err), MOEQ_UNSUPPORTED);
    ck_assert_str_eq(err.tensor, "model.layers.0.block_sparse_moe.experts.0.w1.weight");
    ck_assert_ptr_nonnull(strstr(err.message, "row 2, column 5: weight is NaN"));
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

/* Changes a file of the source at the n-th report of progress. */
struct changer {
    int left;
    void (*change)(const char *path);
    char path[1100];
};

static void on_progress(void *user, const struct mq_progress *progress)
{
    struct changer *c = user;
    (void)progress;
    if (--c->left == 0)
        c->change(c->path);
}

static void write_again(const char *path)
{
    struct mq_buffer bytes = test_read(path);
    bytes.data[bytes.size - 1] ^= 1;
    const int fd = open(path, O_WRONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, bytes.data, bytes.size, 0), (ssize_t)bytes.size);
    /* clocks of file systems are coarse: a write of this very moment could bear the old time */
    const struct timespec now[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1700000000}};
    ck_assert_int_eq(futimens(fd, now), 0);
    close(fd);
    mq_buffer_free(&bytes);
}

static void grow(const char *path)
{
    FILE *f = fopen(path, "ab");
    ck_assert_ptr_nonnull(f);
    fputc(0, f);
    fclose(f);
}

/* As a download does: a new file under the old name. */
static void put_another(const char *path)
{
    char other[1200];
    struct mq_buffer bytes = test_read(path);
    snprintf(other, sizeof other, "%s.new", path);
    test_write(other, bytes.data, bytes.size);
    ck_assert_int_eq(rename(other, path), 0);
    mq_buffer_free(&bytes);
}

static void take_away(const char *path)
{
    ck_assert_int_eq(unlink(path), 0);
}

/* The source changes while it is read: no output, and nothing left of it to go on with. */
START_TEST(notices_a_source_that_changes)
{
    static const struct {
        void (*change)(const char *path);
        const char *message;
    } cases[] = {
        {write_again, "changed while it was read: it was written to since it was opened"},
        {grow, "changed while it was read: it had "},
        {put_another, "changed while it was read: another file has taken its place"},
        {take_away, "changed while it was read: No such file or directory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint64_t shard_bytes = 0; shard_bytes <= 100000; shard_bytes += 100000) {
            char model[1024], folder[1024], path[1100];
            struct changer c = {.left = 20, .change = cases[i].change};
            const struct mq_context context = {
                .isa = MQ_ISA_GENERIC, .threads = 1, .progress = on_progress, .progress_user = &c};
            moeq_error err = {0};
            strcpy(model, test_model_copy(MIXTRAL, "changes"));
            strcpy(folder, out("changed"));
            strcpy(c.path, test_path(model, "model-00005-of-00007.safetensors"));
            ck_assert_int_eq(mkdir(folder, 0777), 0);
            snprintf(path, sizeof path, "%s/m.moeq", folder);
            ck_assert_int_ne(
                test_convert_sharded(model, "q8_0", shard_bytes, path, true, &context, NULL, &err),
                MOEQ_OK);
            ck_assert_msg(strstr(err.message, cases[i].message) != NULL, "%s", err.message);
            ck_assert_str_eq(err.path, c.path);
            ck_assert_int_eq(rmdir(folder), 0); /* it is empty */
        }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, same_bytes_everywhere);
    tcase_add_test(tests, refuses_to_touch_the_source);
    tcase_add_test(tests, refuses_bad_outputs);
    tcase_add_test(tests, refuses_too_little_memory);
    tcase_add_test(tests, goes_on_where_it_stopped);
    tcase_add_test(tests, starts_afresh_when_something_changed);
    tcase_add_test(tests, names_a_weight_that_is_not_finite);
    tcase_add_test(tests, notices_a_source_that_changes);
}

int main(void)
{
    return mq_test_main("test_convert", add_tests);
}
