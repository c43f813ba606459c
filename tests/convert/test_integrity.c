/*
 * A converted model with one flipped bit, at random places and in every region of the file: found,
 * and named rightly. Then damage beyond one bit, truncation, and files that are no moeq files.
 */
#include "stored.h"
#include "test_support.h"
#include "convert.h"
#include "integrity.h"
#include "json.h"
#include "moeq_profile.h"
#include "check_json.h"
#include "safetensors.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct mq_context context(void)
{
    return (struct mq_context){.isa = mq_isa_detect(), .threads = 2};
}

/* The demo's model at q4_k, converted anew by each test that uses it. */
static const char *converted(void)
{
    const struct mq_context ctx = context();
    const struct mq_policy policy = mq_policy_default(mq_level_find("q4_k"));
    const char *path = mq_test_temporary("demo.moeq");
    const struct mq_convert_options options = {.output = path, .replace = true};
    struct mq_convert_result result;
    struct mq_view *view;
    struct mq_plan *plan;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    ck_assert_ok(mq_plan_create(view, &policy, &plan, &err));
    ck_assert_msg(mq_convert(&ctx, plan, &options, &result, &err) == MOEQ_OK, "%s", err.message);
    mq_plan_free(plan);
    mq_view_close(view);
    return path;
}

static void flip(const char *path, uint64_t byte, int bit)
{
    unsigned char b;
    const int fd = open(path, O_RDWR);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &b, 1, (off_t)byte), 1);
    b ^= (unsigned char)(1 << bit);
    ck_assert_int_eq(pwrite(fd, &b, 1, (off_t)byte), 1);
    close(fd);
}

static void check(const char *path, struct mq_integrity_result *r)
{
    const struct mq_context ctx = context();
    moeq_error err = {0};
    ck_assert_msg(mq_integrity_check(&ctx, path, r, &err) == MOEQ_OK, "%s", err.message);
}

/* Flips one bit, checks that the damage is found in the right place and nowhere else, and flips it
 * back. `st` describes the sound file. */
static void check_flip(const char *path, const struct mq_safetensors *st, uint64_t byte, int bit)
{
    struct mq_integrity_result r;
    moeq_error err = {0};
    flip(path, byte, bit);
    check(path, &r);
    ck_assert_int_eq(mq_integrity_status(&r, &err), MOEQ_CORRUPT);
    if (byte < st->header_bytes) {
        ck_assert_msg(r.header_damaged && !r.checksums_damaged, "byte %llu bit %d",
                      (unsigned long long)byte, bit);
        ck_assert_uint_eq(r.tensors_checked, 0);
        ck_assert_ptr_nonnull(strstr(err.message, "header"));
    } else if (byte >= st->entries[st->count - 1].offset) {
        ck_assert_msg(!r.header_damaged && r.checksums_damaged, "byte %llu bit %d",
                      (unsigned long long)byte, bit);
        ck_assert_uint_eq(r.damaged_count, 0);
        ck_assert_ptr_nonnull(strstr(err.message, MQ_CRC_NAME));
    } else {
        ck_assert(!r.header_damaged && !r.checksums_damaged);
        ck_assert_uint_eq(r.damaged_count, 1);
        const struct mq_damage *d = &r.damaged[0];
        ck_assert(d->offset <= byte && byte < d->offset + d->size_bytes);
        ck_assert_str_eq(mq_safetensors_find(st, d->name)->name, d->name);
        ck_assert_ptr_nonnull(strstr(err.message, d->name));
        ck_assert_ptr_nonnull(d->role);
    }
    cJSON *json = mq_integrity_json(&r);
    ck_assert(json && cJSON_IsFalse(mq_json_get(json, "ok")));
    cJSON_Delete(json);
    mq_integrity_free(&r);
    flip(path, byte, bit);
}

START_TEST(sound)
{
    const char *path = converted();
    struct mq_integrity_result r;
    moeq_error err = {0};
    check(path, &r);
    ck_assert(mq_integrity_ok(&r));
    ck_assert_uint_gt(r.tensors, 72);
    ck_assert_uint_eq(r.tensors_checked, r.tensors);
    ck_assert_ok(mq_integrity_status(&r, &err));
    mq_integrity_free(&r);
}
END_TEST

START_TEST(every_region)
{
    const char *path = converted();
    struct mq_arena *arena = mq_arena_create();
    struct mq_safetensors st;
    uint64_t seed = 2026;
    ck_assert_ok(mq_safetensors_open(path, arena, &st, NULL));
    const uint64_t crcs = st.entries[st.count - 1].offset, size = st.file.size_bytes;
    for (uint64_t byte = 0; byte < 8; byte++) /* every bit of the length prefix */
        for (int bit = 0; bit < 8; bit++)
            check_flip(path, &st, byte, bit);
    for (uint64_t byte = size - 12; byte < size; byte++) /* last tensor's, header's and own word */
        for (int bit = 0; bit < 8; bit++)
            check_flip(path, &st, byte, bit);
    check_flip(path, &st, st.header_bytes - 1, 0); /* the JSON's padding */
    check_flip(path, &st, crcs, 7);
    for (int i = 0; i < 60; i++) {
        check_flip(path, &st, 8 + mq_test_random(&seed) % (st.header_bytes - 8), i % 8);
        check_flip(path, &st, crcs + mq_test_random(&seed) % (size - crcs), i % 8);
        check_flip(path, &st, mq_test_random(&seed) % size, i % 8);
    }
    for (size_t i = 0; i + 1 < st.count; i++) { /* first or last byte of every tensor */
        const struct mq_st_entry *e = &st.entries[i];
        check_flip(path, &st, i % 2 ? e->offset : e->offset + e->size_bytes - 1, (int)(i % 8));
    }
    struct mq_integrity_result r;
    check(path, &r); /* all flipped back */
    ck_assert(mq_integrity_ok(&r));
    mq_integrity_free(&r);
    mq_safetensors_close(&st);
    mq_arena_destroy(arena);
}
END_TEST

