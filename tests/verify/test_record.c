/*
 * A recording stands for its original to the last digit; its size is what is promised; and nothing
 * that is wrong with it goes unnoticed.
 */
#include "new_file.h"
#include "stored.h"
#include "test_support.h"
#include "comparison_json.h"
#include "convert.h"
#include "error.h"
#include "json.h"
#include "moeq_profile.h"
#include "safetensors.h"
#include "st_writer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static struct mq_context context(void)
{
    return (struct mq_context){.isa = mq_isa_detect(), .threads = 2};
}

static struct mq_view *open_model(const char *path)
{
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_msg(mq_model_open(path, &view, &err) == MOEQ_OK, "%s", err.message);
    return view;
}

static void convert(const char *model, const char *level, const char *output)
{
    const struct mq_context ctx = context();
    const struct mq_policy policy = mq_policy_default(mq_level_find(level));
    const struct mq_convert_options options = {.output = output, .replace = true};
    struct mq_convert_result result;
    struct mq_view *view = open_model(model);
    struct mq_plan *plan;
    moeq_error err = {0};
    ck_assert_ok(mq_plan_create(view, &policy, &plan, &err));
    ck_assert_msg(mq_convert(&ctx, plan, &options, &result, &err) == MOEQ_OK, "%s", err.message);
    mq_plan_free(plan);
    mq_view_close(view);
}

static const struct mq_protocol_options protocol = {.context = 64, .max_tokens = 320};

static struct mq_record_result record(const struct mq_context *ctx, const char *model,
                                      const char *text, enum mq_compute compute, const char *output)
{
    const struct mq_record_options options = {.text = mq_test_text(text),
                                              .output_path = output,
                                              .protocol = protocol,
                                              .compute = compute,
                                              .replace = true};
    struct mq_record_result result;
    struct mq_view *view = open_model(model);
    moeq_error err = {0};
    ck_assert_msg(mq_record(ctx, view, &options, &result, &err) == MOEQ_OK, "%s", err.message);
    mq_view_close(view);
    return result;
}

/* The demo's first five windows, in `name`. */
static const char *demo_recording(const char *name)
{
    const struct mq_context ctx = context();
    const char *path = mq_test_temporary(name);
    record(&ctx, mq_test_source("demo/model"), mq_test_source("demo/text.txt"), MQ_COMPUTE_F32,
           path);
    return path;
}

/* ---- sizes ---- */

START_TEST(mixtral_size)
{
    struct mq_arena *arena = mq_arena_create();
    struct mq_layout layout;
    struct mq_view *view;
    moeq_error err = {0};
    const char *const metadata[] = {"format", MQ_RECORDING_FORMAT, NULL};
    const uint64_t windows = 160, length = 2048, tokens = windows * length;
    ck_assert_ok(mq_view_from_config(mq_test_source("tests/fixtures/configs/mixtral-8x7b.json"),
                                     NULL, &view, &err));
    ck_assert_uint_eq(view->hparams.hidden, 4096);
    /* one id, 4096 states, 32 layers of 8 router logits, 4 bytes each */
    ck_assert_uint_eq(mq_record_token_bytes(view), 4 * (1 + 4096 + 32 * 8));
    ck_assert_ok(mq_record_layout(view, MQ_COMPUTE_F32, windows, length, 0, NULL, metadata, arena,
                                  &layout, &err));
    const double kib = (double)layout.file_bytes / (double)tokens / 1024;
    fprintf(stderr, "Mixtral 8x7B: %.3f KiB a token, %.3f with head and all\n",
            (double)mq_record_token_bytes(view) / 1024, kib);
    ck_assert(kib < 20);
    uint64_t of_tokens = 0;
    for (size_t i = 0; i < layout.count; i++) {
        const int64_t source = layout.items[i].source;
        if (source == MQ_RECORDING_IDS ||
            (source >= MQ_RECORDING_HIDDEN && source < MQ_RECORDING_ROUTERS + 32))
            of_tokens += layout.items[i].size_bytes;
    }
    ck_assert_uint_eq(of_tokens, tokens * mq_record_token_bytes(view));
    mq_view_close(view);
    mq_arena_destroy(arena);
}
END_TEST

/* ---- equality ---- */

/* A verification and what it borrows. */
struct verified {
    struct mq_baseline baseline;
    struct mq_comparison result;
};

