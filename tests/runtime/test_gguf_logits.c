/*
 * test_gguf_logits.c: a GGUF file gives the logits and routes that the folder gives which it was
 * made of: to the last bit where its weights are the same numbers.
 */
#include "golden.h"

#include "f16.h"
#include "gguf_build.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORACLES "tests/fixtures/oracles/"
#define FIXTURES "tests/fixtures/gguf/"

static struct mq_view *open_view(const char *path)
{
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_msg(mq_view_open(path, &view, &err) == MOEQ_OK, "%s", err.message);
    return view;
}

/* ---- a folder rewritten as GGUF in F32 ---- */

static const char *file_name(const char *pattern, const struct mq_tensor *t)
{
    static char name[256];
    size_t n = 0;
    while (*pattern) {
        const bool layer = strncmp(pattern, "{layer}", 7) == 0;
        if (layer || strncmp(pattern, "{expert}", 8) == 0) {
            n += (size_t)sprintf(name + n, "%d", layer ? t->layer : t->expert);
            pattern += layer ? 7 : 8;
        } else {
            name[n++] = *pattern++;
        }
    }
    name[n] = '\0';
    return name;
}

/* A tensor's weights in f32, q's and k's rows in GGUF's order. */
static void decode(const struct mq_view *v, const struct mq_tensor *t, float *weights)
{
    const uint32_t heads = t->role == MQ_ROLE_ATTN_Q   ? v->hparams.heads
                           : t->role == MQ_ROLE_ATTN_K ? v->hparams.kv_heads
                                                       : 0;
    uint16_t *row = malloc(t->row_bytes);
    moeq_error err = {0};
    ck_assert(row && strcmp(t->storage, "bf16") == 0);
    for (uint64_t r = 0; r < t->rows; r++) {
        ck_assert_ok(mq_view_read_rows(v, t, r, 1, row, &err));
        float *to = weights + (heads ? mq_interleaved_row(t->rows, heads, r) : r) * t->cols;
        for (uint64_t c = 0; c < t->cols; c++)
            to[c] = mq_bf16_to_f32(row[c]);
    }
    free(row);
}

/* `joined`: the experts of a matrix as one tensor. */
static void add_tensors(struct gguf_build *b, const struct mq_view *v, bool joined)
{
    for (size_t i = 0; i < v->tensors_count; i++) {
        const struct mq_tensor *t = &v->tensors[i];
        const struct mq_gguf_role *role = mq_gguf_role(t->role);
        const bool together = joined && t->expert >= 0;
        if (together && t->expert > 0)
            continue;
        const uint64_t count = together ? v->hparams.experts : 1, n = t->rows * t->cols;
        const uint64_t ne[] = {t->cols, t->rows, count};
        float *weights = malloc(count * n * sizeof *weights);
        ck_assert_ptr_nonnull(weights);
        for (uint64_t e = 0; e < count; e++)
            decode(v, together ? mq_view_find(v, t->role, t->layer, (int32_t)e) : t,
                   weights + e * n);
        gguf_tensor(b, file_name(t->expert >= 0 && !joined ? role->split_name : role->name, t), 0,
                    together       ? 3
                    : t->dims == 1 ? 1
                                   : 2,
                    ne, weights, count * n * sizeof *weights);
        free(weights);
    }
}

static void add_rope_factors(struct gguf_build *b, const struct mq_hparams *h)
{
    const struct mq_rope *r = &h->rope;
    float factors[64];
    const uint64_t n = h->head_dim / 2;
    if (r->type != MQ_ROPE_LLAMA3)
        return;
    for (uint64_t i = 0; i < n; i++) {
        const double wave =
            2 * 3.14159265358979323846 * pow(r->theta, (double)(2 * i) / h->head_dim);
        const double smooth = (r->original_max_positions / wave - r->low_freq_factor) /
                              (r->high_freq_factor - r->low_freq_factor);
        factors[i] = (float)(smooth > 1   ? 1
                             : smooth < 0 ? r->factor
                                          : 1 / ((1 - smooth) / r->factor + smooth));
    }
    gguf_tensor(b, MQ_GGUF_ROPE_FREQS, 0, 1, &n, factors, n * sizeof *factors);
}

static void rewrite(const struct mq_view *v, bool joined, const char *path)
{
    const struct mq_hparams *h = &v->hparams;
    struct gguf_build b = {0};
    gguf_key_text(&b, MQ_GGUF_KEY_ARCHITECTURE, "llama");
    gguf_key_u32(&b, "llama.vocab_size", h->vocab);
    gguf_key_u32(&b, "llama.context_length", h->max_positions);
    gguf_key_u32(&b, "llama.embedding_length", h->hidden);
    gguf_key_u32(&b, "llama.block_count", h->layers);
    gguf_key_u32(&b, "llama.feed_forward_length", h->ffn);
    gguf_key_u32(&b, "llama.attention.head_count", h->heads);
    gguf_key_u32(&b, "llama.attention.head_count_kv", h->kv_heads);
    gguf_key_u32(&b, "llama.attention.key_length", h->head_dim);
    gguf_key_u32(&b, "llama.attention.value_length", h->head_dim);
    gguf_key_u32(&b, "llama.rope.dimension_count", h->head_dim);
    gguf_key_f32(&b, "llama.attention.layer_norm_rms_epsilon", h->rms_eps);
    gguf_key_f32(&b, "llama.rope.freq_base", (float)h->rope.theta);
    if (h->experts) {
        gguf_key_u32(&b, "llama.expert_count", h->experts);
        gguf_key_u32(&b, "llama.expert_used_count", h->top_k);
    }
    add_tensors(&b, v, joined);
    add_rope_factors(&b, h);
    gguf_write(&b, path);
}

