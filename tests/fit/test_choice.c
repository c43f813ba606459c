/*
 * Which level to take: by a sweep's quality, by bytes, and with part of it on the host.
 */
#include "fit_support.h"
#include "file.h"
#include "launch.h"
#include "new_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static moeq_status join(struct mq_fit *fit, const char *text, moeq_error *err)
{
    const char *path = mq_test_temporary("sweep.json");
    memset(err, 0, sizeof *err);
    ck_assert_ok(mq_file_replace(path, text, strlen(text), err));
    return mq_fit_join_quality(fit, path, err);
}

#define SWEEP_HEAD                                                                       \
    "{\"moeq_result\": \"sweep\", \"model\": {\"family\": \"mixtral\", \"layers\": 32, " \
    "\"experts\": 8, \"vocabulary\": 32000}, \"rows\": ["
#define SWEEP_ROW                                                                               \
    "{\"name\": \"%s\", \"is_baseline\": false, \"weight_bytes\": %" PRIu64 ", \"kld_nats\": "  \
    "{\"mean\": {\"value\": %g, \"se\": 0.1}}, \"ppl_ratio\": {\"value\": 1.25}, \"routing\": " \
    "{\"overall\": {\"exact_set_rate\": {\"value\": 0.75}}}}"

START_TEST(quality)
{
    struct mq_view *view = open_config("mixtral-8x7b");
    struct mq_fit fit;
    moeq_error err = {0};
    char text[2000];
    begin(&fit, view, "a6000", 1, 8192);
    const uint64_t q8 = add(&fit, "q8_0")->weight_bytes, q4 = add(&fit, "q4_k")->weight_bytes,
                   q3 = add(&fit, "q3_k")->weight_bytes;
    ck_assert_int_eq(mq_fit_best(&fit), 1);
    /* A sweep in which 3 bits came out closer than 4, and 8 bits, which do not fit, closest. */
    snprintf(text, sizeof text, SWEEP_HEAD SWEEP_ROW "," SWEEP_ROW "," SWEEP_ROW "]}", "q8_0", q8,
             0.001, "q4_k", q4, 0.25, "q3_k", q3, 0.125);
    ck_assert_ok(join(&fit, text, &err));
    ck_assert_int_eq(fit.rows[0].verdict, MQ_FIT_OFFLOAD);
    ck_assert_int_eq(mq_fit_best(&fit), 2);
    ck_assert_double_eq(fit.rows[2].kld_mean, 0.125);
    ck_assert_double_eq(fit.rows[2].ppl_ratio, 1.25);
    ck_assert_double_eq(fit.rows[2].exact_set_rate, 0.75);
    cJSON *json = mq_fit_json(&fit);
    ck_assert_str_eq(cJSON_GetObjectItem(json, "best")->valuestring, "q3_k");
    cJSON_Delete(json);
    /* Other bytes: another mix. Another model. Another document. No row in common. */
    snprintf(text, sizeof text, SWEEP_HEAD SWEEP_ROW "]}", "q4_k", q4 + 32, 0.25);
    ck_assert_int_eq(join(&fit, text, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "--attention"));
    snprintf(text, sizeof text, SWEEP_HEAD SWEEP_ROW "]}", "q4_k", q4, 0.25);
    strstr(text, "32000")[4] = '1';
    ck_assert_int_eq(join(&fit, text, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "another model"));
    ck_assert_int_eq(join(&fit, "{\"moeq_result\": \"eval\"}", &err), MOEQ_MALFORMED);
    ck_assert_int_eq(join(&fit, "[]", &err), MOEQ_MALFORMED);
    begin(&fit, view, "a6000", 1, 8192);
    add(&fit, "q8_0");
    ck_assert_int_eq(join(&fit, SWEEP_HEAD "]}", &err), MOEQ_INVALID_ARGUMENT);
    mq_view_close(view);
}
END_TEST

/* What fits is coarse, and 4 bits keep more than half of its speed with some experts on the host. */
START_TEST(part_on_the_host)
{
    static const char *const levels[] = {"q8_0", "q4_k", "q3_k", "iq2_xs"};
    struct mq_view *view = open_config("qwen3-30b-a3b");
    struct mq_fit fit;
    begin(&fit, view, "3060", 1, 8192);
    for (size_t i = 0; i < 4; i++)
        add(&fit, levels[i]);
    struct mq_fit_choice c = mq_fit_choose(&fit);
    ck_assert_int_eq(c.on_card, 3);
    ck_assert_int_eq(c.offload, 1);
    ck_assert_int_eq(c.take, 1);
    /* 8 bits are faster than people read, but at less than half the speed of what fits. */
    ck_assert_double_lt(fit.rows[0].experts.tokens_per_second, fit.rows[3].tokens_per_second / 2);
    /* Measured to be close to the original: nothing to gain. */
    fit.rows[3].has_quality = true;
    fit.rows[3].kld_mean = 0.02;
    c = mq_fit_choose(&fit);
    ck_assert_int_eq(c.take, 3);
    ck_assert_int_eq(c.offload, 1);
    /* Nothing fits: the largest that is as fast as people read. */
    begin(&fit, view, "3050 6", 1, 8192);
    for (size_t i = 0; i < 4; i++)
        add(&fit, levels[i]);
    c = mq_fit_choose(&fit);
    ck_assert_int_eq(c.on_card, -1);
    ck_assert_int_eq(c.take, 0);
    ck_assert_double_ge(fit.rows[0].experts.tokens_per_second, MQ_FIT_READING);
    /* Unified memory: no host beside it. */
    begin(&fit, view, "M2 8GB", 1, 8192);
    add(&fit, "q4_k");
    ck_assert_int_eq(mq_fit_choose(&fit).take, -1);
    mq_view_close(view);
}
END_TEST

