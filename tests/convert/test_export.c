/*
 * test_export.c: GGUF files: the same bytes whatever the threads, kernels and splits; what GGUF
 * cannot hold; resuming. What the bytes mean is checked by the gguf package (tests/cli/gguf_opens).
 */
#include "gguf.h"
#include "gguf_build.h"
#include "gguf_names.h"
#include "stored.h"
#include "test_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEMO "demo/model"

/* What an export is asked for. */
struct request {
    const char *model, *level, *output;
    struct mq_policy_override overrides[2];
    size_t overrides_count;
    struct mq_gguf_options options;
    const struct mq_context *context;
    bool keep; /* an existing output */
};

static moeq_status export(const struct request *r, struct mq_convert_result *result,
                          moeq_error *err)
{
    const struct mq_context plain = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_convert_options how = {.output = r->output, .replace = !r->keep};
    struct mq_policy policy = {0};
    struct mq_convert_result unused;
    struct mq_view *view = NULL;
    struct mq_plan *plan = NULL;
    if (r->level)
        policy = mq_policy_default(mq_level_find(r->level));
    policy.overrides = r->overrides;
    policy.overrides_count = r->overrides_count;
    moeq_status status = mq_model_open(r->model, &view, err);
    if (status == MOEQ_OK)
        status = mq_plan_create_gguf(view, &policy, &r->options, &plan, err);
    if (status == MOEQ_OK && r->output)
        status = mq_convert(r->context ? r->context : &plain, plan, &how, result ? result : &unused,
                            err);
    mq_plan_free(plan);
    mq_view_close(view);
    return status;
}

static const char *out(const char *name)
{
    const char *path = mq_test_temporary(name);
    char command[4096];
    snprintf(command, sizeof command, "rm -rf '%s'*", path);
    ck_assert_int_eq(system(command), 0);
    return path;
}

START_TEST(same_bytes_everywhere)
{
    char reference[1024], path[1024], model[1024];
    strcpy(model, mq_test_source(DEMO));
    strcpy(reference, out("reference.gguf"));
    strcpy(path, out("other.gguf"));
    moeq_error err = {0};
    struct request r = {.model = model, .level = "q8_0", .output = reference};
    ck_assert_msg(export(&r, NULL, &err) == MOEQ_OK, "%s", err.message);
    r.output = path;
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++)
        for (unsigned threads = 1; threads <= 5 && mq_isa_available((enum mq_isa)isa);
             threads += 4) {
            const struct mq_context context = {.isa = (enum mq_isa)isa, .threads = threads};
            r.context = &context;
            ck_assert_msg(export(&r, NULL, &err) == MOEQ_OK, "%s", err.message);
            ck_assert_msg(test_files_equal(path, reference), "%s with %u threads differs",
                          mq_isa_name((enum mq_isa)isa), threads);
        }
}
END_TEST

START_TEST(places_are_aligned_and_apart)
{
    const struct mq_gguf_options options = {.split_bytes = 1 << 20};
    const struct mq_policy policy = mq_policy_default(mq_level_find("q4_k"));
    struct mq_view *view;
    struct mq_plan *plan;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source(DEMO), &view, &err));
    ck_assert_msg(mq_plan_create_gguf(view, &policy, &options, &plan, &err) == MOEQ_OK, "%s",
                  err.message);
    ck_assert_uint_eq(plan->files_count, 5);
    uint64_t written = 0;
    for (size_t f = 0; f < plan->files_count; f++) {
        ck_assert_uint_eq(plan->files[f].header_bytes % MQ_GGUF_ALIGNMENT, 0);
        ck_assert_uint_le(plan->files[f].file_bytes, options.split_bytes);
        written += plan->files[f].header_bytes;
    }
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        if (e->tensor->expert <= 0)
            ck_assert_uint_eq(e->offset % MQ_GGUF_ALIGNMENT, 0);
        ck_assert_uint_le(e->offset + e->size_bytes, plan->files[e->file].file_bytes);
        written += e->size_bytes;
    }
    for (size_t i = 0; i < plan->pieces_count; i++)
        written += plan->pieces[i].size_bytes;
    ck_assert_uint_eq(written, plan->output_bytes); /* so that nothing overlaps or is left out */
    mq_plan_free(plan);
    mq_view_close(view);
}
END_TEST

static void refused(const struct request *r, const char *message)
{
    moeq_error err = {0};
    ck_assert_int_ne(export(r, NULL, &err), MOEQ_OK);
    ck_assert_msg(strstr(err.message, message) != NULL, "%s", err.message);
}