START_TEST(names)
{
    static const struct {
        const char *tensor, *role, *words;
        int32_t layer, expert;
    } cases[] = {
        {"model.layers.2.block_sparse_moe.experts.5.w3.weight", "expert_up",
         "layer 2, expert 5, expert_up", 2, 5},
        {"model.layers.0.block_sparse_moe.experts.0.w2.weight", "expert_down",
         "layer 0, expert 0, expert_down", 0, 0},
        {"model.layers.1.block_sparse_moe.gate.weight", "router", "layer 1, router", 1, -1},
        {"model.layers.1.self_attn.k_proj.weight", "attn_k", "layer 1, attn_k", 1, -1},
        {"lm_head.weight", "head", "head", -1, -1},
        {"moeq.config.json", "side file", "side file", -1, -1},
        {"moeq.pad.0", "padding", "padding", -1, -1},
    };
    const char *path = converted();
    struct mq_arena *arena = mq_arena_create();
    struct mq_safetensors st;
    ck_assert_ok(mq_safetensors_open(path, arena, &st, NULL));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct mq_st_entry *e = mq_safetensors_find(&st, cases[i].tensor);
        struct mq_integrity_result r;
        char words[160];
        ck_assert_msg(e != NULL, "%s", cases[i].tensor);
        flip(path, e->offset + e->size_bytes / 2, 3);
        check(path, &r);
        ck_assert_uint_eq(r.listed_count, 1);
        ck_assert_str_eq(r.damaged[0].name, cases[i].tensor);
        ck_assert_str_eq(r.damaged[0].role, cases[i].role);
        ck_assert_int_eq(r.damaged[0].layer, cases[i].layer);
        ck_assert_int_eq(r.damaged[0].expert, cases[i].expert);
        mq_damage_describe(&r.damaged[0], words, sizeof words);
        ck_assert_str_eq(words, cases[i].words);
        mq_integrity_free(&r);
        flip(path, e->offset + e->size_bytes / 2, 3);
    }
    mq_safetensors_close(&st);
    mq_arena_destroy(arena);
}
END_TEST

START_TEST(more_damage)
{
    const char *path = converted();
    struct mq_arena *arena = mq_arena_create();
    struct mq_safetensors st;
    struct mq_integrity_result r;
    ck_assert_ok(mq_safetensors_open(path, arena, &st, NULL));
    for (size_t i = 3; i < 6; i++)
        flip(path, st.entries[i].offset, 0);
    check(path, &r);
    ck_assert_uint_eq(r.damaged_count, 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_str_eq(r.damaged[i].name, st.entries[3 + i].name);
    mq_integrity_free(&r);
    /* a tensor and the checksum of another: both are named, and that the checksums are damaged */
    flip(path, st.file.size_bytes - 12, 0);
    check(path, &r);
    ck_assert(r.checksums_damaged && !r.header_damaged);
    ck_assert_uint_eq(r.damaged_count, 4);
    mq_integrity_free(&r);
    mq_safetensors_close(&st);
    mq_arena_destroy(arena);
}
END_TEST

static void expect_error(const char *path, moeq_status status, const char *text)
{
    const struct mq_context ctx = context();
    struct mq_integrity_result r;
    moeq_error err = {0};
    ck_assert_int_eq(mq_integrity_check(&ctx, path, &r, &err), status);
    ck_assert_msg(strstr(err.message, text) != NULL, "%s", err.message);
}

START_TEST(other_files)
{
    const char *path = converted();
    struct mq_file file;
    ck_assert_ok(mq_file_open(path, &file, NULL));
    const uint64_t size = file.size_bytes;
    mq_file_close(&file);
    const uint64_t lengths[] = {size - 1, size - 4, size / 2, 5000, 16};
    for (size_t i = 0; i < 5; i++) {
        ck_assert_int_eq(truncate(path, (off_t)lengths[i]), 0);
        const struct mq_context ctx = context();
        struct mq_integrity_result r;
        moeq_error err = {0};
        ck_assert_int_eq(mq_integrity_check(&ctx, path, &r, &err), MOEQ_MALFORMED);
        ck_assert_msg(strstr(err.message, "cut short") || strstr(err.message, "truncated"), "%s",
                      err.message);
    }
    ck_assert_int_eq(truncate(path, 15), 0);
    expect_error(path, MOEQ_MALFORMED, "too short");
    expect_error(mq_test_source("demo/model/model-00001-of-00003.safetensors"), MOEQ_UNSUPPORTED,
                 "no checksums");
    expect_error(mq_test_source("demo/text.txt"), MOEQ_UNSUPPORTED, "no safetensors file");
    expect_error(mq_test_source("demo/absent.moeq"), MOEQ_NOT_FOUND, "cannot open");
}
END_TEST

START_TEST(cancelled)
{
    const char *path = converted();
    atomic_bool stop = true;
    struct mq_context ctx = context();
    ctx.cancel = &stop;
    struct mq_integrity_result r;
    moeq_error err = {0};
    ck_assert_int_eq(mq_integrity_check(&ctx, path, &r, &err), MOEQ_CANCELLED);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, sound);
    tcase_add_test(tests, every_region);
    tcase_add_test(tests, names);
    tcase_add_test(tests, more_damage);
    tcase_add_test(tests, other_files);
    tcase_add_test(tests, cancelled);
}

int main(void)
{
    return mq_test_main("integrity", add);
}