static moeq_status verify(struct verified *v, const struct mq_view *const *views, size_t count,
                          const char *against, const struct mq_comparison_options *options,
                          moeq_error *err)
{
    const struct mq_context ctx = context();
    struct mq_candidate candidates[3];
    *v = (struct verified){0};
    for (size_t i = 0; i < count; i++)
        candidates[i] = (struct mq_candidate){.name = mq_file_letter(i), .file = views[i]};
    MQ_TRY(mq_baseline_open(&ctx, against, NULL, &v->baseline, err));
    return mq_compare(&ctx, &v->baseline, candidates, count, options, &v->result, err);
}

static void verified_free(struct verified *v)
{
    mq_comparison_free(&v->result);
    mq_baseline_close(&v->baseline);
}

/* Everything but where it came from. The arithmetic is asked for with the text. */
static char *figures(const char *against, const char *const *models, size_t count, bool with_text,
                     const char *text, enum mq_compute compute)
{
    const struct mq_comparison_options options = {.text = with_text ? mq_test_text(text) : NULL,
                                                  .protocol = protocol,
                                                  .has_compute = with_text,
                                                  .compute = compute};
    struct mq_view *views[2] = {open_model(models[0]), count > 1 ? open_model(models[1]) : NULL};
    struct verified v;
    moeq_error err = {0};
    ck_assert_msg(
        verify(&v, (const struct mq_view *const *)views, count, against, &options, &err) == MOEQ_OK,
        "%s", err.message);
    cJSON *json = mq_verify_json(&v.result, NULL);
    ck_assert_ptr_nonnull(json);
    cJSON_DeleteItemFromObject(json, "text");
    cJSON_DeleteItemFromObject(json, "texts");
    cJSON_DeleteItemFromObject(json, "against");
    cJSON_DeleteItemFromObject(cJSON_GetObjectItem(json, "model"), "path");
    /* a recording does not hold the whole text */
    cJSON_DeleteItemFromObject(cJSON_GetObjectItem(json, "protocol"), "text_bytes");
    cJSON_DeleteItemFromObject(cJSON_GetObjectItem(json, "protocol"), "text_byte_entropy_bits");
    char *printed = cJSON_Print(json);
    cJSON_Delete(json);
    verified_free(&v);
    mq_view_close(views[0]);
    mq_view_close(views[1]);
    return printed;
}

static void check_equal(const char *base, const char *text, const char *const *models, size_t count,
                        enum mq_compute compute)
{
    const struct mq_context ctx = context();
    const char *recording = mq_test_temporary("equal.moeqref");
    record(&ctx, base, text, compute, recording);
    char *direct = figures(base, models, count, true, text, compute);
    char *recorded = figures(recording, models, count, false, text, compute);
    char *same_text = figures(recording, models, count, true, text, compute);
    ck_assert_str_eq(direct, recorded);
    ck_assert_str_eq(direct, same_text);
    ck_assert_ptr_nonnull(strstr(direct, "kld_nats"));
    ck_assert((strstr(direct, "b_minus_a.nll") != NULL) == (count == 2));
    free(direct);
    free(recorded);
    free(same_text);
}

/* Against the original, and against a quantized base, whose head is recorded as decoded floats. */
START_TEST(verify_is_equal)
{
    char names[3][1024], text[1024], demo[1024]; /* the ring of mq_test_temporary is short */
    static const char *const files[] = {"q4_k.moeq", "q3_k.moeq", "q8_0.moeq"};
    for (int i = 0; i < 3; i++)
        snprintf(names[i], sizeof names[i], "%s", mq_test_temporary(files[i]));
    snprintf(text, sizeof text, "%s", mq_test_source("demo/text.txt"));
    snprintf(demo, sizeof demo, "%s", mq_test_source("demo/model"));
    const char *const models[] = {names[0], names[1]}, *base = names[2];
    convert(demo, "q4_k", models[0]);
    convert(demo, "q3_k", models[1]);
    convert(demo, "q8_0", base);
    check_equal(demo, text, models, 1, MQ_COMPUTE_F32);
    check_equal(demo, text, models, 2, MQ_COMPUTE_F32);
    check_equal(base, text, models, 1, MQ_COMPUTE_F32);
    check_equal(base, text, models, 1, MQ_COMPUTE_INT8); /* its head is recorded in blocks */
}
END_TEST

