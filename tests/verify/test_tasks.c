/* Accuracies of tasks against an independent computation (tests/data/make_task_goldens.py); both forms of files; neither
 * padding, nor passes, nor a recording changes a bit; what is no task is refused with its line. */
#include "comparison_json.h"
#include "json.h"
#include "stored.h"
#include "tasks_file.h"
#include "test_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mq_context context(void)
{
    return (struct mq_context){.isa = mq_isa_detect(), .threads = 2};
}

static struct mq_task_files read_tasks(const char *a, const char *b)
{
    const char *paths[] = {mq_test_source(a), b ? mq_test_source(b) : NULL, NULL};
    struct mq_task_files files;
    moeq_error err = {0};
    ck_assert_msg(mq_task_files_read(paths, &files, &err) == MOEQ_OK, "%s", err.message);
    return files;
}

/* The demo and its q3_k, with one window of text. */
static cJSON *sweep(const struct mq_context *ctx, const struct mq_task_files *files, size_t length)
{
    const struct mq_comparison_options options = {
        .text = mq_test_text(mq_test_source("demo/text.txt")),
        .protocol = {.context = length, .max_tokens = length, .tasks = files},
    };
    const struct mq_candidate arm = {.name = "q3_k",
                                     .policy = mq_policy_default(mq_level_find("q3_k"))};
    struct mq_view *view;
    struct mq_baseline baseline;
    struct mq_comparison result;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    baseline = mq_baseline_of(view);
    ck_assert_msg(mq_compare(ctx, &baseline, &arm, 1, &options, &result, &err) == MOEQ_OK, "%s",
                  err.message);
    cJSON *document = mq_sweep_json(&result, NULL);
    mq_comparison_free(&result);
    mq_view_close(view);
    return document;
}

static const cJSON *tasks_of(const cJSON *document, int row)
{
    return mq_json_get(cJSON_GetArrayItem(mq_json_get(document, "rows"), row), "tasks");
}

/* Every value of the golden is in the result. */
static void compare(const cJSON *golden, const cJSON *result)
{
    size_t i = 0;
    ck_assert_msg(result != NULL, "'%s' is missing", golden->string ? golden->string : "");
    if (cJSON_IsNumber(golden))
        ck_assert_msg(fabs(golden->valuedouble - result->valuedouble) < 1e-12,
                      "%s: expected %g, found %g", golden->string, golden->valuedouble,
                      result->valuedouble);
    for (const cJSON *child = golden->child; child; child = child->next, i++)
        compare(child, child->string ? mq_json_get(result, child->string)
                                     : cJSON_GetArrayItem(result, (int)i));
}

START_TEST(independent)
{
    const struct mq_json_limits limits = {.depth = 8, .values = 1000};
    const struct mq_context ctx = context();
    static char text[1 << 14];
    const char *path = mq_test_source("tests/verify/data/tasks_q3_k.json");
    cJSON *golden;
    moeq_error err = {0};
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    const size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    ck_assert_ok(mq_json_parse(text, n, &limits, path, 0, &golden, &err));
    struct mq_task_files files =
        read_tasks("tests/fixtures/tasks/continue.jsonl", "tests/fixtures/tasks/words.jsonl");
    cJSON *document = sweep(&ctx, &files, 48);
    for (int row = 0; row < 2; row++)
        compare(cJSON_GetArrayItem(mq_json_get(golden, "rows"), row), tasks_of(document, row));
    ck_assert_ptr_null(mq_json_get(tasks_of(document, 0), "agreement"));
    cJSON_Delete(document);
    cJSON_Delete(golden);
    mq_task_files_free(&files);
}
END_TEST

static bool same(const cJSON *a, const cJSON *b)
{
    char *x = cJSON_PrintUnformatted(a), *y = cJSON_PrintUnformatted(b);
    const bool equal = strcmp(x, y) == 0;
    free(x);
    free(y);
    return equal;
}

/* The .bin has the same tasks as the lines. */
START_TEST(forms)
{
    struct mq_task_files lines = read_tasks("tests/fixtures/tasks/continue.jsonl", NULL);
    struct mq_task_files binary = read_tasks("tests/fixtures/tasks/continue.bin", NULL);
    const struct mq_task_file *a = &lines.files[0], *b = &binary.files[0];
    ck_assert(b->binary && !a->binary);
    ck_assert_uint_eq(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        ck_assert_str_eq(a->tasks[i].context, b->tasks[i].context);
        ck_assert_uint_eq(a->tasks[i].answer, b->tasks[i].answer);
        ck_assert_uint_eq(a->tasks[i].choices_count, b->tasks[i].choices_count);
        for (uint32_t c = 0; c < a->tasks[i].choices_count; c++)
            ck_assert_str_eq(a->tasks[i].choices[c], b->tasks[i].choices[c]);
    }
    mq_task_files_free(&lines);
    mq_task_files_free(&binary);
}
END_TEST