/* Evaluates both views side by side on the golden's windows, of at most `length` tokens. */
static void evaluate(const struct mq_view *a, const struct mq_view *b, const char *golden_path,
                     size_t length, struct collected results[2])
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_arm arms[] = {{.name = "folder", .view = a, .routes_from = -1},
                                  {.name = "gguf", .view = b, .routes_from = -1}};
    struct golden golden;
    moeq_error err = {0};
    golden_open(golden_path, &golden);
    struct mq_windows windows = golden.windows;
    if (length && length < windows.length)
        windows = (struct mq_windows){windows.ids, 1, length};
    ck_assert_msg(collect(&context, arms, 2, &windows, results, &err) == MOEQ_OK, "%s",
                  err.message);
    golden_close(&golden);
}

START_TEST(rewritten_folders)
{
    static const struct {
        const char *oracle;
        bool joined;
        size_t length; /* 0: all */
    } cases[] = {
        {"mixtral", true, 0},
        {"mixtral", false, 0},
        {"llama2", true, 0},
        {"llama3", true, 0},
        {"llama3_tied", true, 0},
        {"mistral", true, 0},
        /* its sliding window of 21 cannot be said, and does not act within so few tokens */
        {"mistral_swa", true, 21},
    };
    char folder[64], golden[96];
    const char *path = mq_test_temporary("rewritten.gguf");
    snprintf(folder, sizeof folder, ORACLES "%s", cases[_i].oracle);
    snprintf(golden, sizeof golden, "%s/golden.safetensors", folder);
    struct mq_view *a = open_view(mq_test_source(folder));
    rewrite(a, cases[_i].joined, path);
    struct mq_view *b = open_view(path);
    struct collected c[2];
    evaluate(a, b, mq_test_source(golden), cases[_i].length, c);
    ck_assert(collected_equal(&c[0], &c[1]));
    collected_free(&c[0]);
    collected_free(&c[1]);
    mq_view_close(a);
    mq_view_close(b);
}
END_TEST

/* Within windows where the sliding window acts, the two are different models. */
START_TEST(sliding_windows_that_act)
{
    const char *path = mq_test_temporary("window.gguf");
    struct mq_view *a = open_view(mq_test_source(ORACLES "mistral_swa"));
    rewrite(a, true, path);
    struct mq_view *b = open_view(path);
    const struct mq_arm arms[] = {{.name = "a", .view = a, .routes_from = -1},
                                  {.name = "b", .view = b, .routes_from = -1}};
    moeq_error err = {0};
    ck_assert_ok(mq_arms_check(arms, 2, 21, &err));
    ck_assert_int_eq(mq_arms_check(arms, 2, 22, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "'sliding_window' differs"));
    err = (moeq_error){0};
    ck_assert_int_eq(mq_arms_check(arms, 2, 0, &err), MOEQ_INVALID_ARGUMENT);
    mq_view_close(a);
    mq_view_close(b);
}
END_TEST

/* Root of the mean squared difference. */
static double distance(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sqrt(sum / (double)n);
}

/* A file that the `gguf` package wrote: by how much its logits differ from Transformers'. */
static double distance_of(const char *file, const char *oracle)
{
    char folder[64], golden_path[96];
    snprintf(folder, sizeof folder, ORACLES "%s", oracle);
    snprintf(golden_path, sizeof golden_path, "%s/golden.safetensors", folder);
    struct mq_view *a = open_view(mq_test_source(folder)), *b = open_view(mq_test_source(file));
    struct collected c[2];
    struct golden golden;
    size_t n;
    evaluate(a, b, mq_test_source(golden_path), 0, c);
    golden_open(mq_test_source(golden_path), &golden);
    float *logits = golden_read(&golden, "logits", &n);
    ck_assert(logits && n == c[1].tokens * c[1].vocab);
    const double d = distance(c[1].logits, logits, n);
    fprintf(stderr, "%s: logits differ by %.2e\n", file, d);
    free(logits);
    golden_close(&golden);
    collected_free(&c[0]);
    collected_free(&c[1]);
    mq_view_close(a);
    mq_view_close(b);
    return d;
}

/* F16 holds all but the smallest bf16 weights exactly. Of Q8_0's error most is a few tokens that go
 * to other experts, which random routers decide by little; moeq's own q8_0 differs by 0.099. */
START_TEST(fixtures)
{
    ck_assert_double_le(distance_of(FIXTURES "llama3_tied.gguf", "llama3_tied"), 2e-5);
    ck_assert_double_le(distance_of(FIXTURES "mixtral-00001-of-00002.gguf", "mixtral"), 0.15);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, rewritten_folders, 0, 7);
    tcase_add_test(tests, sliding_windows_that_act);
    tcase_add_test(tests, fixtures);
}

int main(void)
{
    return mq_test_main("test_gguf_logits", add_tests);
}