/* A byte-level tokenizer of lower-case letters and the space, for models of 256 tokens. */
static void write_tokenizer(const char *path)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(
        "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
        "\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"
        "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
        "\"trim_offsets\":true,\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"dropout\":null,"
        "\"unk_token\":null,\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
        "\"fuse_unk\":false,\"byte_fallback\":false,\"vocab\":{\"\xc4\xa0\":0",
        f);
    for (int c = 'a'; c <= 'z'; c++)
        fprintf(f, ",\"%c\":%d", c, c);
    fputs("},\"merges\":[]}}", f);
    ck_assert_int_eq(fclose(f), 0);
}

/* A model's folder with a tokenizer: links beside it. */
static const char *with_tokenizer(const char *oracle)
{
    const char *folder = mq_test_temporary("with_tokenizer");
    const char *const files[] = {"config.json", "model.safetensors"};
    char from[1200], to[1200];
    mkdir(folder, 0777);
    for (int i = 0; i < 2; i++) {
        snprintf(from, sizeof from, "%s/%s", mq_test_source(oracle), files[i]);
        snprintf(to, sizeof to, "%s/%s", folder, files[i]);
        unlink(to);
        ck_assert_int_eq(symlink(from, to), 0);
    }
    snprintf(to, sizeof to, "%s/tokenizer.json", folder);
    write_tokenizer(to);
    return folder;
}

static void write_letters(const char *path)
{
    uint64_t seed = 4;
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    for (int i = 0; i < 400; i++) {
        const int c = (int)(mq_test_random(&seed) % 27);
        fputc(c ? 'a' + c - 1 : ' ', f);
    }
    ck_assert_int_eq(fclose(f), 0);
}

/* No router, and a head that is the embedding matrix. */
START_TEST(dense_and_tied)
{
    const char *model = mq_test_temporary("dense.moeq"), *text = mq_test_temporary("letters");
    const char *base = with_tokenizer("tests/fixtures/oracles/llama3_tied");
    const char *quantized = mq_test_temporary("dense_base.moeq");
    write_letters(text);
    convert(base, "q3_k", model);
    check_equal(base, text, &model, 1, MQ_COMPUTE_F32);
    convert(base, "q8_0", quantized);
    check_equal(quantized, text, &model, 1, MQ_COMPUTE_INT8);
}
END_TEST

/* A model of a config: every tensor that it asks for, of random bf16 weights, around 1 in norms. */
static void write_model(const char *folder, const char *config)
{
    static struct mq_st_entry entries[512];
    char path[1200];
    struct mq_view *view;
    struct mq_st_writer writer = {.file = {.fd = -1}};
    uint64_t seed = 11;
    moeq_error err = {0};
    mkdir(folder, 0777);
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    write_tokenizer(path);
    snprintf(path, sizeof path, "%s/config.json", folder);
    FILE *f = fopen(path, "w");
    ck_assert(f && fputs(config, f) >= 0 && fclose(f) == 0);
    ck_assert_msg(mq_view_from_config(path, NULL, &view, &err) == MOEQ_OK, "%s", err.message);
    const size_t n = view->tensors_count;
    ck_assert(n <= sizeof entries / sizeof *entries);
    for (size_t i = 0; i < n; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        entries[i] = (struct mq_st_entry){.name = t->name, .dtype = MQ_BF16, .dims = t->dims};
        entries[i].shape[0] = t->dims == 1 ? t->cols : t->rows;
        entries[i].shape[1] = t->cols;
    }
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    ck_assert_ok(mq_st_writer_open(&writer, path, entries, n, NULL, NULL, &err));
    for (size_t i = 0; i < n; i++) {
        const size_t numbers = view->tensors[i].rows * view->tensors[i].cols;
        uint16_t *bf16 = malloc(numbers * sizeof *bf16);
        for (size_t k = 0; k < numbers; k++) {
            const float x = (view->tensors[i].dims == 1) + 0.2f * mq_test_gauss(&seed);
            uint32_t bits;
            memcpy(&bits, &x, sizeof bits);
            bf16[k] = (uint16_t)(bits >> 16);
        }
        ck_assert_ok(mq_st_writer_put(&writer, i, 0, bf16, 2 * numbers, &err));
        free(bf16);
    }
    ck_assert_ok(mq_st_writer_finish(&writer, &err));
    mq_view_close(view);
}

