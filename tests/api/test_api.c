/* test_api.c: libmoeq as an embedder uses it: moeq.h and nothing else. */
#include "moeq.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MODEL MQ_TEST_SOURCE_DIR "/demo/model"
#define TEXT MQ_TEST_SOURCE_DIR "/demo/text.txt"
#define OUTPUT MQ_TEST_BINARY_DIR "/api.moeq"

static moeq_model *open_model(const char *path)
{
    moeq_model *model;
    moeq_error err = {0};
    ck_assert_msg(moeq_model_open(path, &model, &err) == MOEQ_OK, "%s", err.message);
    return model;
}

START_TEST(errors_say_what_and_where)
{
    moeq_model *model = (moeq_model *)&model;
    moeq_error err = {0};
    ck_assert_int_eq(moeq_model_open("/nowhere/at/all", &model, &err), MOEQ_NOT_FOUND);
    ck_assert_ptr_null(model);
    ck_assert_int_eq(err.status, MOEQ_NOT_FOUND);
    ck_assert_str_eq(err.path, "/nowhere/at/all");
    ck_assert_str_eq(err.message, "/nowhere/at/all: no such file or folder");
    moeq_model_close(NULL);
}
END_TEST

START_TEST(choices_are_checked_and_noted)
{
    static const char folder[] = MQ_TEST_SOURCE_DIR "/tests/fixtures/oracles/mistral_swa";
    moeq_open_options options = {.struct_size = sizeof options, .sliding_window = "ignore"};
    moeq_model *model;
    moeq_error err = {0};
    ck_assert_int_eq(moeq_model_open_with(folder, &options, &model, &err), MOEQ_OK);
    ck_assert_ptr_nonnull(strstr(moeq_model_note(model, 0), "sliding_window"));
    ck_assert_ptr_null(moeq_model_note(model, 1));
    moeq_model_close(model);
    options.sliding_window = "sometimes";
    ck_assert_int_eq(moeq_model_open_with(folder, &options, &model, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_null(model);
    model = open_model(folder);
    ck_assert_ptr_null(moeq_model_note(model, 0));
    moeq_model_close(model);
}
END_TEST

START_TEST(tokenizes)
{
    moeq_model *model = open_model(MODEL);
    int32_t *ids;
    size_t with, without;
    ck_assert_int_eq(moeq_tokenize(model, "the mill", 8, true, &ids, &with, NULL), MOEQ_OK);
    ck_assert_int_eq(ids[0], 1);
    moeq_free(ids);
    ck_assert_int_eq(moeq_tokenize(model, "the mill", 8, false, &ids, &without, NULL), MOEQ_OK);
    ck_assert_uint_eq(with, without + 1);
    moeq_free(ids);
    moeq_error err = {0};
    ck_assert_int_ne(moeq_tokenize(model, "\xff", 1, true, &ids, &with, &err), MOEQ_OK);
    ck_assert_ptr_null(ids);
    moeq_model_close(model);
}
END_TEST

START_TEST(converts_what_it_planned)
{
    moeq_model *model = open_model(MODEL);
    const moeq_recipe recipe = {.struct_size = sizeof recipe, .level = "q4_k"};
    moeq_error err = {0};
    uint64_t bytes = 0;
    remove(OUTPUT);
    ck_assert_int_eq(moeq_plan_bytes(model, &recipe, &bytes, &err), MOEQ_OK);
    ck_assert_msg(moeq_convert(model, &recipe, OUTPUT, false, NULL, &err) == MOEQ_OK, "%s",
                  err.message);
    struct stat st;
    ck_assert_int_eq(stat(OUTPUT, &st), 0);
    ck_assert_uint_eq((uint64_t)st.st_size, bytes);
    char *report;
    ck_assert_int_eq(moeq_check(OUTPUT, NULL, &report, &err), MOEQ_OK);
    ck_assert_ptr_nonnull(strstr(report, "\"moeq_result\""));
    moeq_free(report);
    ck_assert_int_eq(moeq_convert(model, &recipe, OUTPUT, false, NULL, &err),
                     MOEQ_INVALID_ARGUMENT); /* it exists */
    moeq_model_close(model);

    FILE *f = fopen(OUTPUT, "r+b"); /* one flipped bit in the middle */
    ck_assert_ptr_nonnull(f);
    fseek(f, (long)bytes / 2, SEEK_SET);
    const int c = fgetc(f);
    fseek(f, (long)bytes / 2, SEEK_SET);
    fputc(c ^ 4, f);
    fclose(f);
    moeq_error damage = {0};
    ck_assert_int_eq(moeq_check(OUTPUT, NULL, &report, &damage), MOEQ_CORRUPT);
    ck_assert_ptr_nonnull(strstr(damage.message, "layer"));
    moeq_free(report);
}
END_TEST

/* `shard_bytes` came later, too. */
START_TEST(converts_to_several_files)
{
    moeq_model *model = open_model(MODEL), *again;
    moeq_recipe recipe = {
        .struct_size = sizeof recipe, .level = "q4_k", .shard_bytes = UINT64_C(1) << 20};
    const char *output = MQ_TEST_BINARY_DIR "/shards.moeq";
    const char *index = MQ_TEST_BINARY_DIR "/shards.moeq.index.json";
    const char *shard = MQ_TEST_BINARY_DIR "/shards-00004-of-00005.moeq";
    moeq_error err = {0};
    uint64_t bytes, one;
    char *report;
    remove(output);
    ck_assert_int_eq(moeq_plan_bytes(model, &recipe, &bytes, &err), MOEQ_OK);
    ck_assert_msg(moeq_convert(model, &recipe, output, true, NULL, &err) == MOEQ_OK, "%s",
                  err.message);
    again = open_model(index);
    moeq_model_close(again);
    ck_assert_msg(moeq_check(index, NULL, &report, &err) == MOEQ_OK, "%s", err.message);
    char expected[64];
    snprintf(expected, sizeof expected, "\"file_bytes\":\t%llu", (unsigned long long)bytes);
    ck_assert_ptr_nonnull(strstr(report, expected));
    moeq_free(report);
    ck_assert_int_eq(remove(shard), 0);
    ck_assert_int_eq(moeq_check(index, NULL, &report, &err), MOEQ_NOT_FOUND);
    ck_assert_str_eq(err.path, shard);
    moeq_free(report);
    recipe.struct_size = offsetof(moeq_recipe, shard_bytes);
    memset(&err, 0, sizeof err);
    ck_assert_int_eq(moeq_plan_bytes(model, &recipe, &one, &err), MOEQ_OK);
    ck_assert_uint_lt(one, bytes);
    ck_assert_msg(moeq_convert(model, &recipe, output, true, NULL, &err) == MOEQ_OK, "%s",
                  err.message);
    struct stat st;
    ck_assert_int_eq(stat(output, &st), 0);
    ck_assert_uint_eq((uint64_t)st.st_size, one);
    moeq_model_close(model);
}
END_TEST

/* Of a model without shared experts nothing is at that level, but it is looked up. */
START_TEST(shared_experts_have_a_level)
{
    moeq_model *model = open_model(MODEL);
    moeq_recipe recipe = {.struct_size = sizeof recipe, .level = "q4_k", .shared = "q6_k"};
    uint64_t bytes;
    moeq_error err = {0};
    ck_assert_int_eq(moeq_plan_bytes(model, &recipe, &bytes, &err), MOEQ_OK);
    recipe.shared = "q9";
    ck_assert_int_eq(moeq_plan_bytes(model, &recipe, &bytes, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "q9"));
    recipe.struct_size = offsetof(moeq_recipe, shared); /* of before there was the field */
    ck_assert_int_eq(moeq_plan_bytes(model, &recipe, &bytes, NULL), MOEQ_OK);
    moeq_model_close(model);
}
END_TEST

START_TEST(names_are_as_people_type_them)
{
    moeq_model *model = open_model(MODEL);
    const moeq_recipe typed = {.struct_size = sizeof typed, .level = "Q4_K_M"};
    const moeq_recipe mix = {.struct_size = sizeof mix, .mix = "q4_k_m"};
    const moeq_recipe dynamic = {.struct_size = sizeof dynamic, .level = "UD-Q4_K_XL"};
    uint64_t bytes, expected;
    moeq_error err = {0};
    ck_assert_int_eq(moeq_plan_bytes(model, &typed, &bytes, &err), MOEQ_OK);
    ck_assert_int_eq(moeq_plan_bytes(model, &mix, &expected, &err), MOEQ_OK);
    ck_assert_uint_eq(bytes, expected);
    ck_assert_int_eq(moeq_plan_bytes(model, &dynamic, &bytes, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "mix4"));
    moeq_model_close(model);
}
END_TEST

START_TEST(exports_what_it_can_read_again)
{
    moeq_model *model = open_model(MODEL), *again;
    const moeq_recipe mix = {.struct_size = sizeof mix, .mix = "mix4"};
    const moeq_recipe both = {.struct_size = sizeof both, .mix = "mix4", .level = "q4_k"};
    const moeq_text text = {.struct_size = sizeof text, .path = TEXT, .tokens = 512};
    const char *output = MQ_TEST_BINARY_DIR "/api.gguf";
    moeq_error err = {0};
    char *report;
    remove(output);
    ck_assert_msg(moeq_export_gguf(model, &mix, NULL, output, false, NULL, &err) == MOEQ_OK, "%s",
                  err.message);
    again = open_model(output);
    ck_assert_msg(moeq_eval(again, &text, NULL, &report, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_ptr_nonnull(strstr(report, "perplexity"));
    moeq_free(report);
    moeq_error twice = {0};
    ck_assert_int_eq(moeq_export_gguf(again, &mix, NULL, output, true, NULL, &twice),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(twice.message, "is quantized already"));
    moeq_model_close(again);
    ck_assert_int_eq(moeq_export_gguf(model, &both, NULL, output, true, NULL, &err),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_str_eq(err.message, "a mix and levels exclude each other");
    moeq_model_close(model);
}
END_TEST

START_TEST(calibrates)
{
    moeq_model *model = open_model(MODEL);
    const moeq_text text = {.struct_size = sizeof text, .path = TEXT, .tokens = 1024};
    moeq_recipe recipe = {.struct_size = sizeof recipe, .level = "q3_k", .effort = "calibrated"};
    const char *output = MQ_TEST_BINARY_DIR "/api-calibrated.moeq";
    moeq_error err = {0}, other = {0}, missing = {0}, sweep = {0};
    uint64_t bytes;
    char *report;
    ck_assert_int_eq(moeq_convert(model, &recipe, output, true, NULL, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_str_eq(err.message, "effort \"calibrated\" needs a text");
    recipe.text = &text;
    recipe.effort = "best";
    ck_assert_int_eq(moeq_plan_bytes(model, &recipe, &bytes, &other), MOEQ_INVALID_ARGUMENT);
    recipe.effort = "calibrated";
    ck_assert_int_eq(moeq_sweep(model, &text, &recipe, 1, NULL, &report, &sweep),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sweep.message, "moeq_sweep does not calibrate"));
    err = (moeq_error){0};
    ck_assert_msg(moeq_convert(model, &recipe, output, true, NULL, &err) == MOEQ_OK, "%s",
                  err.message);
    /* on the text that it was calibrated on: the KL divergence is less than half of plain q3_k's */
    moeq_model *calibrated = open_model(output);
    const moeq_recipe rows[] = {
        {.struct_size = sizeof *rows, .level = "q3_k"},
        {.struct_size = sizeof *rows, .model = calibrated},
    };
    ck_assert_msg(moeq_sweep(model, &text, rows, 2, NULL, &report, &err) == MOEQ_OK, "%s",
                  err.message);
    double kld[2] = {0};
    const char *at = report;
    for (int i = 0; i < 2; i++) {
        at = strstr(strstr(at, "\"is_baseline\":\tfalse"), "\"kld_nats\"");
        ck_assert_ptr_nonnull(at);
        kld[i] = strtod(strstr(at, "\"value\":") + strlen("\"value\":"), NULL);
    }
    ck_assert_msg(kld[1] > 0.0 && kld[1] < 0.5 * kld[0], "%g and %g", kld[0], kld[1]);
    moeq_free(report);
    moeq_model_close(calibrated);
    recipe = (moeq_recipe){.struct_size = sizeof recipe,
                           .level = "q3_k",
                           .calibration = MQ_TEST_BINARY_DIR "/none.cal"};
    ck_assert_int_eq(moeq_plan_bytes(model, &recipe, &bytes, &missing), MOEQ_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(missing.path, "none.cal"));
    moeq_model_close(model);
}
END_TEST

static bool stop_at_once(void *user, const char *phase, const char *unit, uint64_t done,
                         uint64_t total)
{
    (void)phase, (void)unit, (void)done, (void)total;
    ++*(int *)user;
    return false;
}

START_TEST(sweeps_and_can_be_stopped)
{
    moeq_model *model = open_model(MODEL);
    const moeq_text text = {.struct_size = sizeof text, .path = TEXT, .tokens = 1024};
    const moeq_recipe recipes[] = {{.struct_size = sizeof(moeq_recipe), .level = "q3_k"},
                                   {.struct_size = sizeof(moeq_recipe), .level = "bf16"}};
    char *report;
    moeq_error err = {0};
    ck_assert_msg(moeq_sweep(model, &text, recipes, 2, NULL, &report, &err) == MOEQ_OK, "%s",
                  err.message);
    ck_assert_ptr_nonnull(strstr(report, "q3_k"));
    moeq_free(report);
    int calls = 0;
    const moeq_job job = {
        .struct_size = sizeof job, .progress = stop_at_once, .progress_user = &calls};
    ck_assert_int_eq(moeq_eval(model, &text, &job, &report, &err), MOEQ_CANCELLED);
    ck_assert_int_gt(calls, 0);
    ck_assert_ptr_null(report);
    moeq_model_close(model);
}
END_TEST

/* A stored model beside a level, and against the original: the same figures three times. */
START_TEST(compares_files)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/api.q4_k.moeq", MQ_TEST_BINARY_DIR);
    moeq_model *model = open_model(MODEL);
    const moeq_text text = {.struct_size = sizeof text, .path = TEXT, .tokens = 512};
    const moeq_recipe level = {.struct_size = sizeof level, .level = "q4_k"};
    char *swept, *verified, *kld[3];
    moeq_error err = {0};
    ck_assert_msg(moeq_convert(model, &level, path, true, NULL, &err) == MOEQ_OK, "%s",
                  err.message);
    moeq_model *file = open_model(path);
    const moeq_recipe both[] = {level, {.struct_size = sizeof(moeq_recipe), .model = file}};
    ck_assert_msg(moeq_sweep(model, &text, both, 2, NULL, &swept, &err) == MOEQ_OK, "%s",
                  err.message);
    ck_assert_msg(moeq_verify((const moeq_model *const[]){file}, 1, MODEL, &text, NULL, &verified,
                              &err) == MOEQ_OK,
                  "%s", err.message);
    kld[0] = strstr(swept, "\"kld_nats\"");
    kld[1] = strstr(kld[0] + 1, "\"kld_nats\"");
    kld[2] = strstr(verified, "\"kld_nats\"");
    for (int i = 1; i < 3; i++)
        ck_assert_int_eq(strncmp(kld[0], kld[i], 200), 0);
    moeq_free(swept);
    moeq_free(verified);
    ck_assert_int_eq(
        moeq_verify((const moeq_model *const[]){file}, 1, MODEL, NULL, NULL, &verified, &err),
        MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "is no recording: a text is needed"));
    ck_assert_int_eq(moeq_convert(model, &both[1], path, true, NULL, &err), MOEQ_INVALID_ARGUMENT);
    moeq_model_close(file);
    moeq_model_close(model);
}
END_TEST

static void verify_with(moeq_model *file, const char *reference, const moeq_gate *gate,
                        size_t expected_broken, char **report)
{
    size_t broken = 99;
    moeq_error err = {0};
    ck_assert_msg(moeq_verify_gate((const moeq_model *const[]){file}, 1, reference, NULL, gate,
                                   NULL, &broken, report, &err) == MOEQ_OK,
                  "%s", err.message);
    ck_assert_uint_eq(broken, expected_broken);
}

/* A recording, a gate that a model makes and keeps and a worse one breaks, and the page about it. */
START_TEST(records_judges_and_reports)
{
    static const char reference[] = MQ_TEST_BINARY_DIR "/api.moeqref";
    static const char limits[] = MQ_TEST_BINARY_DIR "/api.gate.json";
    static const char junit[] = MQ_TEST_BINARY_DIR "/api.junit.xml";
    static const char page[] = MQ_TEST_BINARY_DIR "/api.html";
    const char *const levels[] = {"q5_k", "q3_k"};
    const char *const paths[] = {MQ_TEST_BINARY_DIR "/api.q5_k.moeq",
                                 MQ_TEST_BINARY_DIR "/api.q3_k.moeq"};
    moeq_model *model = open_model(MODEL), *files[2];
    const moeq_text text = {.struct_size = sizeof text, .path = TEXT, .tokens = 1024};
    const moeq_gate make = {.struct_size = sizeof make, .write = limits};
    const moeq_gate keep = {.struct_size = sizeof keep, .limits = limits, .junit = junit};
    char *report;
    size_t broken;
    moeq_error err = {0}, twice = {0};
    struct stat st;
    ck_assert_msg(moeq_record(model, &text, reference, true, NULL, &err) == MOEQ_OK, "%s",
                  err.message);
    ck_assert_int_eq(moeq_record(model, &text, reference, false, NULL, &twice),
                     MOEQ_INVALID_ARGUMENT);
    for (int i = 0; i < 2; i++) {
        const moeq_recipe recipe = {.struct_size = sizeof recipe, .level = levels[i]};
        ck_assert_int_eq(moeq_convert(model, &recipe, paths[i], true, NULL, &err), MOEQ_OK);
        files[i] = open_model(paths[i]);
    }
    verify_with(files[0], reference, &make, 0, &report);
    moeq_free(report);
    verify_with(files[0], reference, &keep, 0, &report);
    moeq_free(report);
    ck_assert_int_eq(moeq_verify_gate((const moeq_model *const[]){files[1]}, 1, reference, NULL,
                                      &keep, NULL, &broken, &report, &err),
                     MOEQ_OK);
    ck_assert_uint_gt(broken, 0);
    ck_assert_ptr_nonnull(strstr(report, "\"broken\""));
    ck_assert_int_eq(stat(junit, &st), 0);
    remove(page);
    ck_assert_msg(moeq_report(report, page, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_int_eq(stat(page, &st), 0);
    ck_assert_int_eq(moeq_report(report, MQ_TEST_BINARY_DIR "/api.txt", NULL),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_int_eq(moeq_report("{", page, NULL), MOEQ_MALFORMED);
    moeq_free(report);
    for (int i = 0; i < 2; i++)
        moeq_model_close(files[i]);
    moeq_model_close(model);
}
END_TEST

/* `compute` came later: a caller of before has no such field, and whatever lies behind its struct
 * is not read. */
START_TEST(computes_as_asked)
{
    moeq_model *model = open_model(MODEL);
    moeq_text text = {.struct_size = sizeof text, .path = TEXT, .tokens = 512, .compute = "int8"};
    const moeq_recipe recipe = {.struct_size = sizeof recipe, .level = "q4_k"};
    char *report;
    moeq_error err = {0};
    ck_assert_int_eq(moeq_eval(model, &text, NULL, &report, &err), MOEQ_OK);
    ck_assert_msg(strstr(report, "\"compute\":\t\"int8\"") != NULL, "%s", report);
    moeq_free(report);
    ck_assert_int_eq(moeq_sweep(model, &text, &recipe, 1, NULL, &report, &err), MOEQ_OK);
    ck_assert_ptr_nonnull(strstr(report, "q4_k int8"));
    moeq_free(report);
    text.compute = "int4";
    ck_assert_int_eq(moeq_eval(model, &text, NULL, &report, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_str_eq(err.message, "compute 'int4': expected f32 or int8");
    text.struct_size = offsetof(moeq_text, compute);
    ck_assert_int_eq(moeq_eval(model, &text, NULL, &report, &err), MOEQ_OK);
    ck_assert_ptr_nonnull(strstr(report, "\"compute\":\t\"f32\""));
    moeq_free(report);
    moeq_model_close(model);
}
END_TEST

#define DAMAGED MQ_TEST_BINARY_DIR "/api.damaged"

/* A copy of the model whose first stored weight is NaN. */
static moeq_model *open_damaged_model(void)
{
    static const char command[] =
        "rm -rf '" DAMAGED "' && cp -r '" MODEL "' '" DAMAGED "' && chmod -R u+w '" DAMAGED "'";
    uint64_t header = 0;
    ck_assert_int_eq(system(command), 0);
    FILE *f = fopen(DAMAGED "/model-00001-of-00003.safetensors", "r+b");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fread(&header, 1, 8, f), 8);
    ck_assert_int_eq(fseek(f, (long)(8 + header), SEEK_SET), 0);
    ck_assert_uint_eq(fwrite("\xff\x7f", 1, 2, f), 2); /* of bf16 and of f16 */
    ck_assert_int_eq(fclose(f), 0);
    return open_model(DAMAGED);
}

START_TEST(copies_nan_only_when_asked_to)
{
    static const char output[] = MQ_TEST_BINARY_DIR "/api.damaged.moeq";
    static const char gguf[] = MQ_TEST_BINARY_DIR "/api.damaged.gguf";
    moeq_recipe recipe = {.struct_size = sizeof recipe, .level = "bf16"};
    moeq_gguf format = {.struct_size = sizeof format};
    moeq_model *model = open_damaged_model();
    moeq_error err = {0}, again = {0};
    struct stat st;
    uint64_t bytes;
    remove(output);
    remove(gguf);
    ck_assert_int_eq(moeq_convert(model, &recipe, output, false, NULL, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "row 0, column 0: weight is NaN"));
    ck_assert_int_ne(stat(output, &st), 0);
    recipe.struct_size = offsetof(moeq_recipe, allow_nonfinite); /* of before there was the field */
    recipe.allow_nonfinite = true;
    ck_assert_int_eq(moeq_convert(model, &recipe, output, false, NULL, NULL), MOEQ_UNSUPPORTED);
    recipe.struct_size = sizeof recipe;
    ck_assert_int_eq(moeq_plan_bytes(model, &recipe, &bytes, NULL), MOEQ_OK);
    ck_assert_msg(moeq_convert(model, &recipe, output, false, NULL, &again) == MOEQ_OK, "%s",
                  again.message);
    ck_assert_int_eq(stat(output, &st), 0);
    ck_assert_uint_eq((uint64_t)st.st_size, bytes);
    ck_assert_ptr_null(moeq_model_note(model, 0)); /* it is shared, and as it was */
    moeq_model *copy = open_model(output);
    ck_assert_ptr_nonnull(strstr(moeq_model_note(copy, 0), "NaN or infinite: 1 weight in '"));
    moeq_model_close(copy);
    /* GGUF, where there need be no recipe */
    ck_assert_int_eq(moeq_export_gguf(model, NULL, &format, gguf, false, NULL, NULL),
                     MOEQ_UNSUPPORTED);
    format.allow_nonfinite = true;
    ck_assert_msg(moeq_export_gguf(model, NULL, &format, gguf, false, NULL, &again) == MOEQ_OK,
                  "%s", again.message);
    ck_assert_msg(moeq_export_gguf(model, &recipe, NULL, gguf, true, NULL, &again) == MOEQ_OK, "%s",
                  again.message);
    moeq_model_close(model);
}
END_TEST

/* Folder `to` with the demo's files, of which a matrix has 2^60 times its weights. */
static moeq_model *open_huge_model(void)
{
    static const char path[] = MQ_TEST_BINARY_DIR "/api.huge.moeq";
    static const char name[] = "\"model.layers.1.block_sparse_moe.experts.2.w1.weight\":{";
    const moeq_recipe plain = {.struct_size = sizeof plain, .level = "f32", .attention = "f32", .embeddings = "f32"};
    const moeq_open_options options = {.struct_size = sizeof options, .no_check = true};
    moeq_model *model = open_model(MODEL);
    moeq_error err = {0};
    ck_assert_int_eq(moeq_convert(model, &plain, path, true, NULL, &err), MOEQ_OK);
    moeq_model_close(model);
    FILE *f = fopen(path, "r+b");
    ck_assert_ptr_nonnull(f);
    uint64_t header;
    ck_assert_uint_eq(fread(&header, sizeof header, 1, f), 1);
    char *text = calloc(1, header + 1);
    ck_assert_uint_eq(fread(text, 1, header, f), header);
    const char *at = strstr(strstr(text, name), "\"data_offsets\":[");
    char *end;
    const long first = strtol(at + 16, &end, 10), last = strtol(end + 1, NULL, 10);
    const size_t n = (size_t)(last - first) / sizeof(float);
    float *w = malloc(n * sizeof *w);
    fseek(f, (long)header + 8 + first, SEEK_SET);
    ck_assert_uint_eq(fread(w, sizeof *w, n, f), n);
    for (size_t i = 0; i < n; i++)
        w[i] *= 0x1p60f;
    fseek(f, (long)header + 8 + first, SEEK_SET);
    ck_assert_uint_eq(fwrite(w, sizeof *w, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
    free(w);
    free(text);
    ck_assert_int_eq(moeq_model_open_with(path, &options, &model, &err), MOEQ_OK);
    return model;
}

START_TEST(loses_and_reads_damage_only_when_asked_to)
{
    static const char output[] = MQ_TEST_BINARY_DIR "/api.lossy.moeq";
    static const char gguf[] = MQ_TEST_BINARY_DIR "/api.lossy.gguf";
    moeq_recipe recipe = {.struct_size = sizeof recipe, .level = "q4_k"};
    moeq_gguf format = {.struct_size = sizeof format};
    const moeq_text text = {.struct_size = sizeof text, .path = TEXT, .tokens = 64, .context = 32};
    moeq_model *huge = open_huge_model(); /* its checksum does not fit any more */
    moeq_error err = {0};
    char *report;
    ck_assert_int_eq(moeq_convert(huge, &recipe, output, true, NULL, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "beyond the range of its scales"));
    ck_assert_int_eq(moeq_export_gguf(huge, &recipe, &format, gguf, true, NULL, NULL), MOEQ_UNSUPPORTED);
    ck_assert_int_eq(moeq_sweep(huge, &text, &recipe, 1, NULL, &report, NULL), MOEQ_UNSUPPORTED);
    format.allow_loss = true;
    ck_assert_int_eq(moeq_export_gguf(huge, &recipe, &format, gguf, true, NULL, NULL), MOEQ_OK);
    recipe.struct_size = offsetof(moeq_recipe, allow_loss); /* of before there was the field */
    recipe.allow_loss = true;
    ck_assert_int_eq(moeq_convert(huge, &recipe, output, true, NULL, NULL), MOEQ_UNSUPPORTED);
    recipe.struct_size = sizeof recipe;
    memset(&err, 0, sizeof err);
    ck_assert_msg(moeq_convert(huge, &recipe, output, true, NULL, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_msg(moeq_sweep(huge, &text, &recipe, 1, NULL, &report, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_ptr_nonnull(strstr(report, "\"beyond_range\":"));
    moeq_free(report);
    moeq_model_close(huge);
    /* without no_check the same file is damaged */
    huge = open_model(MQ_TEST_BINARY_DIR "/api.huge.moeq");
    ck_assert_int_eq(moeq_convert(huge, &recipe, output, true, NULL, NULL), MOEQ_CORRUPT);
    moeq_model_close(huge);
}
END_TEST

#define CONFIG MODEL "/config.json"

/* A number of a document, behind a key: {"context": 8192}. */
static double number_of(const char *document, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(document, quoted);
    ck_assert_msg(at != NULL, "no %s in %.200s", key, document);
    return strtod(at + strlen(quoted), NULL);
}

START_TEST(fits_cards)
{
    const moeq_card card = {.struct_size = sizeof card, .gpu = "RTX 3060", .context = 256};
    const moeq_recipe rows[] = {{.struct_size = sizeof *rows, .level = "Q4_K", .attention = "q6_k"},
                                {.struct_size = sizeof *rows, .mix = "mix4"}};
    moeq_error err = {0};
    char *report;
    ck_assert_msg(moeq_fit(CONFIG, NULL, &card, NULL, 0, NULL, &report, &err) == MOEQ_OK, "%s",
                  err.message);
    ck_assert_ptr_nonnull(strstr(report, "\"moeq_result\":\t\"fit\""));
    ck_assert_double_eq(number_of(report, "context_tokens"), 256);
    ck_assert_ptr_nonnull(strstr(report, "\"name\":\t\"bf16\""));
    ck_assert_ptr_nonnull(strstr(report, "\"name\":\t\"q8_0\""));
    moeq_free(report);
    ck_assert_int_eq(moeq_fit(MODEL, NULL, &card, rows, 2, NULL, &report, &err), MOEQ_OK);
    ck_assert_ptr_nonnull(strstr(report, "\"name\":\t\"q4_k\""));
    ck_assert_ptr_nonnull(strstr(report, "\"name\":\t\"mix4\""));
    ck_assert_ptr_null(strstr(report, "\"name\":\t\"q8_0\""));
    moeq_free(report);
}
END_TEST

START_TEST(fits_moeqs_own_evaluator)
{
    const moeq_card card = {.struct_size = sizeof card, .runtime = "moeq", .vram = "1GiB"};
    moeq_error err = {0};
    char *report;
    ck_assert_int_eq(moeq_fit(CONFIG, NULL, &card, NULL, 0, NULL, &report, &err), MOEQ_OK);
    ck_assert_double_eq(number_of(report, "window_tokens"), 512);
    ck_assert_double_eq(number_of(report, "usable_bytes"), 0x1p30);
    moeq_free(report);
}
END_TEST

/* What a card cannot be, and what the message says. */
static const struct {
    moeq_card card;
    const char *says;
} wrong_cards[] = {
    {{.struct_size = sizeof(moeq_card)},
     "the card is missing: gpu NAME (see moeq fit --list-gpus) or vram SIZE"},
    {{.struct_size = sizeof(moeq_card), .gpu = "409O"},
     "gpu '409O' is not in the list (moeq fit --list-gpus)"},
    {{.struct_size = sizeof(moeq_card), .vram = "much"}, "vram 'much': expected a size"},
    {{.struct_size = sizeof(moeq_card), .vram = "24GiB", .kv = "q3_k"}, "kv 'q3_k': expected f16"},
    {{.struct_size = sizeof(moeq_card), .vram = "24GiB", .runtime = "exllama"},
     "runtime 'exllama': expected llama.cpp"},
    {{.struct_size = sizeof(moeq_card), .vram = "24GiB", .bandwidth = "1,2"},
     "bandwidth '1,2': expected GB/s"},
    {{.struct_size = 0, .vram = "24GiB"}, "struct_size"},
};

START_TEST(cards_are_checked)
{
    moeq_error err = {0};
    char *report;
    ck_assert_int_ne(moeq_fit(CONFIG, NULL, &wrong_cards[_i].card, NULL, 0, NULL, &report, &err),
                     MOEQ_OK);
    ck_assert_ptr_null(report);
    ck_assert_msg(strstr(err.message, wrong_cards[_i].says) != NULL, "%s", err.message);
}
END_TEST

static uint64_t file_bytes(const char *path)
{
    struct stat of;
    ck_assert_int_eq(stat(path, &of), 0);
    return (uint64_t)of.st_size;
}

START_TEST(keeps_budgets)
{
    static const char *const levels[] = {"q3_k", "Q6_K"};
    moeq_model *model = open_model(MODEL);
    const moeq_text text = {.struct_size = sizeof text, .path = TEXT, .tokens = 32, .context = 32};
    moeq_recipe recipe = {.struct_size = sizeof recipe,
                          .size_bytes = 4500000,
                          .text = &text,
                          .levels = levels,
                          .levels_count = 2};
    const char *output = MQ_TEST_BINARY_DIR "/api-budget.moeq",
               *gguf = MQ_TEST_BINARY_DIR "/api-budget.gguf";
    moeq_error err = {0};
    uint64_t bytes;
    ck_assert_msg(moeq_convert(model, &recipe, output, true, NULL, &err) == MOEQ_OK, "%s",
                  err.message);
    ck_assert_uint_le(file_bytes(output), 4500000);
    ck_assert_uint_ge(file_bytes(output), 4300000);
    ck_assert_msg(moeq_export_gguf(model, &recipe, NULL, gguf, true, NULL, &err) == MOEQ_OK, "%s",
                  err.message);
    ck_assert_uint_le(file_bytes(gguf), 4500000);
    const moeq_card card = {.struct_size = sizeof card, .vram = "1100MiB", .context = 128};
    recipe.size_bytes = 0;
    recipe.card = &card;
    ck_assert_msg(moeq_plan_bytes(model, &recipe, &bytes, &err) == MOEQ_OK, "%s", err.message);
    recipe.card = NULL;
    recipe.bpw = 3.5;
    ck_assert_msg(moeq_plan_bytes(model, &recipe, &bytes, &err) == MOEQ_OK, "%s", err.message);
    recipe.size_bytes = 1000;
    recipe.bpw = 0;
    ck_assert_int_eq(moeq_plan_bytes(model, &recipe, &bytes, &err), MOEQ_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.message, "size_bytes 1000 is too small: "));
    moeq_model_close(model);
}
END_TEST

static const moeq_text some_text = {.struct_size = sizeof some_text, .path = TEXT};

/* What a budget cannot be, and what the message says. */
static const struct {
    moeq_recipe recipe;
    const char *says;
} wrong_budgets[] = {
    {{.struct_size = sizeof(moeq_recipe), .bpw = 4}, "a budget needs a text"},
    {{.struct_size = sizeof(moeq_recipe), .bpw = 4, .size_bytes = 1, .text = &some_text},
     "bpw, size_bytes and card exclude each other"},
    {{.struct_size = sizeof(moeq_recipe), .bpw = 0.5, .text = &some_text},
     "bpw 0.5: expected 1 to 32"},
    {{.struct_size = sizeof(moeq_recipe), .bpw = 4, .level = "q4_k", .text = &some_text},
     "a budget and a level or mix exclude each other"},
    {{.struct_size = sizeof(moeq_recipe), .level = "q4_k", .granularity = "matrix"},
     "levels and granularity are of a budget"},
    {{.struct_size = sizeof(moeq_recipe), .bpw = 4, .text = &some_text, .granularity = "row"},
     "granularity 'row': expected expert or matrix"},
};

START_TEST(budgets_are_checked)
{
    moeq_model *model = open_model(MODEL);
    moeq_error err = {0}, fit = {0};
    uint64_t bytes;
    char *report;
    ck_assert_int_eq(moeq_plan_bytes(model, &wrong_budgets[_i].recipe, &bytes, &err),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_msg(strstr(err.message, wrong_budgets[_i].says) != NULL, "%s", err.message);
    const moeq_card card = {.struct_size = sizeof card, .vram = "1GiB"};
    const moeq_recipe budget = {.struct_size = sizeof budget, .bpw = 4, .text = &some_text};
    ck_assert_int_eq(moeq_fit(MODEL, NULL, &card, &budget, 1, NULL, &report, &fit),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fit.message, "a budget is for moeq_convert"));
    moeq_model_close(model);
}
END_TEST

START_TEST(option_structs_must_say_their_size)
{
    moeq_model *model = open_model(MODEL);
    const moeq_recipe recipe = {.level = "q4_k"};
    uint64_t bytes;
    ck_assert_int_eq(moeq_plan_bytes(model, &recipe, &bytes, NULL), MOEQ_INVALID_ARGUMENT);
    moeq_model_close(model);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("test_api");
    TCase *tests = tcase_create("api");
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, errors_say_what_and_where);
    tcase_add_test(tests, choices_are_checked_and_noted);
    tcase_add_test(tests, tokenizes);
    tcase_add_test(tests, converts_what_it_planned);
    tcase_add_test(tests, converts_to_several_files);
    tcase_add_test(tests, shared_experts_have_a_level);
    tcase_add_test(tests, exports_what_it_can_read_again);
    tcase_add_test(tests, names_are_as_people_type_them);
    tcase_add_test(tests, calibrates);
    tcase_add_test(tests, sweeps_and_can_be_stopped);
    tcase_add_test(tests, compares_files);
    tcase_add_test(tests, records_judges_and_reports);
    tcase_add_test(tests, computes_as_asked);
    tcase_add_test(tests, copies_nan_only_when_asked_to);
    tcase_add_test(tests, loses_and_reads_damage_only_when_asked_to);
    tcase_add_test(tests, fits_cards);
    tcase_add_test(tests, fits_moeqs_own_evaluator);
    tcase_add_loop_test(tests, cards_are_checked, 0, sizeof wrong_cards / sizeof *wrong_cards);
    tcase_add_test(tests, keeps_budgets);
    tcase_add_loop_test(tests, budgets_are_checked, 0,
                        sizeof wrong_budgets / sizeof *wrong_budgets);
    tcase_add_test(tests, option_structs_must_say_their_size);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
