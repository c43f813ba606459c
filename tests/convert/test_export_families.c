/* test_export_families.c: of every family that GGUF has an architecture for, what is written is read
 * again as the same layers and the same weights. (That llama.cpp's converter writes the same is
 * tests/interop/gguf_families.py's to say.) */
#include "test_model.h"

#include "convert.h"
#include "gguf_arch.h"
#include "family.h"
#include "plan.h"
#include "stored.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const names[] = {
    "afmoe",      "deepseek_v2",      "deepseek_v3", "dots1",     "ernie4_5_moe",
    "exaone_moe", "gemma4_moe",       "gemma4_text", "glm4_moe",  "glm4_moe_lite",
    "granitemoe", "granitemoehybrid", "hy_v3",       "lfm2_moe",  "mimo_v2_flash",
    "ministral3", "mistral4",         "nemotron_h",  "qwen2_moe", "qwen3_5_moe",
    "qwen3_next", "hunyuan_v1_moe",   "minimax_m2",  "olmoe",     "mixtral",
    "gpt_oss",    "gpt_oss_mxfp4",    "qwen3_vl_moe", "mistral_large3", "llama4",      "dbrx",
    "deepseek_v32", "glm_moe_dsa",
};
enum { NAMES = sizeof names / sizeof *names };

/* The checkpoints of a family, where there are some. */
static bool find_model(const char *name, char *path, size_t room)
{
    static const char *const folders[] = {"tests/fixtures/families", "tests/fixtures/oracles",
                                          "../shared/oracles"};
    struct stat info;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char relative[300];
        snprintf(relative, sizeof relative, "%s/%s", folders[i], name);
        snprintf(path, room, "%s", mq_test_source(relative));
        if (stat(path, &info) == 0)
            return true;
    }
    printf("skipped: no checkpoint of %s\n", name);
    return false;
}

static float *weights_of(const struct mq_view *v, const struct mq_tensor *t)
{
    const struct mq_level *level;
    moeq_error err = {0};
    uint8_t *bytes = malloc(t->rows * t->row_bytes);
    float *weights = malloc(t->rows * t->cols * sizeof *weights);
    ck_assert(bytes && weights);
    ck_assert_ok(mq_tensor_stored(v, t, &level, &err));
    ck_assert_msg(mq_view_read_rows(v, t, 0, t->rows, bytes, &err) == MOEQ_OK, "%s", err.message);
    mq_level_decode_rows(level, mq_isa_detect(), bytes, t->rows, t->cols, weights);
    free(bytes);
    return weights;
}

/* Decays are stored as exponentials: their logarithm is nearly the same. */
static void same_weights(const struct mq_view *a, const struct mq_view *b, size_t i)
{
    const struct mq_tensor *t = &a->tensors[i], *u = &b->tensors[i];
    ck_assert_str_eq(t->name, u->name);
    float *x = weights_of(a, t), *y = weights_of(b, u);
    const bool rounded = strcmp(t->storage, "f8_e4m3") == 0; /* to bf16 */
    for (uint64_t k = 0; k < t->rows * t->cols; k++)
        ck_assert_msg(x[k] == y[k] || (rounded && fabsf(x[k] - y[k]) <= fabsf(x[k]) / 256) ||
                          (t->role == MQ_ROLE_MIX_DECAY && fabsf(x[k] - y[k]) < 1e-5f),
                      "%s [%llu]: %g and %g", t->name, (unsigned long long)k, (double)x[k],
                      (double)y[k]);
    free(x);
    free(y);
}