/* What choices are made with besides logits is recorded: GLM-4.5's router, with a bias on the choice,
 * behind a dense layer and beside a shared expert. */
START_TEST(routers_with_a_bias)
{
    static const char config[] =
        "{\"model_type\": \"glm4_moe\", \"hidden_size\": 32, \"num_hidden_layers\": 3, "
        "\"first_k_dense_replace\": 1, \"num_attention_heads\": 2, \"num_key_value_heads\": 1, "
        "\"head_dim\": 16, \"partial_rotary_factor\": 0.5, \"intermediate_size\": 64, "
        "\"moe_intermediate_size\": 32, \"n_routed_experts\": 8, \"n_shared_experts\": 1, "
        "\"num_experts_per_tok\": 3, \"n_group\": 4, \"topk_group\": 2, \"norm_topk_prob\": true, "
        "\"routed_scaling_factor\": 2.5, \"attention_bias\": true, \"use_qk_norm\": true, "
        "\"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, "
        "\"max_position_embeddings\": 1024, \"tie_word_embeddings\": false, "
        "\"vocab_size\": 256}";
    char base[1024], model[1024], text[1024]; /* the ring of mq_test_temporary is short */
    snprintf(base, sizeof base, "%s", mq_test_temporary("biased"));
    snprintf(model, sizeof model, "%s", mq_test_temporary("biased.moeq"));
    snprintf(text, sizeof text, "%s", mq_test_temporary("letters"));
    const char *const models[] = {model};
    write_model(base, config);
    write_letters(text);
    convert(base, "q2_k", model);
    check_equal(base, text, models, 1, MQ_COMPUTE_F32);
    check_equal(base, text, models, 1, MQ_COMPUTE_INT8);
    char *figured = figures(base, models, 1, true, text, MQ_COMPUTE_F32);
    ck_assert_ptr_nonnull(strstr(figured, "router scores"));
    ck_assert_ptr_nonnull(strstr(figured, "\"shared_experts\":\ttrue"));
    free(figured);
}
END_TEST

static void slurp(const char *path, struct mq_buffer *bytes)
{
    moeq_error err = {0};
    ck_assert_msg(mq_file_read_all(path, 1 << 28, bytes, &err) == MOEQ_OK, "%s", err.message);
}

/* The same bytes from any number of threads, passes and kernels. */
START_TEST(same_bytes)
{
    struct mq_buffer first = {0}, other = {0};
    char path[1024]; /* the ring of mq_test_temporary is short */
    snprintf(path, sizeof path, "%s", mq_test_temporary("same.moeqref"));
    slurp(demo_recording("first.moeqref"), &first);
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        const struct mq_context ctx = {
            .isa = (enum mq_isa)isa, .threads = 1 + (unsigned)isa % 3, .memory_bytes = 1};
        if (!mq_isa_available((enum mq_isa)isa))
            continue;
        mq_buffer_free(&other);
        other = (struct mq_buffer){0};
        record(&ctx, mq_test_source("demo/model"), mq_test_source("demo/text.txt"), MQ_COMPUTE_F32,
               path);
        slurp(path, &other);
        ck_assert_uint_eq(first.size, other.size);
        ck_assert(memcmp(first.data, other.data, first.size) == 0);
    }
    mq_buffer_free(&first);
    mq_buffer_free(&other);
}
END_TEST

/* ---- refusals ---- */

static moeq_status open_recording(const char *path, moeq_error *err)
{
    const struct mq_context ctx = context();
    struct mq_recording *recording;
    memset(err, 0, sizeof *err);
    const moeq_status status = mq_recording_open(&ctx, path, &recording, err);
    if (status == MOEQ_OK)
        mq_recording_close(recording);
    else
        ck_assert_msg(strstr(err->message, path) != NULL, "%s", err->message);
    return status;
}

static void write_file(const char *path, const char *bytes, size_t n)
{
    moeq_error err = {0};
    ck_assert_ok(mq_file_replace(path, bytes, n, &err));
}