/* Every log-likelihood, [slots], and how long windows are. */
static double *likelihoods(const struct mq_context *ctx, const struct mq_task_files *files,
                           size_t *slots, size_t *length)
{
    const struct mq_protocol_options protocol = {.context = 16, .max_tokens = 16, .tasks = files};
    struct mq_text_windows text;
    struct mq_view *view;
    struct mq_referee *referee;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    ck_assert_msg(mq_protocol_text(&protocol, view, mq_test_text(mq_test_source("demo/text.txt")),
                                   &text, &err) == MOEQ_OK,
                  "%s", err.message);
    struct mq_arm arm = {.name = "model", .view = view, .routes_from = -1};
    ck_assert_ok(mq_referee_create(ctx, &arm, 1, &text, &referee, &err));
    const struct mq_observer observer = mq_referee_observer(referee);
    ck_assert_ok(mq_evaluate(ctx, &arm, 1, &text.windows, &observer, &err));
    ck_assert_ok(mq_referee_tasks(referee, &arm, NULL, &err));
    *slots = text.tasks->scored;
    *length = text.tasks->length;
    double *nll = malloc(*slots * sizeof *nll);
    memcpy(nll, mq_referee_task_nll(referee, 0), *slots * sizeof *nll);
    mq_referee_free(referee);
    mq_text_windows_free(&text);
    mq_view_close(view);
    return nll;
}

/* Neither padding to a longer task beside, nor how passes are cut, nor threads change a bit. */
START_TEST(padding)
{
    struct mq_context ctx = context();
    struct mq_task_files alone = read_tasks("tests/fixtures/tasks/continue.jsonl", NULL);
    struct mq_task_files beside =
        read_tasks("tests/fixtures/tasks/continue.jsonl", "tests/fixtures/tasks/words.jsonl");
    size_t n[3], length[3];
    double *a = likelihoods(&ctx, &alone, &n[0], &length[0]);
    double *b = likelihoods(&ctx, &beside, &n[1], &length[1]);
    ctx.memory_bytes = 8 << 20; /* several passes */
    ctx.threads = 1;
    double *c = likelihoods(&ctx, &alone, &n[2], &length[2]);
    ck_assert(length[0] < length[1] && n[0] > 0 && n[0] < n[1] && n[0] == n[2]);
    ck_assert_int_eq(memcmp(a, b, n[0] * sizeof *a), 0);
    ck_assert_int_eq(memcmp(a, c, n[0] * sizeof *a), 0);
    free(a);
    free(b);
    free(c);
    mq_task_files_free(&alone);
    mq_task_files_free(&beside);
}
END_TEST

/* A text's figures are those without tasks. */
START_TEST(beside_the_text)
{
    const struct mq_context ctx = context();
    struct mq_task_files files = read_tasks("tests/fixtures/tasks/continue.jsonl", NULL);
    cJSON *with = sweep(&ctx, &files, 48), *without = sweep(&ctx, NULL, 48);
    for (int row = 0; row < 2; row++) {
        cJSON *r = cJSON_GetArrayItem(mq_json_get(with, "rows"), row);
        cJSON_DeleteItemFromObjectCaseSensitive(r, "tasks");
        ck_assert(same(r, cJSON_GetArrayItem(mq_json_get(without, "rows"), row)));
    }
    cJSON_Delete(with);
    cJSON_Delete(without);
    mq_task_files_free(&files);
}
END_TEST

static void refused(const char *bytes, size_t n, const char *message)
{
    struct mq_arena *arena = mq_arena_create();
    struct mq_task_file file;
    moeq_error err = {0};
    ck_assert_int_ne(mq_task_file_parse("t.jsonl", bytes, n, arena, &file, &err), MOEQ_OK);
    ck_assert_msg(strstr(err.message, message), "'%s' lacks '%s'", err.message, message);
    mq_arena_destroy(arena);
}

