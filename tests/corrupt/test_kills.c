/*
 * test_kills.c: conversions that are killed after so many writes, again and again: each run gets further than the one
 * before, whatever the time it had, and the last ends with the bytes of one that was left alone. And parts that were
 * damaged between two runs: what is not what was written is converted again.
 */
#include "convert.h"
#include "plan.h"
#include "st_writer.h"
#include "stored.h"
#include "test_model.h"

#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int writes_left; /* 0: no end to them */

ssize_t __real_pwrite(int fd, const void *bytes, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t at);

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    if (writes_left && --writes_left == 0)
        kill(getpid(), SIGKILL);
    return __real_pwrite(fd, bytes, n, at);
}

/* ---- what is converted ---- */

enum { HIDDEN = 64, FFN = 32, VOCAB = 20000, PATH_ROOM = 1200 };

#define LAYER "model.layers.0."
#define EXPERT(e, m, rows, cols)                                                                  \
    {                                                                                             \
        .name = LAYER "block_sparse_moe.experts." e "." m ".weight", .dtype = MQ_BF16, .dims = 2, \
        .shape = {                                                                                \
            rows,                                                                                 \
            cols                                                                                  \
        }                                                                                         \
    }
#define MATRIX(n, rows, cols)                                                     \
    {                                                                             \
        .name = n ".weight", .dtype = MQ_BF16, .dims = 2, .shape = { rows, cols } \
    }
#define VECTOR(n)                                                             \
    {                                                                         \
        .name = n ".weight", .dtype = MQ_BF16, .dims = 1, .shape = { HIDDEN } \
    }

/* One layer, and a vocabulary whose matrices are several chunks. */
static const char *wide_model(void)
{
    static char folder[1000];
    struct mq_st_entry entries[] = {MATRIX("model.embed_tokens", VOCAB, HIDDEN),
                                    MATRIX("lm_head", VOCAB, HIDDEN),
                                    VECTOR("model.norm"),
                                    VECTOR(LAYER "input_layernorm"),
                                    VECTOR(LAYER "post_attention_layernorm"),
                                    MATRIX(LAYER "self_attn.q_proj", HIDDEN, HIDDEN),
                                    MATRIX(LAYER "self_attn.k_proj", HIDDEN, HIDDEN),
                                    MATRIX(LAYER "self_attn.v_proj", HIDDEN, HIDDEN),
                                    MATRIX(LAYER "self_attn.o_proj", HIDDEN, HIDDEN),
                                    MATRIX(LAYER "block_sparse_moe.gate", 2, HIDDEN),
                                    EXPERT("0", "w1", FFN, HIDDEN),
                                    EXPERT("0", "w2", HIDDEN, FFN),
                                    EXPERT("0", "w3", FFN, HIDDEN),
                                    EXPERT("1", "w1", FFN, HIDDEN),
                                    EXPERT("1", "w2", HIDDEN, FFN),
                                    EXPERT("1", "w3", FFN, HIDDEN)};
    enum { N = sizeof entries / sizeof *entries };
    static uint16_t weights[VOCAB * HIDDEN];
    static const char config[] =
        "{\"model_type\": \"mixtral\", \"hidden_size\": 64, \"intermediate_size\": 32,"
        " \"num_hidden_layers\": 1, \"num_attention_heads\": 4, \"num_key_value_heads\": 4,"
        " \"num_local_experts\": 2, \"num_experts_per_tok\": 1, \"vocab_size\": 20000}";
    struct mq_st_writer w;
    moeq_error err = {0};
    char command[PATH_ROOM];
    if (folder[0]) /* once: a source that is written anew is another one */
        return folder;
    snprintf(folder, sizeof folder, "%s", mq_test_temporary("wide"));
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(mkdir(folder, 0777), 0);
    test_write(test_path(folder, "config.json"), config, sizeof config - 1);
    ck_assert_int_eq(
        mq_st_writer_open(&w, test_path(folder, "model.safetensors"), entries, N, NULL, NULL, &err),
        MOEQ_OK);
    uint32_t random = 1;
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < entries[i].size_bytes / 2; k++) {
            random = random * 1664525 + 1013904223;
            weights[k] = (uint16_t)(0x3c00 | (random >> 16 & 0x80ff)); /* of about 2^-7 */
        }
        ck_assert_int_eq(mq_st_writer_put(&w, i, 0, weights, entries[i].size_bytes, &err), MOEQ_OK);
    }
    ck_assert_int_eq(mq_st_writer_finish(&w, &err), MOEQ_OK);
    return folder;
}