START_TEST(damage)
{
    struct mq_buffer good = {0};
    const char *path = mq_test_temporary("damaged.moeqref");
    uint64_t seed = 11;
    moeq_error err;
    slurp(demo_recording("good.moeqref"), &good);
    write_file(path, good.data, good.size);
    ck_assert_ok(open_recording(path, &err));
    bool recorded = false;
    ck_assert_ok(mq_is_recording(path, &recorded, &err));
    ck_assert(recorded);
    for (int i = 0; i < 48; i++) { /* one bit: half of them in the header, where it is dense */
        const size_t at = mq_test_random(&seed) % (i % 2 ? good.size : 1500);
        const char undamaged = good.data[at];
        good.data[at] ^= (char)(1 << mq_test_random(&seed) % 8);
        write_file(path, good.data, good.size);
        ck_assert_msg(open_recording(path, &err) != MOEQ_OK, "byte %zu", at);
        good.data[at] = undamaged;
    }
    for (int i = 0; i < 24; i++) {
        const size_t n = i < 16 ? (size_t)i : mq_test_random(&seed) % good.size;
        write_file(path, good.data, n);
        ck_assert_msg(open_recording(path, &err) != MOEQ_OK, "%zu bytes", n);
    }
    mq_buffer_free(&good);
}
END_TEST

static uint32_t load_u32(const char *p)
{
    uint32_t x;
    memcpy(&x, p, 4);
    return x;
}

/* Makes every checksum right again: what is wrong is then the content alone. */
static void mend(const char *path, struct mq_buffer *b)
{
    struct mq_arena *arena = mq_arena_create();
    struct mq_safetensors st;
    write_file(path, b->data, b->size);
    moeq_error err = {0};
    ck_assert_msg(mq_safetensors_open(path, arena, &st, &err) == MOEQ_OK, "%s", err.message);
    const size_t n = st.count - 1;
    char *table = b->data + st.entries[n].offset;
    ck_assert_uint_eq(st.entries[n].size_bytes, 4 * (n + 2));
    for (size_t i = 0; i <= n + 1; i++) {
        const uint32_t crc = (uint32_t)(i < n ? crc32_z(0, (Bytef *)b->data + st.entries[i].offset,
                                                        st.entries[i].size_bytes)
                                        : i == n ? crc32_z(0, (Bytef *)b->data, st.header_bytes)
                                                 : crc32_z(0, (Bytef *)table, 4 * (n + 1)));
        memcpy(table + 4 * i, &crc, 4);
    }
    ck_assert_uint_eq(load_u32(table + 4 * n), st.header_crc32);
    mq_safetensors_close(&st);
    mq_arena_destroy(arena);
    write_file(path, b->data, b->size);
}

/* Sound checksums, wrong content: each is found, and said. */
START_TEST(hostile)
{
    static const struct {
        const char *from, *to, *message;
    } cases[] = {
        {"\"format\":\"moeqref\"", "\"format\":\"moeqrex\"", "is no recording"},
        {"\"moeqref.version\":\"1\"", "\"moeqref.version\":\"9\"",
         "\"9\", this program reads \"1\""},
        {"\\\"protocol\\\":\\\"half\\\"", "\\\"protocol\\\":\\\"hals\\\"", "moeqref.run"},
        {"\\\"bos\\\":1,", "\\\"bos\\\":-,", "JSON"},
        {"\\\"text_tokens\\\":", "\\\"text_tokenz\\\":", "moeqref.run"},
        {"\\\"token_ids_crc32\\\":\\\"", "\\\"token_ids_crc3z\\\":\\\"", "moeqref.run"},
        {"\\\"compute\\\":\\\"f32\\\"", "\\\"compute\\\":\\\"f64\\\"", "moeqref.run"},
        {"[{\\\"name\\\"", "[{\\\"namo\\\"", "moeqref.source"},
        {"\"router.2\"", "\"rooter.2\"", "'router.2' is missing"},
        {"\"hidden\":{\"dtype\":\"F32\"", "\"hidden\":{\"dtype\":\"I32\"", "expected dtype F32"},
        {"\"head\":{\"dtype\":\"BF16\"", "\"head\":{\"dtype\":\"I16\" ",
         "expected F32, F16 or BF16"},
        {"\"input_ids\":{\"dtype\":\"I32\",\"shape\":[5,64]",
         "\"input_ids\":{\"dtype\":\"I32\",\"shape\":[64,5]", "expected windows of 64 tokens"},
        {"\"hidden_size\": 256", "\"hidden_size\": 512", "expected shape"},
        {"\"vocab_size\": 2048", "\"vocab_size\": 1024", "expected shape"},
        {"\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4", "'router.3' is missing"},
        {"\"num_local_experts\": 8", "\"num_local_experts\": 4", "expected shape"},
        {"\"mixtral\"", "\"mixtrol\"", "mixtrol"},
    };
    const char *path = mq_test_temporary("hostile.moeqref");
    const char *good = demo_recording("good.moeqref");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_buffer b = {0};
        moeq_error err;
        slurp(good, &b);
        const size_t n = strlen(cases[i].from);
        ck_assert_uint_eq(n, strlen(cases[i].to));
        char *at = memmem(b.data, b.size, cases[i].from, n);
        if (strncmp(cases[i].from, "\"mixtral\"", 9) == 0) /* that of config.json */
            at = memmem(at + 1, b.size - (size_t)(at + 1 - b.data), cases[i].from, n);
        ck_assert_msg(at != NULL, "%s", cases[i].from);
        memcpy(at, cases[i].to, n);
        mend(path, &b);
        ck_assert_msg(open_recording(path, &err) != MOEQ_OK, "%s", cases[i].to);
        ck_assert_msg(strstr(err.message, cases[i].message) != NULL, "%s: %s", cases[i].to,
                      err.message);
        mq_buffer_free(&b);
    }
}
END_TEST