START_TEST(refusals)
{
    static const char *const texts[][2] = {
        {"", "holds no tasks"},
        {"\n\n", "holds no tasks"},
        {"{\"context\": \"a\", \"choices\": [\" b\", \" c\"], \"answer\": 0}\nnonsense", "line 2"},
        {"{\"choices\": [\" b\", \" c\"], \"answer\": 0}", "\"context\": expected a text"},
        {"{\"context\": \"a\", \"choices\": [\" b\"], \"answer\": 0}",
         "1 choices: expected from 2 to 100"},
        {"{\"context\": \"a\", \"choices\": [\" b\", \"\"], \"answer\": 0}",
         "texts that are not empty"},
        {"{\"context\": \"a\", \"choices\": [\" b\", 7], \"answer\": 0}",
         "texts that are not empty"},
        {"{\"context\": \"a\", \"choices\": \"b\", \"answer\": 0}", "a list of texts"},
        {"{\"context\": \"a\", \"choices\": [\" b\", \" c\"], \"answer\": 2}", "2 of 2 choices"},
        {"{\"context\": \"a\", \"choices\": [\" b\", \" c\"], \"answer\": \"B\"}",
         "the number of the right choice"},
        {"{\"context\": \"a\\u0000\", \"choices\": [\" b\", \" c\"], \"answer\": 0}", "line 1"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        refused(texts[i][0], strlen(texts[i][0]), texts[i][1]);
    /* one task: question "q", answers "a" and "b" of which the second is right, and none of mc2 */
    static const char sound[] = "\1\0\0\0\10\0\0\0"
                                "\1\0\0\0q"
                                "\2\0\0\0"
                                "\1\0\0\0a"
                                "\1\0\0\0b"
                                "\0\0\0\0\1\0\0\0"
                                "\0\0\0\0";
    struct mq_arena *arena = mq_arena_create();
    struct mq_task_file file;
    moeq_error err = {0};
    ck_assert_ok(mq_task_file_parse("t.bin", sound, sizeof sound - 1, arena, &file, &err));
    ck_assert_uint_eq(file.tasks[0].answer, 1);
    ck_assert_str_eq(file.tasks[0].choices[0], " a");
    mq_arena_destroy(arena);
    char bytes[sizeof sound];
    memcpy(bytes, sound, sizeof sound);
    refused(bytes, sizeof sound, "1 bytes behind its 1 tasks");
    for (size_t n = 4; n < sizeof sound - 1; n++)
        refused(bytes, n, n < 8 + 31 ? "do not fit" : "task 1");
    bytes[27] = 1; /* both right */
    refused(bytes, sizeof sound - 1, "2 of 2 answers are right");
    bytes[0] = 2;
    refused(bytes, sizeof sound - 1, "2 tasks do not fit");
}
END_TEST

/* What the model's positions do not hold, what adds nothing, and what shares a window. */
START_TEST(windows)
{
    enum { WORDS = 200 };
    static char longer[2 * WORDS + 64];
    char *at = longer + sprintf(longer, "{\"context\": \"");
    for (int i = 0; i < WORDS; i++)
        at += sprintf(at, "x ");
    sprintf(at, "x\", \"choices\": [\" b\", \" c\"], \"answer\": 0}");
    const char *const lines[] = {
        longer,
        "{\"context\": \"The sea\", \"choices\": [\" high\", \"  \"], \"answer\": 0}",
        "{\"context\": \"\", \"choices\": [\"a\", \"b\", \"c\"], \"answer\": 0}",
    };
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    view->hparams.max_positions = 100;
    for (size_t i = 0; i < 3; i++) {
        struct mq_arena *arena = mq_arena_create();
        struct mq_task_file file;
        const struct mq_task_files files = {arena, &file, 1};
        struct mq_task_set *set = NULL;
        memset(&err, 0, sizeof err);
        ck_assert_ok(mq_task_file_parse("t.jsonl", lines[i], strlen(lines[i]), arena, &file, &err));
        const moeq_status status = mq_task_set_create(view, &files, &set, &err);
        if (i == 0) {
            ck_assert_int_eq(status, MOEQ_INVALID_ARGUMENT);
            ck_assert_msg(strstr(err.message, "t.jsonl: line 1: choice 0 behind its context takes"),
                          "%s", err.message);
        } else {
            ck_assert_msg(status == MOEQ_OK, "%s", err.message);
            ck_assert_uint_eq(set->windows, 1); /* a token each: they share it */
            ck_assert_uint_eq(set->sequences[1].bytes,
                              i == 1 ? 2 : 1); /* nothing but blanks: all count */
        }
        mq_task_set_free(set);
        mq_arena_destroy(arena);
    }
    mq_view_close(view);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, independent);
    tcase_add_test(tests, forms);
    tcase_add_test(tests, padding);
    tcase_add_test(tests, beside_the_text);
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, windows);
}

int main(void)
{
    return mq_test_main("tasks", add);
}