static const struct job {
    const char *model; /* NULL: the wide one */
    uint64_t shard_bytes;
    bool gguf;
    int some; /* writes: more than nothing, and less than all tensors take */
} jobs[] = {
    {NULL, 0, false, 20},
    {MIXTRAL, 200000, false, 60},
    {MIXTRAL, 0, true, 60},                               /* rows of heads in another order */
    {"tests/fixtures/families/deepseek_v3", 0, true, 60}, /* a matrix in two, one of them turned */
    {"tests/fixtures/families/gpt_oss", 0, true, 60},
};
enum { JOBS = sizeof jobs / sizeof *jobs };

static moeq_status convert(const struct job *job, const char *output,
                           struct mq_convert_result *result, moeq_error *err)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 1};
    const struct mq_convert_options how = {.output = output};
    const struct mq_gguf_options up = {.unify_up = true};
    const struct mq_policy policy =
        job->gguf ? (struct mq_policy){0} : mq_policy_default(mq_level_find("q8_0"));
    struct mq_convert_result unused;
    struct mq_plan *plan;
    struct mq_view *view = test_open(job->model ? mq_test_source(job->model) : wide_model());
    *err = (moeq_error){0};
    if (job->gguf) {
        mq_buffer_free(&view->side[MQ_SIDE_TOKENIZER]);
        view->side[MQ_SIDE_TOKENIZER] =
            test_read(mq_test_source("tests/fixtures/gguf/letters_tokenizer.json"));
    }
    moeq_status status = job->gguf
                             ? mq_plan_create_gguf(view, &policy, &up, &plan, err)
                             : mq_plan_create_sharded(view, &policy, job->shard_bytes, &plan, err);
    ck_assert_msg(status == MOEQ_OK, "%s", err->message);
    status = mq_convert(&context, plan, &how, result ? result : &unused, err);
    mq_plan_free(plan);
    mq_view_close(view);
    return status;
}

static void fresh(const struct job *job, const char *name, char output[1024])
{
    char folder[1000], command[2 * PATH_ROOM];
    snprintf(folder, sizeof folder, "%s", mq_test_temporary(name));
    snprintf(command, sizeof command, "rm -rf '%s' && mkdir '%s'", folder, folder);
    ck_assert_int_eq(system(command), 0);
    snprintf(output, 1024, "%s/m.%.4s", folder, job->gguf ? "gguf" : "moeq");
}

/* Both folders have the same files, and nothing else. */
static void same(const char *a, const char *b)
{
    char command[2 * PATH_ROOM];
    snprintf(command, sizeof command, "diff -r \"$(dirname '%s')\" \"$(dirname '%s')\"", a, b);
    ck_assert_int_eq(system(command), 0);
}

static void finish(const struct job *job, const char *output)
{
    moeq_error err;
    ck_assert_msg(convert(job, output, NULL, &err) == MOEQ_OK, "%s", err.message);
}

/* A run that is killed at its n-th write; false: it came to its end before. */
static bool killed(const struct job *job, const char *output, int n)
{
    int status;
    wide_model();
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        moeq_error err;
        writes_left = n;
        _exit(convert(job, output, NULL, &err) != MOEQ_OK);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) {
        ck_assert_int_eq(WEXITSTATUS(status), 0);
        return false;
    }
    ck_assert(WTERMSIG(status) == SIGKILL);
    return true;
}

static const char *part_of(const struct job *job, const char *output, const char *end,
                           char path[PATH_ROOM])
{
    snprintf(path, PATH_ROOM, "%s%s%s", output, job->shard_bytes ? ".index.json" : "", end);
    return path;
}

static uint64_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* ---- the tests ---- */