/* What verify says of the arithmetic: the models', the baseline's, whether they are the same. */
static void check_compute(const char *against, const char *model, const enum mq_compute *asked,
                          enum mq_compute models, enum mq_compute baseline)
{
    const struct mq_comparison_options options = {.has_compute = asked,
                                                  .compute = asked ? *asked : MQ_COMPUTE_F32};
    struct mq_view *view = open_model(model);
    struct verified v;
    moeq_error err = {0};
    ck_assert_msg(verify(&v, (const struct mq_view *[]){view}, 1, against, &options, &err) ==
                      MOEQ_OK,
                  "%s", err.message);
    cJSON *json = mq_verify_json(&v.result, NULL);
    const cJSON *told = mq_json_get(json, "against"), *rows = mq_json_get(json, "rows");
    const char *const names[] = {mq_compute_name(baseline), mq_compute_name(models)};
    ck_assert_str_eq(mq_json_get(json, "compute")->valuestring, names[1]);
    ck_assert_str_eq(mq_json_get(told, "compute")->valuestring, names[0]);
    ck_assert(cJSON_IsTrue(mq_json_get(told, "same_compute")) == (models == baseline));
    for (int i = 0; i < 2; i++)
        ck_assert_str_eq(mq_json_get(cJSON_GetArrayItem(rows, i), "compute")->valuestring,
                         names[i]);
    /* the same weights: what differs is the arithmetic alone */
    ck_assert((v.result.rows[1].result.kld.mean.value == 0) == (models == baseline));
    cJSON_Delete(json);
    verified_free(&v);
    mq_view_close(view);
}

/* A model against recordings of itself, of either arithmetic and of before there were two. */
START_TEST(arithmetic)
{
    static const enum mq_compute f32 = MQ_COMPUTE_F32, int8 = MQ_COMPUTE_INT8;
    static const char key[] = "\\\"compute\\\"";
    const struct mq_context ctx = context();
    const char *text = mq_test_source("demo/text.txt");
    char model[1024], recording[1024]; /* the ring of mq_test_temporary is short */
    struct mq_buffer b = {0};
    snprintf(model, sizeof model, "%s", mq_test_temporary("arithmetic.moeq"));
    snprintf(recording, sizeof recording, "%s", mq_test_temporary("arithmetic.moeqref"));
    convert(mq_test_source("demo/model"), "q4_k", model);
    record(&ctx, model, text, int8, recording);
    check_compute(recording, model, NULL, int8, int8);
    check_compute(recording, model, &int8, int8, int8);
    check_compute(recording, model, &f32, f32, int8);
    record(&ctx, model, text, f32, recording);
    check_compute(recording, model, &int8, int8, f32);
    slurp(recording, &b);
    char *at = memmem(b.data, b.size, key, sizeof key - 1);
    ck_assert_ptr_nonnull(at);
    at[2] = 'k'; /* an unknown key: not read */
    mend(recording, &b);
    check_compute(recording, model, NULL, f32, f32);
    mq_buffer_free(&b);
}
END_TEST