static void has(const char *text, const char *words)
{
    ck_assert_msg(strstr(text, words) != NULL, "%s: no %s", text, words);
}

START_TEST(lines_to_run)
{
    struct mq_view *view = open_config("qwen3-30b-a3b");
    struct mq_launch l[2];
    struct mq_fit fit;
    char words[64];
    begin(&fit, view, "3060", 1, 8192);
    const struct mq_fit_row *q4 = add(&fit, "q4_k");
    add(&fit, "iq2_xs");
    ck_assert_uint_eq(mq_fit_launches(&fit, l), 2);
    has(l[0].make, "moeq export MODEL -o qwen3-30b-a3b-q4_k.gguf --level q4_k");
    snprintf(words, sizeof words, " -ngl 99 --n-cpu-moe %u -c 8192 -np 1", q4->experts.layers);
    has(l[0].llama_cpp, words);
    has(l[0].ollama, "FROM ./qwen3-30b-a3b-q4_k.gguf\nPARAMETER num_ctx 8192\n");
    snprintf(words, sizeof words, "PARAMETER num_gpu %u\n# whole layers", 49 - q4->layers.layers);
    has(l[0].ollama, words);
    has(l[0].lm_studio,
        "GPU Offload: 48 of 48; Number of layers for which to force MoE weights onto CPU");
    ck_assert_str_eq(l[1].llama_cpp,
                     "llama-server -m qwen3-30b-a3b-iq2_xs.gguf -ngl 99 -c 8192 -np 1");
    ck_assert(l[1].offload == NULL && l[1].tokens_per_second > l[0].tokens_per_second);
    mq_view_close(view);
}
END_TEST

/* A dense model on two cards: layers on the host, the others in the order of the cards, the head as one
 * more; a quantized cache needs FlashAttention. */
START_TEST(lines_for_several_cards)
{
    struct mq_view *view = open_config("llama-2-70b");
    struct mq_launch l[2];
    struct mq_fit fit;
    moeq_error err = {0};
    unsigned ngl, a, b;
    const struct mq_fit_target target = target_of("3090", 2);
    ck_assert_ok(mq_fit_begin(view, &target, 4096, mq_kv_kind_find("q8_0"), &fit, &err));
    const struct mq_fit_row *q8 = add(&fit, "q8_0");
    ck_assert_uint_eq(mq_fit_launches(&fit, l), 1);
    ck_assert_int_eq(sscanf(l[0].llama_cpp,
                            "llama-server -m llama-2-70b-q8_0.gguf -ngl %u -ts %u,%u", &ngl, &a,
                            &b),
                     3);
    ck_assert_uint_eq(ngl, 80 - q8->layers.layers + 1);
    ck_assert_uint_eq(a + b, ngl);
    has(l[0].llama_cpp, " -c 4096 -np 1 -fa on -ctk q8_0 -ctv q8_0");
    has(l[0].ollama, "OLLAMA_KV_CACHE_TYPE=q8_0");
    add(&fit, "q4_k");
    ck_assert_uint_eq(mq_fit_launches(&fit, l), 2);
    has(l[0].llama_cpp, "-ngl 99 -ts ");
    mq_view_close(view);
}
END_TEST

/* vLLM: an equal part of each layer on every card, and no level of ours. */
START_TEST(vllm)
{
    struct mq_view *view = open_config("llama-3-8b");
    struct mq_launch l[2];
    struct mq_fit fit;
    moeq_error err = {0};
    struct mq_fit_target target = target_of("3090", 2);
    target.runtime = mq_runtime_find("vLLM");
    ck_assert_ok(mq_fit_begin(view, &target, 8192, mq_kv_kind_find("fp8"), &fit, &err));
    const struct mq_fit_row *r = add(&fit, "bf16");
    ck_assert_int_eq(r->verdict, MQ_FIT_FITS);
    ck_assert_uint_eq(r->host_embedding_bytes, 0);
    ck_assert_uint_eq(r->kv_bytes, UINT64_C(64) * 1024 * 8192);
    const double all = (double)mq_fit_target_usable(&target);
    ck_assert_double_eq_tol((double)r->margin_bytes, all / 10, 10);
    ck_assert_double_eq_tol(r->tokens_per_second,
                            2 * 936e9 / (double)(r->active_bytes + r->kv_bytes), 1e-6);
    ck_assert_uint_eq(mq_fit_launches(&fit, l), 1);
    ck_assert_str_eq(l[0].vllm,
                     "vllm serve MODEL --max-model-len 8192 --gpu-memory-utilization 0.9 "
                     "--tensor-parallel-size 2 --kv-cache-dtype fp8");
    ck_assert_ok(mq_fit_begin(view, &target, 8192, mq_kv_kind_find("f16"), &fit, &err));
    add(&fit, "q4_k");
    mq_fit_launches(&fit, l);
    ck_assert_str_eq(l[0].vllm, "");
    has(l[0].why_not, "plugin");
    ck_assert(assumes(&fit, "highly experimental"));
    ck_assert_int_eq(mq_fit_begin(view, &target, 8192, mq_kv_kind_find("q4_0"), &fit, &err),
                     MOEQ_INVALID_ARGUMENT);
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, quality);
    tcase_add_test(tests, part_on_the_host);
    tcase_add_test(tests, lines_to_run);
    tcase_add_test(tests, lines_for_several_cards);
    tcase_add_test(tests, vllm);
}

int main(void)
{
    return mq_test_main("choice", add_tests);
}