START_TEST(each_run_gets_further)
{
    enum { WRITES = 24, MOST = 60 };
    const struct job *job = &jobs[_i];
    char whole[1024], output[1024], path[PATH_ROOM];
    fresh(job, "whole", whole);
    finish(job, whole);
    fresh(job, "killed", output);
    uint64_t before = 0;
    int kills = 0, more = 0;
    while (killed(job, output, WRITES + more)) {
        const uint64_t now = size_of(part_of(job, output, ".part.journal", path));
        ck_assert_uint_ge(now, before);
        if (now - before < 38) /* tensors are done, and the rest is more than so many writes */
            more += WRITES;
        before = now;
        ck_assert_int_lt(++kills, MOST);
    }
    ck_assert_int_gt(kills, 0);
    same(output, whole);
}
END_TEST

/* Bytes [at, at + n) of a file become others. */
static void damage(const char *path, uint64_t at, uint64_t n)
{
    struct mq_buffer bytes = test_read(path);
    for (uint64_t i = at; i < at + n && i < bytes.size; i++)
        bytes.data[i] ^= 0x55;
    test_write(path, bytes.data, bytes.size);
    mq_buffer_free(&bytes);
}

/* The part of the first file with weights. */
static void first_part(const struct job *job, const char *output, char path[PATH_ROOM])
{
    glob_t found;
    part_of(job, output, ".part", path);
    if (!job->shard_bytes)
        return;
    snprintf(path, PATH_ROOM, "%.*s-00001-of-*.part", (int)strlen(output) - 5, output);
    ck_assert_int_eq(glob(path, 0, NULL, &found), 0);
    snprintf(path, PATH_ROOM, "%s", found.gl_pathv[0]);
    globfree(&found);
}

/* What was written is damaged, or never came to the disk, before the next run. */
START_TEST(damaged_parts)
{
    const struct job *job = &jobs[_i];
    char whole[1024], output[1024], path[PATH_ROOM];
    struct mq_convert_result result;
    moeq_error err;
    fresh(job, "whole", whole);
    finish(job, whole);
    for (int i = 0; i < 6; i++) {
        fresh(job, "damaged", output);
        ck_assert(killed(job, output, job->some));
        first_part(job, output, path);
        const uint64_t size = size_of(path);
        ck_assert_msg(size > 0, "%s", path);
        damage(path, (uint64_t)i * size / 6, i % 2 ? 1 : size / 12);
        ck_assert_msg(convert(job, output, &result, &err) == MOEQ_OK, "%s", err.message);
        same(output, whole);
    }
}
END_TEST

/* A byte of what an earlier run has finished: that tensor alone is converted again. */
START_TEST(only_what_is_damaged_is_done_again)
{
    const struct job *job = &jobs[2];
    char whole[1024], output[1024], path[PATH_ROOM];
    struct mq_convert_result good, result;
    moeq_error err;
    fresh(job, "whole", whole);
    finish(job, whole);
    fresh(job, "again", output);
    ck_assert(killed(job, output, job->some));
    ck_assert_msg(convert(job, output, &good, &err) == MOEQ_OK, "%s", err.message);
    same(output, whole);
    fresh(job, "again", output);
    ck_assert(killed(job, output, job->some));
    struct mq_view *view = test_open(whole); /* the first row of the embeddings */
    const struct mq_tensor *t = mq_view_find(view, MQ_ROLE_EMBEDDING, -1, -1);
    damage(part_of(job, output, ".part", path), t->offset + 3, 1);
    mq_view_close(view);
    ck_assert_msg(convert(job, output, &result, &err) == MOEQ_OK, "%s", err.message);
    same(output, whole);
    ck_assert_uint_gt(good.tensors_resumed, 3);
    ck_assert_uint_eq(result.tensors_resumed, good.tensors_resumed - 1);
    ck_assert_uint_eq(good.tensors_damaged, 0);
    ck_assert_uint_eq(result.tensors_damaged, 1);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, each_run_gets_further, 0, JOBS);
    tcase_add_loop_test(tests, damaged_parts, 0, JOBS);
    tcase_add_test(tests, only_what_is_damaged_is_done_again);
}

int main(void)
{
    return mq_test_main("test_kills", add_tests);
}
