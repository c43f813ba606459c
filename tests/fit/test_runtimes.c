/* Runtimes that load folders: which levels they are offered, their bytes, and the lines that make and run them. */
#include "fit_support.h"

#include "fit_target.h"
#include "launch.h"
#include "levels.h"

#include <string.h>

static struct mq_fit fit;

/* All rows of who names no level, of a config.json on a card. */
static struct mq_view *fit_usual(const char *config, const char *runtime, const char *card,
                                 uint32_t cards)
{
    const struct mq_policy none = {0};
    struct mq_view *view = open_config(config);
    struct mq_fit_target target = target_of(card, cards);
    moeq_error err = {0};
    target.runtime = mq_runtime_find(runtime);
    begin_target(&fit, view, &target, 8192);
    ck_assert_ok(mq_fit_add_usual(&fit, &none, &err));
    return view;
}

static const struct mq_fit_row *row_of(const char *name)
{
    for (size_t i = 0; i < fit.rows_count; i++)
        if (strcmp(fit.rows[i].name, name) == 0)
            return &fit.rows[i];
    ck_abort_msg("no row of %s", name);
}

/* Every level that the table gives a runtime is one, and its format has a form of it. */
START_TEST(levels_have_forms)
{
    for (size_t i = 0; i < mq_runtimes_count; i++) {
        const struct mq_runtime *r = &mq_runtimes[i];
        ck_assert(r->reads_gguf == !r->forms[0].name);
        for (int f = 0; f < MQ_RUNTIME_FORMS && r->forms[f].name; f++) {
            char names[200], *rest = names, *name;
            snprintf(names, sizeof names, "%s", r->forms[f].levels);
            while ((name = strsep(&rest, "|"))) {
                const struct mq_level *level = mq_level_find(name);
                ck_assert_msg(level && strcmp(level->name, name) == 0, "%s", name);
                ck_assert(mq_level_can_encode(level));
                ck_assert_msg(mq_split_find(r->forms[f].format, level) != NULL, "%s", name);
                ck_assert_ptr_eq(mq_runtime_form_of(r, name), &r->forms[f]);
            }
        }
    }
}
END_TEST

/* Rows are the runtime's levels beside bf16: none of GGUF's, and llama.cpp has none of theirs. */
START_TEST(levels_of_each)
{
    mq_view_close(fit_usual("qwen3-30b-a3b", "llama.cpp", "4090", 1));
    for (size_t i = 0; i < fit.rows_count; i++)
        for (size_t r = 0; r < mq_runtimes_count; r++)
            ck_assert_ptr_null(mq_runtime_form_of(&mq_runtimes[r], fit.rows[i].name));
    ck_assert_uint_gt(fit.rows_count, 10);
    const struct {
        const char *runtime, *card;
    } others[] = {{"vllm", "h200"}, {"sglang", "h200"}, {"mlx", "M2 Max 64GB"}};
    for (size_t o = 0; o < sizeof others / sizeof *others; o++) {
        mq_view_close(fit_usual("qwen3-30b-a3b", others[o].runtime, others[o].card, 1));
        ck_assert_uint_gt(fit.rows_count, 5);
        for (size_t i = 0; i < fit.rows_count; i++)
            ck_assert(!fit.rows[i].quantized ||
                      mq_runtime_form_of(fit.target.runtime, fit.rows[i].name));
    }
}
END_TEST

/* Bytes of Qwen3-30B-A3B, by its shapes: experts at the level, attention in 8 bits, the rest as it is. */
START_TEST(bytes_of_folders)
{
    enum { HIDDEN = 2048, EXPERT = 768, LAYERS = 48, EXPERTS = 128, HEADS = 32 * 128, KV = 4 * 128 };
    const uint64_t vocab = 151936, experts = (uint64_t)LAYERS * EXPERTS * 3 * HIDDEN * EXPERT;
    const uint64_t attention = (uint64_t)LAYERS * HIDDEN * (2 * HEADS + 2 * KV);
    const uint64_t tables = 2 * vocab * HIDDEN;
    const uint64_t others = 2 * ((uint64_t)LAYERS * (EXPERTS * HIDDEN + 2 * HIDDEN + 2 * 128) + HIDDEN);
    /* scales of rows: a row of gate and up has one, and of down, and of q, k, v and o */
    const uint64_t expert_rows = (uint64_t)LAYERS * EXPERTS * (2 * EXPERT + HIDDEN);
    const uint64_t attention_rows = (uint64_t)LAYERS * (HEADS + 2 * KV + HIDDEN);
    struct mq_view *view = fit_usual("qwen3-30b-a3b", "vllm", "h200", 1);
    const uint64_t rest = others + 2 * tables;
    ck_assert_uint_eq(row_of("bf16")->weight_bytes, 2 * (experts + attention) + rest);
    ck_assert_uint_eq(row_of("w4g32")->weight_bytes,
                      experts * 9 / 16 + attention * 130 / 128 + rest);
    ck_assert_uint_eq(row_of("w4g128")->weight_bytes,
                      experts * 66 / 128 + attention * 130 / 128 + rest);
    ck_assert_uint_eq(row_of("w8g128")->weight_bytes, (experts + attention) * 130 / 128 + rest);
    ck_assert_uint_eq(row_of("w8c")->weight_bytes,
                      experts + attention + 2 * (expert_rows + attention_rows) + rest);
    ck_assert_uint_eq(row_of("fp8b")->weight_bytes,
                      experts + attention + 4 * (experts + attention) / (128 * 128) + rest);
    mq_view_close(view);
    view = fit_usual("qwen3-30b-a3b", "mlx", "M2 Max 64GB", 1);
    ck_assert_uint_eq(row_of("mlx4g64")->weight_bytes,
                      experts * 36 / 64 + (attention + tables) * 68 / 64 + others);
    ck_assert_uint_eq(row_of("mlx4g64")->host_embedding_bytes, 0);
    mq_view_close(view);
}
END_TEST

