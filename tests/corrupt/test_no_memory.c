/*
 * test_no_memory.c: opening, planning and converting with the n-th allocation failing, for every n
 * until all goes well. (After SQLite's tests.) Each failure must be MOEQ_NO_MEMORY, leave no
 * output, and leak nothing, which the sanitizer build sees. cJSON and zlib allocate in libraries of
 * their own and are not reached.
 */
#include "test_model.h"

#include "gguf_build.h"
#include "sentencepiece.h"
#include "st_edit.h"
#include "stored.h"
#include "tokenizer.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *text);

static atomic_int countdown; /* 0: off; 1: the next allocation fails */

static bool fails(void)
{
    return atomic_load(&countdown) > 0 && atomic_fetch_sub(&countdown, 1) == 1;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t count, size_t n)
{
    return fails() ? NULL : __real_calloc(count, n);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

/* Runs the whole job with allocation n failing; true if there were fewer than n. `complete` is the
 * file that there must not be without success. */
static bool survives(const char *model, const char *output, const char *complete,
                     uint64_t shard_bytes, int n)
{
    moeq_error err = {0};
    const struct mq_context context = {.isa = MQ_ISA_GENERIC, .threads = 1};
    unlink(complete);
    atomic_store(&countdown, n);
    const moeq_status status =
        test_convert_sharded(model, "bf16", shard_bytes, output, false, &context, NULL, &err);
    const bool reached = atomic_exchange(&countdown, 0) == 0;
    if (!reached) {
        ck_assert_msg(status == MOEQ_OK, "%s", err.message);
        return true;
    }
    ck_assert_msg(status == MOEQ_NO_MEMORY, "allocation %d of %s: %s: %s", n, model,
                  moeq_status_text(status), err.message);
    ck_assert_int_eq(err.status, MOEQ_NO_MEMORY);
    ck_assert_msg(access(complete, F_OK) != 0, "allocation %d: there is an output", n);
    return false;
}

static void sweep(const char *model, const char *name)
{
    const char *output = mq_test_temporary(name);
    int n = 1;
    while (!survives(model, output, output, 0, n))
        n++;
    ck_assert_int_gt(n, 40); /* or the wrapping does not work */
    unlink(output);
}

START_TEST(sharded_folder)
{
    sweep(mq_test_source(MIXTRAL), "sharded.moeq");
}
END_TEST

START_TEST(fused_folder)
{
    sweep(mq_test_source(MIXTRAL_FUSED), "fused.moeq");
}
END_TEST

/* Codes and scales in tensors of their own. */
START_TEST(f8_folder)
{
    char folder[1024];
    strcpy(folder, test_f8_model("no_memory", true));
    sweep(folder, "f8.moeq");
}
END_TEST

/* A folder that another tool has quantized, in every way that MLX has: config.json, a zero byte, another, and the
 * weights' header, as the fuzz target has them; the data are blanks, which are scales. */
START_TEST(quantized_folder)
{
    enum { DATA = 1 << 16 };
    char blanks[DATA];
    const char *folder = mq_test_temporary("mlx_latent");
    struct mq_buffer whole = test_read(mq_test_source("tests/fuzz/corpus/hf_folder/mlx_latent"));
    const size_t config = strlen(whole.data), rest = config + 2;
    ck_assert_uint_gt(whole.size, rest);
    mkdir(folder, 0777);
    test_write(test_path(folder, "config.json"), whole.data, config);
    const char *weights = test_path(folder, "model.safetensors");
    memset(blanks, ' ', sizeof blanks);
    static const char key[] = "data_offsets\":[";
    size_t n = 0, size = whole.size; /* n: the end of the last tensor */
    mq_buffer_putc(&whole, '\0');
    for (const char *at = whole.data + rest + 8; (at = strstr(at, key)); at += sizeof key) {
        const size_t end = strtoul(strchr(at, ',') + 1, NULL, 10);
        n = end > n ? end : n;
    }
    whole.size = size;
    ck_assert(n && n <= sizeof blanks);
    mq_buffer_append(&whole, blanks, n);
    test_write(weights, whole.data + rest, whole.size - rest);
    mq_buffer_free(&whole);
    sweep(folder, "mlx_latent.moeq");
}
END_TEST

/* A SentencePiece model, and the tokenizer made of it. */
START_TEST(sentencepiece_model)
{
    const char *folder = mq_test_source("tests/tokenizer/data/sentencepiece");
    struct mq_buffer json = {0};
    const struct mq_buffer config = {0};
    moeq_status status = MOEQ_NO_MEMORY;
    int n = 0;
    while (status == MOEQ_NO_MEMORY) {
        moeq_error err = {0};
        mq_buffer_free(&json);
        atomic_store(&countdown, ++n);
        status = mq_spm_folder_to_json(folder, "bpe_rules.model", &config, &json, NULL, &err);
        atomic_store(&countdown, 0);
        ck_assert_int_eq(err.status, status);
    }
    ck_assert_ok(status);
    ck_assert_int_gt(n, 8);
    struct mq_tokenizer *t = NULL;
    for (n = 0, status = MOEQ_NO_MEMORY; status == MOEQ_NO_MEMORY;) {
        moeq_error err = {0};
        struct mq_ids ids = {0};
        atomic_store(&countdown, ++n);
        status = mq_tokenizer_load(json.data, json.size, "t", &t, &err);
        if (status == MOEQ_OK)
            status = mq_tokenizer_encode(t, "the  boats", 10, true, &ids, &err);
        atomic_store(&countdown, 0);
        ck_assert_int_eq(err.status, status);
        mq_ids_free(&ids);
        mq_tokenizer_free(t);
        t = NULL;
    }
    ck_assert_ok(status);
    ck_assert_int_gt(n, 40);
    mq_buffer_free(&json);
}
END_TEST

/* Tokens and chat templates in several files. */
START_TEST(side_files)
{
    static const char *const files[][2] = {
        {"tokenizer.json", "{\"added_tokens\":[{\"id\":0,\"content\":\"<s>\"}],\"model\":{\"type\":"
                           "\"BPE\",\"vocab\":{\"<s>\":0,\"a\":1},\"merges\":[]}}"},
        {"tokenizer_config.json",
         "{\"eos_token\":\"<e>\",\"x_token\":\"<x>\",\"chat_template\":\"c\","
         "\"additional_special_tokens\":[\"<y>\"]}"},
        {"added_tokens.json", "{\"<a>\":2,\"<b>\":0}"},
        {"special_tokens_map.json", "{\"eos_token\":\"<f>\"}"},
        {"chat_template.jinja", "one"},
        {"chat_template.json", "{\"chat_template\":\"two\"}"},
        {"additional_chat_templates/rag.jinja", "three"},
    };
    char folder[1024], path[2048];
    strcpy(folder, test_model_copy(MIXTRAL_FUSED, "no_memory"));
    snprintf(path, sizeof path, "%s/additional_chat_templates", folder);
    mkdir(path, 0777);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i][0]);
        test_write(path, files[i][1], strlen(files[i][1]));
    }
    sweep(folder, "side_files.moeq");
}
END_TEST