/* False: the architecture cannot say it. */
static bool export(struct mq_view *view, const char *path, bool must)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_convert_options how = {.output = path, .replace = true};
    const struct mq_gguf_options up = {.unify_up = true};
    const struct mq_policy policy = {0};
    struct mq_convert_result result;
    struct mq_plan *plan;
    moeq_error err = {0};
    mq_buffer_free(&view->side[MQ_SIDE_TOKENIZER]);
    view->side[MQ_SIDE_TOKENIZER] =
        test_read(mq_test_source("tests/fixtures/gguf/letters_tokenizer.json"));
    const moeq_status status = mq_plan_create_gguf(view, &policy, &up, &plan, &err);
    if (!must && status == MOEQ_UNSUPPORTED && strstr(err.message, "GGUF"))
        return false;
    ck_assert_msg(status == MOEQ_OK, "%s", err.message);
    ck_assert_msg(mq_convert(&context, plan, &how, &result, &err) == MOEQ_OK, "%s", err.message);
    mq_plan_free(plan);
    return true;
}

static void compare(const struct mq_view *view, const struct mq_view *read)
{
    ck_assert_uint_eq(read->hparams.layers, view->hparams.layers);
    for (uint32_t i = 0; i < view->hparams.layers; i++)
        ck_assert_msg(memcmp(&read->program->layers[i]->layer, &view->program->layers[i]->layer,
                             sizeof(struct mq_layer)) == 0,
                      "layer %u of %s", i, view->path);
    ck_assert_mem_eq(&read->program->ends, &view->program->ends, sizeof view->program->ends);
    ck_assert_uint_eq(read->tensors_count, view->tensors_count);
    for (size_t i = 0; i < view->tensors_count; i++)
        same_weights(view, read, i);
}

static void check(const char *model, bool must)
{
    struct mq_view *view;
    moeq_error err = {0};
    const moeq_status status = mq_model_open(model, &view, &err);
    if (status == MOEQ_UNSUPPORTED && (!must || strstr(err.message, "quantized"))) {
        printf("skipped: %s\n", err.message);
        return;
    }
    ck_assert_msg(status == MOEQ_OK, "%s", err.message);
    const char *path = mq_test_temporary("family.gguf");
    if (view->family->gguf_architecture && export(view, path, must)) {
        struct mq_view *read = test_open(path);
        compare(view, read);
        mq_view_close(read);
        remove(path);
    }
    mq_view_close(view);
}

START_TEST(read_again)
{
    char model[1024];
    if (find_model(names[_i], model, sizeof model))
        check(model, true);
}
END_TEST

/* Checkpoints of other forms: the same, or refused. */
START_TEST(variants)
{
    char folder[1024], model[2048];
    snprintf(folder, sizeof folder, "%s", mq_test_source("tests/fixtures/families"));
    DIR *dir = opendir(folder);
    if (!dir) {
        printf("skipped: no folder %s\n", folder);
        return;
    }
    for (const struct dirent *d; (d = readdir(dir));) {
        if (d->d_name[0] == '.' || !strchr(d->d_name, '-'))
            continue;
        snprintf(model, sizeof model, "%s/%s", folder, d->d_name);
        check(model, false);
    }
    closedir(dir);
}
END_TEST

/* Every architecture that a family names has its row. */
START_TEST(architectures_are_known)
{
    for (size_t i = 0; i < mq_families_count; i++)
        ck_assert_msg(!mq_families[i]->gguf_architecture ||
                          mq_gguf_arch_find(mq_families[i]->gguf_architecture),
                      "%s", mq_families[i]->name);
}
END_TEST

/* Qwen3-MoE's layers without experts: llama.cpp knows of none. */
START_TEST(what_cannot_be_said_is_refused)
{
    const struct mq_policy policy = {0};
    const struct mq_gguf_options up = {.unify_up = true};
    struct mq_view *view = test_open(mq_test_source("tests/fixtures/oracles/qwen3_moe"));
    struct mq_plan *plan;
    moeq_error err = {0};
    ck_assert_int_eq(mq_plan_create_gguf(view, &policy, &up, &plan, &err), MOEQ_UNSUPPORTED);
    ck_assert_msg(strstr(err.message,
                         "GGUF's architecture qwen3moe cannot say what layer 1 of this "
                         "model is (by dense_layers): programs that read the file "
                         "would compute another model"),
                  "%s", err.message);
    mq_view_close(view);
}
END_TEST

