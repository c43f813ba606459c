/* test_shards_check.c: check of a model in several files: every bad one is named, and why. */
#include "convert.h"
#include "integrity.h"
#include "json.h"
#include "check_json.h"
#include "shards_check.h"
#include "stored.h"
#include "test_support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct mq_context context(void)
{
    return (struct mq_context){.isa = mq_isa_detect(), .threads = 2};
}

static char folder[1024], index_file[1300];

static void path_of(int shard, char path[1200])
{
    snprintf(path, 1200, "%s/m-%05d-of-00005.moeq", folder, shard);
}

/* The demo's model at q4_k in five files, converted anew by each test. */
static void convert(void)
{
    const struct mq_context ctx = context();
    const struct mq_policy policy = mq_policy_default(mq_level_find("q4_k"));
    char command[2100], output[1200];
    struct mq_convert_result result;
    struct mq_view *view;
    struct mq_plan *plan;
    moeq_error err = {0};
    strcpy(folder, mq_test_temporary("checked"));
    snprintf(command, sizeof command, "rm -rf '%s' && mkdir '%s'", folder, folder);
    ck_assert_int_eq(system(command), 0);
    snprintf(output, sizeof output, "%s/m.moeq", folder);
    snprintf(index_file, sizeof index_file, "%s.index.json", output);
    const struct mq_convert_options options = {.output = output};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    ck_assert_ok(mq_plan_create_sharded(view, &policy, 1 << 20, &plan, &err));
    ck_assert_uint_eq(plan->files_count, 6);
    ck_assert_msg(mq_convert(&ctx, plan, &options, &result, &err) == MOEQ_OK, "%s", err.message);
    mq_plan_free(plan);
    mq_view_close(view);
}

static void flip(const char *path, off_t byte)
{
    unsigned char b;
    const int fd = open(path, O_RDWR);
    ck_assert_int_ge(fd, 0);
    if (byte < 0)
        byte += lseek(fd, 0, SEEK_END);
    ck_assert_int_eq(pread(fd, &b, 1, byte), 1);
    b ^= 4;
    ck_assert_int_eq(pwrite(fd, &b, 1, byte), 1);
    close(fd);
}

static void check(struct mq_shards_result *r)
{
    const struct mq_context ctx = context();
    moeq_error err = {0};
    ck_assert_msg(mq_shards_check(&ctx, index_file, r, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_uint_eq(r->count, 5);
}

/* Shard `bad` alone has a problem, of this status and with this text. */
static void expect(int bad, moeq_status status, const char *text)
{
    struct mq_shards_result r;
    moeq_error err = {0};
    check(&r);
    for (int i = 1; i <= 5; i++)
        ck_assert_msg((r.shards[i - 1].problem.status != MOEQ_OK) == (i == bad), "shard %d: %s", i,
                      r.shards[i - 1].problem.message);
    ck_assert_msg(mq_shards_status(&r, &err) == status, "%s", err.message);
    ck_assert_msg(strstr(err.message, text) != NULL, "%s", err.message);
    cJSON *json = mq_shards_json(&r);
    ck_assert(json && cJSON_IsFalse(mq_json_get(json, "ok")));
    const cJSON *file = cJSON_GetArrayItem(mq_json_get(json, "files"), bad ? bad - 1 : 0);
    const cJSON *problem = mq_json_get(bad ? file : json, "problem");
    ck_assert_str_eq(problem->valuestring, err.message);
    cJSON_Delete(json);
    mq_shards_free(&r);
}

static uint64_t reported, reported_total;

static void on_progress(void *user, const struct mq_progress *progress)
{
    (void)user;
    ck_assert_uint_le(progress->done, progress->total);
    reported = progress->done;
    reported_total = progress->total;
}

START_TEST(sound)
{
    struct mq_context ctx = context();
    struct mq_shards_result r;
    moeq_error err = {0};
    ctx.progress = on_progress;
    ctx.threads = 1;
    convert();
    ck_assert_ok(mq_shards_check(&ctx, index_file, &r, &err));
    ck_assert_ok(mq_shards_status(&r, &err));
    ck_assert_uint_gt(r.tensors_checked, 96);
    ck_assert_uint_eq(r.file_bytes, reported_total);
    ck_assert_uint_gt(reported, reported_total * 99 / 100); /* but for headers and checksums */
    cJSON *json = mq_shards_json(&r);
    ck_assert(json && cJSON_IsTrue(mq_json_get(json, "ok")));
    ck_assert(cJSON_IsNull(mq_json_get(json, "problem")));
    cJSON_Delete(json);
    mq_shards_free(&r);
}
END_TEST

START_TEST(names_the_damage)
{
    char path[1200], other[1200], saved[1300];
    convert();
    path_of(2, path);
    flip(path, 500000);
    expect(2, MOEQ_CORRUPT, "layer 0, expert 6, expert_up");
    flip(path, 500000);
    flip(path, 100);
    expect(2, MOEQ_CORRUPT, "the header does not match its checksum");
    flip(path, 100);
    flip(path, -1); /* the word that the index repeats */
    expect(2, MOEQ_CORRUPT, "the checksum tensor 'moeq.crc32' is damaged; the tensors are sound");
    flip(path, -1);
    snprintf(saved, sizeof saved, "%s.saved", path);
    ck_assert_int_eq(rename(path, saved), 0);
    expect(2, MOEQ_NOT_FOUND, "is missing");
    path_of(3, other); /* of the same size, and sound, but another */
    ck_assert_int_eq(link(other, path), 0);
    expect(2, MOEQ_CORRUPT, "is not the shard that");
    ck_assert_int_eq(rename(saved, path), 0);
    struct stat st;
    path_of(5, path);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(truncate(path, st.st_size - 4), 0);
    expect(5, MOEQ_MALFORMED, "cut short");
}
END_TEST

START_TEST(names_every_bad_file)
{
    char path[1200];
    struct mq_shards_result r;
    convert();
    path_of(1, path);
    flip(path, 200000);
    path_of(4, path);
    ck_assert_int_eq(unlink(path), 0);
    check(&r);
    ck_assert_int_eq(r.shards[0].problem.status, MOEQ_CORRUPT);
    ck_assert_int_eq(r.shards[3].problem.status, MOEQ_NOT_FOUND);
    ck_assert_int_eq(r.shards[1].problem.status, MOEQ_OK);
    ck_assert_uint_eq(r.shards[0].integrity.damaged_count, 1);
    mq_shards_free(&r);
}
END_TEST

/* All files are sound, and the index says something else of them. */
START_TEST(index_of_something_else)
{
    char command[2600];
    convert();
    snprintf(command, sizeof command,
             "sed -i '0,/experts.7.w2.weight/s//experts.8.w2.weight/' '%s'", index_file);
    ck_assert_int_eq(system(command), 0);
    expect(0, MOEQ_NOT_FOUND, "experts.8.w2.weight' is listed in");
}
END_TEST

START_TEST(cancelled)
{
    atomic_bool stop = true;
    struct mq_context ctx = context();
    struct mq_shards_result r;
    moeq_error err = {0};
    ctx.cancel = &stop;
    convert();
    ck_assert_int_eq(mq_shards_check(&ctx, index_file, &r, &err), MOEQ_CANCELLED);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, sound);
    tcase_add_test(tests, names_the_damage);
    tcase_add_test(tests, names_every_bad_file);
    tcase_add_test(tests, index_of_something_else);
    tcase_add_test(tests, cancelled);
}

int main(void)
{
    return mq_test_main("shards_check", add);
}
