/*
 * fuzz_quality.c: a result of sweep, as `fit --quality` joins it to the levels of the model below.
 *
 * Beyond "no crash": what is joined is what can be measured, the choice is one of the rows, the result is JSON, and a
 * failure names the file.
 */
#include "fuzz_support.h"

#include "fit.h"
#include "json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char config[] =
    "{\"model_type\":\"mixtral\",\"architectures\":[\"MixtralForCausalLM\"],\"hidden_size\":256,"
    "\"intermediate_size\":256,\"num_hidden_layers\":1,\"num_attention_heads\":2,"
    "\"num_key_value_heads\":1,\"vocab_size\":64,\"num_local_experts\":2,"
    "\"num_experts_per_tok\":1,\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,"
    "\"max_position_embeddings\":64,\"tie_word_embeddings\":false,\"hidden_act\":\"silu\"}";

static void begin(struct mq_fit *fit)
{
    static const char *const names[] = {"bf16", "q8_0", "q4_k"};
    static struct fuzz_file file;
    struct mq_fit_target target = {0};
    struct mq_view *view;
    moeq_error err = {0};
    fuzz_expect(mq_fit_target_add_bytes(&target, UINT64_C(1) << 30, 1));
    fuzz_expect(mq_view_from_config(fuzz_put(&file, config, sizeof config - 1), NULL, &view,
                                    &err) == MOEQ_OK);
    fuzz_expect(mq_fit_begin(view, &target, 0, mq_kv_kind_find("f16"), fit, &err) == MOEQ_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct mq_policy policy = mq_policy_default(mq_level_find(names[i]));
        fuzz_expect(mq_fit_add(fit, names[i], &policy, &err) == MOEQ_OK);
    }
}

static void check(const struct mq_fit *fit)
{
    size_t some = 0;
    const int best = mq_fit_best(fit), take = mq_fit_choose(fit).take;
    for (size_t i = 0; i < fit->rows_count; i++) {
        const struct mq_fit_row *row = &fit->rows[i];
        some += row->has_quality;
        if (!row->has_quality)
            continue;
        fuzz_expect(isfinite(row->kld_mean) && row->kld_mean > -1e-3);
        fuzz_expect(!isinf(row->ppl_ratio) && !(row->ppl_ratio < 0));
        fuzz_expect(!(row->exact_set_rate < 0) && !(row->exact_set_rate > 1.001));
    }
    fuzz_expect(some > 0 && best < (int)fit->rows_count && take < (int)fit->rows_count);
}

static void check_json(const struct mq_fit *fit)
{
    const struct mq_json_limits limits = {.depth = 32, .values = 100000};
    cJSON *json = mq_fit_json(fit), *again = NULL;
    char *text = json ? cJSON_PrintUnformatted(json) : NULL;
    moeq_error err = {0};
    fuzz_expect(text &&
                mq_json_parse(text, strlen(text), &limits, "fuzz", 0, &again, &err) == MOEQ_OK);
    cJSON_Delete(again);
    cJSON_free(text);
    cJSON_Delete(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_file file;
    static struct mq_fit made, fit;
    moeq_error err = {0};
    if (!made.rows_count)
        begin(&made);
    fit = made;
    const char *path = fuzz_put(&file, data, size);
    const moeq_status status = mq_fit_join_quality(&fit, path, &err);
    if (status != MOEQ_OK) {
        fuzz_refused(status, &err, path);
        return 0;
    }
    check(&fit);
    check_json(&fit);
    return 0;
}