/* A folder that is read with notes: other names, a leftover index, a head that is tied and stored,
 * tensors left out; and shards without an index. */
START_TEST(folders_with_notes)
{
    static struct st_edit edit;
    static const char index[] = "{\"weight_map\":{\"lm_head.weight\":\"model-1.safetensors\"}}";
    char folder[1024];
    strcpy(folder, test_model_copy("tests/fixtures/oracles/llama3_tied", "no_memory"));
    st_edit_load(&edit, test_path(folder, "model.safetensors"));
    st_edit_prefix(&edit, "model.", "module.base_model.");
    st_edit_add(&edit, "lm_head.weight", MQ_BF16, 2, 256, 96);
    st_edit_add(&edit, "v_head.weight", MQ_F32, 1, 4, 0);
    st_edit_save(&edit, test_path(folder, "model.safetensors"));
    st_edit_free(&edit);
    test_write(test_path(folder, "model.safetensors.index.json"), index, sizeof index - 1);
    sweep(folder, "notes.moeq");
    strcpy(folder, test_model_copy(MIXTRAL, "no_memory"));
    ck_assert_int_eq(unlink(test_path(folder, "model.safetensors.index.json")), 0);
    sweep(folder, "shards.moeq");
}
END_TEST

START_TEST(moeq_file)
{
    moeq_error err = {0};
    char source[1024];
    strcpy(source, mq_test_temporary("source.moeq"));
    ck_assert_ok(test_convert(mq_test_source(MIXTRAL), "q8_0", source, NULL, NULL, &err));
    sweep(source, "again.moeq");
}
END_TEST

static moeq_status convert_planned(const char *model, const char *output, bool allow,
                                   moeq_error *err)
{
    const struct mq_context context = {.isa = MQ_ISA_GENERIC, .threads = 1};
    const struct mq_convert_options options = {.output = output, .replace = true};
    struct mq_policy policy = mq_policy_default(mq_level_find("bf16"));
    struct mq_convert_result result;
    struct mq_view *view = NULL;
    struct mq_plan *plan = NULL;
    policy.allow_nonfinite = allow;
    moeq_status status = mq_model_open(model, &view, err);
    if (status == MOEQ_OK)
        status = mq_convert_plan(&context, view, &policy, NULL, 0, &plan, err);
    if (status == MOEQ_OK)
        status = mq_convert(&context, plan, &options, &result, err);
    mq_plan_free(plan);
    mq_view_close(view);
    return status;
}