static void has(const char *text, const char *words)
{
    ck_assert_msg(strstr(text, words) != NULL, "'%s' in %s", words, text);
}

START_TEST(lines)
{
    struct mq_launch l[2];
    struct mq_view *view = fit_usual("qwen3-30b-a3b", "vllm", "4090", 2);
    ck_assert_uint_eq(mq_fit_launches(&fit, l), 1);
    const char *name = l[0].row->name;
    ck_assert(l[0].row->quantized);
    has(l[0].make, "moeq export MODEL -o qwen3-30b-a3b-");
    has(l[0].make, mq_runtime_form_of(fit.target.runtime, name)->name);
    has(l[0].make, " --tp 2");
    has(l[0].vllm, "vllm serve qwen3-30b-a3b-");
    has(l[0].vllm, name);
    ck_assert_str_eq(l[0].sglang, "");
    mq_view_close(view);
    view = fit_usual("qwen3-30b-a3b", "sglang", "4090", 2);
    mq_fit_launches(&fit, l);
    has(l[0].sglang, "--model-path qwen3-30b-a3b-");
    has(l[0].sglang, "--mem-fraction-static 0.85 --chunked-prefill-size 2048 --tp-size 2");
    mq_view_close(view);
    view = fit_usual("qwen3-30b-a3b", "mlx", "M2 Max 32GB", 1);
    mq_fit_launches(&fit, l);
    has(l[0].make, " --format mlx --level mlx");
    has(l[0].mlx, "mlx_lm.server --model qwen3-30b-a3b-mlx");
    ck_assert_str_eq(l[0].llama_cpp, "");
    mq_view_close(view);
}
END_TEST

/* Of cards that are no Macs. */
START_TEST(macs_alone)
{
    static const struct mq_fit_request requests[] = {
        {.gpu = "4090", .runtime = "mlx", .dash = "--"},
        {.vram = "2x24GiB", .runtime = "mlx", .dash = "--"},
        {.gpu = "M2 Max 32GB", .runtime = "mlx-lm", .dash = "--"},
        {.vram = "24GiB", .runtime = "MLX", .dash = "--"},
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        struct mq_fit_target target;
        const struct mq_kv_kind *kv;
        moeq_error err = {0};
        const moeq_status status = mq_fit_request_read(&requests[i], &target, &kv, &err);
        ck_assert_int_eq(status, i < 2 ? MOEQ_INVALID_ARGUMENT : MOEQ_OK);
        if (i < 2)
            has(err.message, "--runtime mlx runs on one Mac");
    }
}
END_TEST

/* A level of GGUF that is named: its size, and no line. */
START_TEST(named_levels)
{
    struct mq_launch l[2];
    struct mq_view *view = open_config("qwen3-30b-a3b");
    struct mq_fit_target target = target_of("h200", 1);
    target.runtime = mq_runtime_find("sglang");
    begin_target(&fit, view, &target, 8192);
    add(&fit, "q4_k");
    ck_assert_uint_eq(mq_fit_launches(&fit, l), 1);
    ck_assert_str_eq(l[0].sglang, "");
    has(l[0].why_not, "q4_k is no level that SGLang loads");
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, levels_have_forms);
    tcase_add_test(tests, levels_of_each);
    tcase_add_test(tests, bytes_of_folders);
    tcase_add_test(tests, lines);
    tcase_add_test(tests, macs_alone);
    tcase_add_test(tests, named_levels);
}

int main(void)
{
    return mq_test_main("runtimes", add_tests);
}