static size_t find_bytes(const struct mq_buffer *file, const void *bytes, size_t n)
{
    size_t at = 0;
    while (at + n <= file->size && memcmp(file->data + at, bytes, n) != 0)
        at++;
    return at;
}

/* As the rows of the matrices that they belong to: number i of a head's first half, then of its second. */
START_TEST(biases_are_interleaved)
{
    const char *path = mq_test_temporary("biases.gguf");
    struct mq_view *view = test_open(mq_test_source("tests/fixtures/families/granitemoe-biases"));
    const struct mq_tensor *t = mq_view_find(view, MQ_ROLE_ATTN_Q_BIAS, 0, -1);
    float *bias = weights_of(view, t), turned[64];
    const size_t dim = view->hparams.head_dim;
    ck_assert(export(view, path, true) && dim <= 64);
    for (size_t i = 0; i < dim; i++)
        turned[i] = bias[i % 2 * (dim / 2) + i / 2];
    struct mq_buffer file = test_read(path);
    ck_assert_uint_lt(find_bytes(&file, turned, dim * sizeof *turned), file.size - 100);
    mq_buffer_free(&file);
    free(bias);
    mq_view_close(view);
    remove(path);
}
END_TEST

/* What llama.cpp ends its process for: groups of experts of which it is not said how many are taken, and a
 * convolution without biases. */
START_TEST(what_llama_cpp_needs)
{
    const char *path = mq_test_temporary("needs.gguf"), key[] = "expert_group_used_count";
    struct mq_view *view = test_open(mq_test_source("tests/fixtures/families/deepseek_v3_fp8"));
    ck_assert(view->hparams.route_groups > 1 && view->hparams.route_top_groups == 1);
    ck_assert(export(view, path, true));
    struct mq_buffer file = test_read(path);
    ck_assert_uint_lt(find_bytes(&file, key, sizeof key - 1), file.size - sizeof key);
    mq_buffer_free(&file);
    mq_view_close(view);
    remove(path);
    view = test_open(mq_test_source("tests/fixtures/families/granitemoehybrid-no_conv_bias"));
    ck_assert(!export(view, path, false));
    mq_view_close(view);
}
END_TEST

/* Llama 4's key for chunks has one value that llama.cpp computes otherwise: 0, none at all. */
START_TEST(chunks_are_not_left_out)
{
    const char *path = mq_test_temporary("chunks.gguf"), key[] = "llama4.attention.sliding_window";
    struct mq_view *view = test_open(mq_test_source("tests/fixtures/families/llama4"));
    ck_assert(export(view, path, true));
    mq_view_close(view);
    struct mq_buffer file = test_read(path);
    const size_t at = find_bytes(&file, key, sizeof key - 1);
    ck_assert_uint_lt(at + sizeof key, file.size);
    memset(file.data + at + sizeof key - 1 + 4, 0, 4); /* behind the type of the value */
    FILE *f = fopen(path, "wb");
    ck_assert(f && fwrite(file.data, 1, file.size, f) == file.size && fclose(f) == 0);
    mq_buffer_free(&file);
    test_refused(path, MOEQ_UNSUPPORTED,
                 "%s: its keys are those of no llama4 model: llama4.attention.sliding_window is "
                 "another");
    remove(path);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, biases_are_interleaved);
    tcase_add_test(tests, what_llama_cpp_needs);
    tcase_add_test(tests, chunks_are_not_left_out);
    tcase_add_loop_test(tests, read_again, 0, NAMES);
    tcase_add_test(tests, variants);
    tcase_add_test(tests, architectures_are_known);
    tcase_add_test(tests, what_cannot_be_said_is_refused);
}

int main(void)
{
    return mq_test_main("test_export_families", add_tests);
}