START_TEST(experts_of_one_matrix_have_one_level)
{
    char model[1024], path[1024], unified[1024], all[1024];
    strcpy(model, mq_test_source(DEMO));
    strcpy(path, out("mixed.gguf"));
    strcpy(unified, out("unified.gguf"));
    strcpy(all, out("all.gguf"));
    moeq_error err = {0};
    struct request r = {.model = model,
                        .level = "q4_k",
                        .output = path,
                        .overrides = {{"*.layers.1.*experts.3.w2.weight", mq_level_find("q8_0")}},
                        .overrides_count = 1};
    refused(&r, "'model.layers.1.block_sparse_moe.experts.0.w2.weight' is q4_k and "
                "'model.layers.1.block_sparse_moe.experts.3.w2.weight' is q8_0");
    refused(&r, "--unify up");
    ck_assert_int_ne(access(path, F_OK), 0);
    r.options.unify_up = true;
    r.output = unified;
    ck_assert_ok(export(&r, NULL, &err));
    /* which is what asking for all of them gives */
    r.overrides[0].pattern = "*.layers.1.*experts.*.w2.weight";
    r.output = all;
    ck_assert_ok(export(&r, NULL, &err));
    ck_assert(test_files_equal(unified, all));
}
END_TEST

/* Rows of 64 and 160 weights, which no blocks of 256 fit. The model has no tokenizer of its own, so
 * that it borrows the demo's, and its number of tokens. */
START_TEST(rows_are_whole_blocks)
{
    const struct request r = {
        .model = mq_test_source(MIXTRAL), .level = "q4_k", .output = out("tails.gguf")};
    refused(&r, "has rows of 64 weights, q4_k has blocks of 256: GGUF has no tails");
    struct mq_gguf_options up = {.unify_up = true};
    const struct mq_policy policy = mq_policy_default(mq_level_find("q4_k"));
    struct mq_view *view;
    struct mq_plan *plan;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(r.model, &view, &err));
    view->side[MQ_SIDE_TOKENIZER] = test_read(mq_test_source(DEMO "/tokenizer.json"));
    view->hparams.vocab = 2048;
    ck_assert_msg(mq_plan_create_gguf(view, &policy, &up, &plan, &err) == MOEQ_OK, "%s",
                  err.message);
    for (size_t i = 0; i < view->tensors_count; i++) {
        const enum mq_role_class group = mq_role_class(view->tensors[i].role);
        ck_assert_str_eq(plan->entries[i].level->name, group == MQ_CLASS_KEEP      ? "f32"
                                                       : group == MQ_CLASS_EXPERTS ? "iq4_nl"
                                                                                   : "q8_0");
    }
    mq_plan_free(plan);
    mq_view_close(view);
}
END_TEST

/* Llama 3's factors are those that tests/data/make_gguf_models.py has computed in numpy. */
START_TEST(rope_factors_are_written)
{
    const struct mq_gguf_options options = {0};
    const struct mq_policy as_stored = {0};
    struct mq_arena *arena = mq_arena_create();
    struct mq_view *view;
    struct mq_plan *plan;
    struct mq_gguf gguf;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("tests/fixtures/oracles/llama3_tied"), &view, &err));
    view->side[MQ_SIDE_TOKENIZER] = test_read(mq_test_source(DEMO "/tokenizer.json"));
    view->hparams.vocab = 2048; /* the borrowed tokenizer's */
    ck_assert_msg(mq_plan_create_gguf(view, &as_stored, &options, &plan, &err) == MOEQ_OK, "%s",
                  err.message);
    ck_assert_ok(
        mq_gguf_read(mq_test_source("tests/fixtures/gguf/llama3_tied.gguf"), arena, &gguf, &err));
    const struct mq_gguf_tensor *t = mq_gguf_find_tensor(&gguf, MQ_GGUF_ROPE_FREQS);
    ck_assert_ptr_nonnull(t);
    float expected[64];
    const size_t n = view->hparams.head_dim / 2;
    ck_assert_uint_le(n, 64);
    ck_assert_ok(mq_file_read_at(&gguf.file, t->offset, expected, n * sizeof *expected, &err));
    const float *written = plan->pieces[0].bytes; /* the first tensor, and the only computed one */
    ck_assert_uint_eq(plan->pieces[0].size_bytes, n * sizeof *written);
    for (size_t i = 0; i < n; i++)
        ck_assert_float_eq_tol(written[i], expected[i], 1e-6f * expected[i]);
    mq_gguf_close(&gguf);
    mq_arena_destroy(arena);
    mq_plan_free(plan);
    mq_view_close(view);
}
END_TEST