static void check_refused(const char *output, bool replace, const char *message)
{
    const struct mq_context ctx = context();
    const struct mq_record_options options = {.text = mq_test_text(mq_test_source("demo/text.txt")),
                                              .output_path = output,
                                              .protocol = protocol,
                                              .replace = replace};
    struct mq_record_result result;
    struct mq_view *view = open_model(mq_test_source("demo/model"));
    moeq_error err = {0};
    ck_assert_int_eq(mq_record(&ctx, view, &options, &result, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_msg(strstr(err.message, message) != NULL, "%s", err.message);
    mq_view_close(view);
}

START_TEST(outputs)
{
    const char *link = mq_test_temporary("link");
    check_refused(mq_test_source("demo/text.txt"), true, "would replace an input");
    check_refused(mq_test_source("demo/model/model-00001-of-00003.safetensors"), true,
                  "would replace an input");
    unlink(link);
    ck_assert_int_eq(symlink(mq_test_source("demo/text.txt"), link), 0);
    check_refused(link, true, "would replace an input");
    check_refused(demo_recording("there.moeqref"), false, "exists already");
    check_refused(mq_test_source("demo/model/config.json"), true, "would replace an input");
    check_refused(mq_test_source("demo"), true, "no regular file");
}
END_TEST

/* The first model's arms of --swap: what a recording can give is what the original gives; the rest
 * is null, not 0. */
static char *swapped(const char *against, const char *text, const char *model, bool recorded)
{
    const struct mq_comparison_options options = {
        .text = mq_test_text(text), .protocol = protocol, .swap = true};
    struct mq_view *view = open_model(model);
    struct verified v;
    moeq_error err = {0};
    ck_assert_msg(verify(&v, (const struct mq_view *[]){view}, 1, against, &options, &err) ==
                      MOEQ_OK,
                  "%s", err.message);
    cJSON *json = mq_verify_json(&v.result, NULL);
    const cJSON *row = cJSON_GetArrayItem(mq_json_get(json, "rows"), 1);
    const cJSON *swap = mq_json_get(row, "swap"), *shares = mq_json_get(swap, "shares_of_kld_mean");
    const cJSON *routes = mq_json_get(mq_json_get(shares, "routes"), "value");
    ck_assert(cJSON_IsNull(mq_json_get(swap, "baseline_weights_own_routes")) == recorded);
    ck_assert(recorded ? cJSON_IsNull(routes) : cJSON_IsNumber(routes));
    cJSON *both = cJSON_CreateArray();
    cJSON_AddItemToArray(both,
                         cJSON_Duplicate(mq_json_get(swap, "own_weights_baseline_routes"), true));
    cJSON_AddItemToArray(both, cJSON_Duplicate(mq_json_get(shares, "weights"), true));
    char *printed = cJSON_Print(both);
    cJSON_Delete(both);
    cJSON_Delete(json);
    verified_free(&v);
    mq_view_close(view);
    return printed;
}

START_TEST(swap_arms)
{
    const char *recording = demo_recording("swap.moeqref");
    const char *model = mq_test_temporary("swap.moeq");
    convert(mq_test_source("demo/model"), "q3_k", model);
    char *recorded = swapped(recording, NULL, model, true);
    char *direct =
        swapped(mq_test_source("demo/model"), mq_test_source("demo/text.txt"), model, false);
    ck_assert_str_eq(recorded, direct);
    ck_assert_ptr_nonnull(strstr(direct, "kld_nats"));
    free(recorded);
    free(direct);
    /* nothing to run with bf16 activations */
    struct mq_view *view = open_model(model);
    struct mq_comparison_options options = {.noise_floor = true};
    struct verified v;
    moeq_error err = {0};
    ck_assert_int_eq(verify(&v, (const struct mq_view *[]){view}, 1, recording, &options, &err),
                     MOEQ_INVALID_ARGUMENT);
    verified_free(&v);
    ck_assert_ptr_nonnull(strstr(err.message, "no weights to run for the noise floor"));
    mq_view_close(view);
    /* a dense model has no routes at all */
    err = (moeq_error){0};
    const char *dense = with_tokenizer("tests/fixtures/oracles/llama3_tied");
    view = open_model(dense);
    options = (struct mq_comparison_options){
        .text = mq_test_text(mq_test_source("demo/text.txt")), .protocol = protocol, .swap = true};
    ck_assert_int_eq(verify(&v, (const struct mq_view *[]){view}, 1, dense, &options, &err),
                     MOEQ_INVALID_ARGUMENT);
    verified_free(&v);
    ck_assert_ptr_nonnull(strstr(err.message, "no routes to swap"));
    mq_view_close(view);
}
END_TEST

/* Other models and other texts. */
START_TEST(others)
{
    char recording[1024];
    snprintf(recording, sizeof recording, "%s", demo_recording("others.moeqref"));
    const char *dense = with_tokenizer("tests/fixtures/oracles/llama3_tied");
    struct mq_view *demo = open_model(mq_test_source("demo/model")), *other = open_model(dense);
    struct verified v;
    moeq_error err = {0};
    struct mq_comparison_options options = {0};
    ck_assert_int_eq(verify(&v, (const struct mq_view *[]){other}, 1, recording, &options, &err),
                     MOEQ_INVALID_ARGUMENT);
    verified_free(&v);
    ck_assert_ptr_nonnull(strstr(err.message, "different architectures"));
    err = (moeq_error){0};
    /* a tokenizer without the first merges */
    struct mq_view *cut = open_model(mq_test_source("demo/model"));
    char *merges = strstr(cut->side[MQ_SIDE_TOKENIZER].data, "\"merges\": [");
    ck_assert_ptr_nonnull(merges);
    merges = strchr(merges, '\n');
    for (int line = 0; line < 8; line++, merges = strchr(merges, '\n'))
        memset(merges, ' ', strcspn(merges + 1, "\n") + 1);
    ck_assert_int_eq(verify(&v, (const struct mq_view *[]){cut}, 1, recording, &options, &err),
                     MOEQ_INVALID_ARGUMENT);
    verified_free(&v);
    ck_assert_msg(strstr(err.message, "another tokenizer"), "%s", err.message);
    mq_view_close(cut);
    err = (moeq_error){0};
    options.text = mq_test_text(mq_test_source("CMakeLists.txt"));
    const moeq_status status =
        verify(&v, (const struct mq_view *[]){demo}, 1, recording, &options, &err);
    ck_assert_msg(status == MOEQ_INVALID_ARGUMENT, "%s", err.message);
    ck_assert_msg(v.result.other_text, "%s", err.message);
    verified_free(&v);
    mq_view_close(demo);
    mq_view_close(other);
}
END_TEST

/* The larger model: measured. */
START_TEST(small_size)
{
    const struct mq_context ctx = context();
    const char *path = mq_test_temporary("small.moeqref");
    const struct mq_record_result r = record(&ctx, mq_test_shared("models/small"),
                                             mq_test_source("demo/text.txt"), MQ_COMPUTE_F32, path);
    struct mq_view *view = open_model(mq_test_shared("models/small"));
    const double hidden = view->hparams.hidden;
    mq_view_close(view);
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq((uint64_t)st.st_size, r.file_bytes);
    const double tokens = (double)(r.windows * r.window_tokens);
    fprintf(stderr, "small: %zu tokens, %.3f KiB a token, file of %.1f KiB\n",
            r.windows * r.window_tokens, (double)r.token_bytes / 1024, (double)r.file_bytes / 1024);
    /* the promise is for 4096 floats of state a token; here there are fewer */
    ck_assert((double)r.token_bytes < 20 * 1024 * hidden / 4096 + 4 * 1024);
    ck_assert((double)r.file_bytes > (double)r.token_bytes * tokens);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, mixtral_size);
    tcase_add_test(tests, verify_is_equal);
    tcase_add_test(tests, dense_and_tied);
    tcase_add_test(tests, routers_with_a_bias);
    tcase_add_test(tests, same_bytes);
    tcase_add_test(tests, damage);
    tcase_add_test(tests, hostile);
    tcase_add_test(tests, arithmetic);
    tcase_add_test(tests, outputs);
    tcase_add_test(tests, swap_arms);
    tcase_add_test(tests, others);
}

static void add_reference(TCase *tests)
{
    tcase_add_test(tests, small_size);
}

int main(int argc, char **argv)
{
    return mq_test_main_reference(argc, argv, "test_record", add, add_reference);
}