/* A weight that is NaN: looked for and noted, or counted and refused. */
START_TEST(nonfinite_weights)
{
    char model[1024];
    strcpy(model, test_model_copy(MIXTRAL, "no_memory.nan"));
    const char *shard = test_path(model, "model-00003-of-00007.safetensors");
    struct mq_buffer bytes = test_read(shard);
    memcpy(bytes.data + bytes.size - 2, "\xc0\x7f", 2);
    test_write(shard, bytes.data, bytes.size);
    mq_buffer_free(&bytes);
    const char *output = mq_test_temporary("no_memory.nan.moeq");
    for (int allow = 0; allow < 2; allow++)
        for (int n = 1, reached = 1; reached; n++) {
            moeq_error err = {0};
            unlink(output);
            atomic_store(&countdown, n);
            const moeq_status status = convert_planned(model, output, allow, &err);
            reached = atomic_exchange(&countdown, 0) == 0;
            const moeq_status expected = reached ? MOEQ_NO_MEMORY
                                         : allow ? MOEQ_OK
                                                 : MOEQ_UNSUPPORTED;
            ck_assert_msg(status == expected, "allow %d, allocation %d: %s: %s", allow, n,
                          moeq_status_text(status), err.message);
            ck_assert_int_eq(access(output, F_OK) == 0, status == MOEQ_OK);
            ck_assert(reached || n > 40);
        }
}
END_TEST

/* Into shards, and out of them again. */
START_TEST(moeq_shards)
{
    char output[1024], index[1100];
    int n = 1;
    strcpy(output, mq_test_temporary("shards.moeq"));
    snprintf(index, sizeof index, "%s.index.json", output);
    while (!survives(mq_test_source(MIXTRAL), output, index, 200000, n))
        n++;
    ck_assert_int_gt(n, 40);
    sweep(index, "one.moeq");
}
END_TEST

/* Two files; and one with a tokenizer of each kind. */
START_TEST(gguf_files)
{
    static const char *const tokens[] = {"a", "b", "ab", "<s>"};
    const char *path = mq_test_temporary("tokenizer.gguf");
    sweep(mq_test_source("tests/fixtures/gguf/mixtral-00001-of-00002.gguf"), "gguf.moeq");
    for (int byte_level = 0; byte_level < 2; byte_level++) {
        struct gguf_build b = {0};
        gguf_key_text(&b, MQ_GGUF_KEY_TOKENIZER, byte_level ? "gpt2" : "llama");
        gguf_key_text(&b, MQ_GGUF_KEY_PRE, "llama-bpe");
        gguf_key_text(&b, MQ_GGUF_KEY_CHAT_TEMPLATE, "{{ messages }}");
        gguf_key_text(&b, MQ_GGUF_KEY_NAME, "small");
        gguf_key_strings(&b, MQ_GGUF_KEY_TOKENS, tokens, 4);
        gguf_key_u32(&b, MQ_GGUF_KEY_BOS, 3);
        if (byte_level)
            gguf_key_strings(&b, MQ_GGUF_KEY_MERGES, (const char *const[]){"a b"}, 1);
        gguf_small_model(&b, true);
        gguf_write(&b, path);
        sweep(path, "small.moeq");
    }
}
END_TEST

/* The plans of folders for other runtimes. */
START_TEST(runtime_folders)
{
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    for (int f = 0; f < MQ_FOLDER_FORMATS; f++)
        for (int n = 1, reached = 1; reached; n++) {
            const struct mq_folder_options options = {.format = (enum mq_folder_format)f,
                                                      .shard_bytes = 1 << 20};
            const struct mq_policy policy =
                mq_policy_default(mq_folder_default_level(view, &options));
            struct mq_plan *plan = NULL;
            atomic_store(&countdown, n);
            const moeq_status status = mq_plan_create_folder(view, &policy, &options, &plan, &err);
            reached = atomic_exchange(&countdown, 0) == 0;
            ck_assert_msg(status == (reached ? MOEQ_NO_MEMORY : MOEQ_OK),
                          "format %d, allocation %d: %s: %s", f, n, moeq_status_text(status),
                          err.message);
            ck_assert(reached || n > 20);
            mq_plan_free(plan);
        }
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, sharded_folder);
    tcase_add_test(tests, fused_folder);
    tcase_add_test(tests, f8_folder);
    tcase_add_test(tests, quantized_folder);
    tcase_add_test(tests, sentencepiece_model);
    tcase_add_test(tests, side_files);
    tcase_add_test(tests, folders_with_notes);
    tcase_add_test(tests, moeq_file);
    tcase_add_test(tests, nonfinite_weights);
    tcase_add_test(tests, moeq_shards);
    tcase_add_test(tests, gguf_files);
    tcase_add_test(tests, runtime_folders);
}

int main(void)
{
    return mq_test_main("test_no_memory", add_tests);
}