/* ---- metadata ---- */

/* A tokenizer that moeq cannot read, licences, templates by name, provenance, values of all types.
 */
static void put_foreign_keys(struct gguf_build *b)
{
    static const char *const tokens[] = {"<a>", "b\xff", "c", "c"};
    static const struct {
        const char *key, *text;
    } texts[] = {
        {"general.name", "Their Name"},
        {"general.license", "apache-2.0"},
        {"general.base_model.0.repo_url", "https://example.org/base"},
        {"general.size_label", "8x7B"},
        {"quantize.imatrix.file", "their.dat"},
        {"tokenizer.ggml.model", "rwkv"},
        {"tokenizer.chat_template", "{{ messages }}"},
        {"tokenizer.chat_template.tool_use", "{{ tools }}"},
        {"x.not_utf8", "\xff\xfe"},
        {"x.empty", ""},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        gguf_key_text(b, texts[i].key, texts[i].text);
    gguf_key_strings(b, "tokenizer.ggml.tokens", tokens, 4);
    gguf_key_strings(b, "tokenizer.chat_templates", (const char *const[]){"tool_use"}, 1);
    gguf_key_u32(b, "tokenizer.ggml.eos_token_id", 1);
    gguf_key_u32(b, "tokenizer.ggml.eot_token_id", 2);
    gguf_key_u32(b, "tokenizer.ggml.eom_token_id", UINT32_MAX);
    gguf_key_u32(b, "tokenizer.ggml.padding_token_id", 3);
    gguf_key_bool(b, "tokenizer.ggml.add_eos_token", false);
    gguf_key_u32(b, "llama.rope.scaling.original_context_length", 32);
    gguf_key_u32(b, "general.file_type", 1);
    gguf_key_raw(b, "x.i8", MQ_GGUF_I8, &(int8_t){-3}, 1);
    gguf_key_raw(b, "x.f64", MQ_GGUF_F64, &(double){1e300}, 8);
    gguf_key_raw(b, "x.u64", MQ_GGUF_U64, &(uint64_t){UINT64_MAX}, 8);
    gguf_key_raw(b, "x.deep", MQ_GGUF_ARRAY,
                 (const uint32_t[]){MQ_GGUF_ARRAY, 1, 0, MQ_GGUF_U32, 2, 0, 7, 8}, 32);
    gguf_key_raw(b, "x.none", MQ_GGUF_ARRAY, (const uint32_t[]){MQ_GGUF_STRING, 0, 0}, 12);
}

/* Every key of a is in b, with the same type and bytes, but for general.file_type, which is this.
 */
static void same_keys(const char *a, const char *b, uint64_t file_type)
{
    struct mq_arena *arena = mq_arena_create();
    struct mq_gguf x, y;
    moeq_error err = {0};
    ck_assert_ok(mq_gguf_read(a, arena, &x, &err));
    ck_assert_msg(mq_gguf_read(b, arena, &y, &err) == MOEQ_OK, "%s", err.message);
    for (size_t i = 0; i < x.keys_count; i++) {
        const struct mq_gguf_key *k = &x.keys[i], *l = mq_gguf_find(&y, k->name);
        uint64_t value;
        ck_assert_msg(l, "%s is lost", k->name);
        if (strcmp(k->name, "general.file_type") == 0) {
            ck_assert(mq_gguf_whole(&y, l, 0, &value) && value == file_type);
            continue;
        }
        ck_assert_msg(k->type == l->type && k->element == l->element && k->count == l->count &&
                          k->size_bytes == l->size_bytes &&
                          memcmp(x.header + k->offset, y.header + l->offset, k->size_bytes) == 0,
                      "%s differs", k->name);
    }
    mq_gguf_close(&x);
    mq_gguf_close(&y);
    mq_arena_destroy(arena);
}

START_TEST(metadata_are_carried)
{
    char source[1024], direct[1024], moeq[1024], back[1024];
    strcpy(source, out("theirs.gguf"));
    strcpy(direct, out("direct.gguf"));
    strcpy(moeq, out("theirs.moeq"));
    strcpy(back, out("back.gguf"));
    struct gguf_build b = {0};
    put_foreign_keys(&b);
    gguf_small_model(&b, true);
    gguf_write(&b, source);
    moeq_error err = {0};
    struct request r = {.model = source, .output = direct};
    ck_assert_msg(export(&r, NULL, &err) == MOEQ_OK, "%s", err.message);
    same_keys(source, direct, 1); /* a copy: f16, which nothing here is, but so it was */
    ck_assert_msg(test_convert(source, "f32", moeq, NULL, NULL, &err) == MOEQ_OK, "%s",
                  err.message);
    r = (struct request){.model = moeq, .output = back};
    ck_assert_msg(export(&r, NULL, &err) == MOEQ_OK, "%s", err.message);
    same_keys(source, back, 0);
    /* what they say of ends and padding is in the config too */
    struct mq_view *view;
    ck_assert_ok(mq_model_open(moeq, &view, &err));
    ck_assert_ptr_nonnull(strstr(view->side[MQ_SIDE_CONFIG].data, "\"eos_token_id\": [1, 2]"));
    ck_assert_ptr_nonnull(strstr(view->side[MQ_SIDE_CONFIG].data, "\"pad_token_id\": 3"));
    mq_view_close(view);
}
END_TEST

/* A key that was to be ignored is a moeq file's to ignore, too: one note on it, wherever it is. */
START_TEST(ignored_metadata)
{
    static const char *const key = "llama.unknown_thing";
    char source[1024], moeq[1024];
    strcpy(source, out("unknown.gguf"));
    strcpy(moeq, out("unknown.moeq"));
    struct gguf_build b = {0};
    gguf_key_u32(&b, key, 3);
    gguf_small_model(&b, true);
    gguf_write(&b, source);
    const struct mq_open_options open = {.ignored_keys = &key, .ignored_keys_count = 1};
    const struct mq_context ctx = {.isa = mq_isa_detect(), .threads = 1};
    const struct mq_policy as_stored = {0};
    const struct mq_convert_options options = {.output = moeq, .replace = true};
    struct mq_convert_result result;
    struct mq_plan *plan;
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_int_eq(mq_model_open(source, &view, &err), MOEQ_UNSUPPORTED);
    err = (moeq_error){0};
    ck_assert_ok(mq_model_open_with(source, &open, &view, &err));
    ck_assert_ok(mq_plan_create(view, &as_stored, &plan, &err));
    ck_assert_ok(mq_convert(&ctx, plan, &options, &result, &err));
    mq_plan_free(plan);
    mq_view_close(view);
    ck_assert_ok(mq_model_open(moeq, &view, &err));
    ck_assert_uint_eq(view->notes_count, 1);
    ck_assert_str_eq(view->notes[0],
                     "the metadata's \"llama.unknown_thing\" is ignored, as was asked for");
    mq_view_close(view);
}
END_TEST

/* A moeq file's copy of them is as hostile as any file. */
START_TEST(carried_metadata_are_checked)
{
    static const char *const wrong[] = {"", "GGUF", "not a GGUF file at all",
                                        "GGUF\3\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"};
    static const size_t sizes[] = {1, 4, 22, 24};
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source(DEMO), &view, &err));
    for (size_t i = 0; i < 4; i++) {
        const struct mq_gguf_options options = {0};
        const struct mq_policy as_stored = {0};
        struct mq_plan *plan;
        err = (moeq_error){0};
        mq_buffer_clear(&view->side[MQ_SIDE_GGUF_METADATA]);
        mq_buffer_append(&view->side[MQ_SIDE_GGUF_METADATA], wrong[i], sizes[i]);
        ck_assert_int_eq(mq_plan_create_gguf(view, &as_stored, &options, &plan, &err),
                         MOEQ_MALFORMED);
        ck_assert_msg(strstr(err.message, ": metadata of GGUF: "), "%s", err.message);
    }
    mq_view_close(view);
}
END_TEST

START_TEST(a_model_without_tokenizer_is_refused)
{
    const struct request r = {.model = mq_test_source(MIXTRAL), .output = out("none.gguf")};
    refused(&r, "tokenizer");
}
END_TEST

static void file_name(const char *stem, int file, const char *suffix, char name[1100])
{
    snprintf(name, 1100, "%s-%05d-of-00005.gguf%s", stem, file, suffix);
}

START_TEST(splits_go_on_where_they_stopped)
{
    char model[1024], path[1024], stem[1024], whole[1024], a[1100], b[1100];
    strcpy(model, mq_test_source(DEMO));
    strcpy(whole, out("whole"));
    strcpy(stem, out("killed"));
    moeq_error err = {0};
    struct mq_convert_result result;
    struct request r = {
        .model = model, .level = "q4_k", .options.split_bytes = 1 << 20, .keep = true};
    snprintf(path, sizeof path, "%s.gguf", whole);
    r.output = path;
    ck_assert_msg(export(&r, NULL, &err) == MOEQ_OK, "%s", err.message);
    snprintf(path, sizeof path, "%s.gguf", stem);
    for (int i = 0; i < 2; i++) {
        struct test_stopper s = {.left = 20};
        const struct mq_context context = {.isa = mq_isa_detect(),
                                           .threads = 1,
                                           .progress = test_stop_progress,
                                           .progress_user = &s,
                                           .cancel = &s.cancel};
        r.context = &context;
        memset(&err, 0, sizeof err);
        ck_assert_int_eq(export(&r, NULL, &err), MOEQ_CANCELLED);
    }
    memset(&err, 0, sizeof err);
    r.context = NULL;
    ck_assert_msg(export(&r, &result, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_uint_eq(result.tensors_resumed, 40);
    for (int f = 1; f <= 5; f++) {
        file_name(stem, f, "", a);
        file_name(whole, f, "", b);
        ck_assert_msg(test_files_equal(a, b), "file %d differs", f);
        file_name(stem, f, ".part", a);
        ck_assert_int_ne(access(a, F_OK), 0);
    }
    /* Again: they exist, and are not replaced without being asked to. */
    refused(&r, "exists already; give --force to replace it");
}
END_TEST

/* Killed between two renames: the last files have their names, the first ones have not. */
START_TEST(splits_go_on_between_renames)
{
    char model[1024], path[1024], stem[1024], a[1100], b[1100];
    strcpy(model, mq_test_source(DEMO));
    strcpy(stem, out("renamed"));
    snprintf(path, sizeof path, "%s.gguf", stem);
    moeq_error err = {0};
    struct mq_convert_result result;
    struct test_stopper s = {.left = 90};
    const struct mq_context context = {.isa = mq_isa_detect(),
                                       .threads = 1,
                                       .progress = test_stop_progress,
                                       .progress_user = &s,
                                       .cancel = &s.cancel};
    struct request r = {.model = model,
                        .level = "q4_k",
                        .output = path,
                        .options.split_bytes = 1 << 20,
                        .keep = true,
                        .context = &context};
    ck_assert_int_eq(export(&r, NULL, &err), MOEQ_CANCELLED);
    for (int f = 4; f <= 5; f++) {
        file_name(stem, f, ".part", a);
        file_name(stem, f, "", b);
        ck_assert_int_eq(rename(a, b), 0);
    }
    memset(&err, 0, sizeof err);
    r.context = NULL;
    ck_assert_msg(export(&r, &result, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_uint_gt(result.tensors_resumed, 80);
}
END_TEST

static void grow_shard(void *path, const struct mq_progress *progress)
{
    if (progress->done < progress->total / 2)
        return;
    FILE *f = fopen(path, "ab");
    ck_assert_ptr_nonnull(f);
    fputc(0, f);
    fclose(f);
}

START_TEST(a_source_that_changes_is_noticed)
{
    char model[1024], path[1024], shard[1024], command[1200];
    moeq_error err = {0};
    strcpy(model, test_model_copy(DEMO, "growing"));
    strcpy(path, out("growing.gguf"));
    strcpy(shard, test_path(model, "model-00002-of-00003.safetensors"));
    const struct mq_context context = {
        .isa = mq_isa_detect(), .threads = 2, .progress = grow_shard, .progress_user = shard};
    const struct request r = {.model = model,
                              .level = "q8_0",
                              .output = path,
                              .options.split_bytes = 1 << 20,
                              .context = &context};
    ck_assert_int_eq(export(&r, NULL, &err), MOEQ_IO);
    ck_assert_msg(strstr(err.message, "changed while it was read: it had 4334944 bytes") != NULL,
                  "%s", err.message);
    ck_assert_str_eq(err.path, shard);
    snprintf(command, sizeof command, "! ls '%.*s'-* 2> /dev/null >&2", (int)strlen(path) - 5,
             path);
    ck_assert_int_eq(system(command), 0); /* nothing is left */
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, same_bytes_everywhere);
    tcase_add_test(tests, places_are_aligned_and_apart);
    tcase_add_test(tests, experts_of_one_matrix_have_one_level);
    tcase_add_test(tests, rows_are_whole_blocks);
    tcase_add_test(tests, rope_factors_are_written);
    tcase_add_test(tests, metadata_are_carried);
    tcase_add_test(tests, ignored_metadata);
    tcase_add_test(tests, carried_metadata_are_checked);
    tcase_add_test(tests, a_model_without_tokenizer_is_refused);
    tcase_add_test(tests, splits_go_on_where_they_stopped);
    tcase_add_test(tests, splits_go_on_between_renames);
    tcase_add_test(tests, a_source_that_changes_is_noticed);
}

int main(void)
{
    return mq_test_main("test_export", add_tests);
}
