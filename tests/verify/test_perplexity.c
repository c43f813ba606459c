/*
 * Perplexities against those that Hugging Face Transformers gave (data/ppl.json): of the demo's
 * model, and of a larger one where the reference data stands beside the source tree.
 */
#include "test_support.h"
#include "file.h"
#include "json.h"
#include "perplexity.h"
#include "result_json.h"
#include "stored.h"

#include <stdio.h>
#include <string.h>

static struct mq_context context(void)
{
    return (struct mq_context){.isa = mq_isa_detect(), .threads = mq_cpu_count()};
}

static cJSON *expectations(void)
{
    const struct mq_json_limits limits = {.depth = 10, .values = 1000};
    const char *path = mq_test_source("tests/verify/data/ppl.json");
    struct mq_buffer text;
    cJSON *tree;
    ck_assert_ok(mq_file_read_all(path, 1 << 20, &text, NULL));
    ck_assert_ok(mq_json_parse(text.data, text.size, &limits, path, 0, &tree, NULL));
    mq_buffer_free(&text);
    return tree;
}

static double number(const cJSON *object, const char *key)
{
    const cJSON *item = mq_json_get(object, key);
    ck_assert_msg(cJSON_IsNumber(item), "%s", key);
    return item->valuedouble;
}

static void check(const char *model, const char *text, const char *which)
{
    cJSON *tree = expectations();
    const cJSON *expected = mq_json_get(tree, which);
    const struct mq_context ctx = context();
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(model, &view, &err));
    for (int p = 0; p < MQ_PROTOCOL_COUNT; p++) {
        const struct mq_protocol_options options = {.protocol = (enum mq_protocol)p};
        const char *name = mq_protocol_name(options.protocol);
        char info[16];
        snprintf(info, sizeof info, "%s_info", name);
        const cJSON *details = mq_json_get(expected, info);
        struct mq_eval_result r;
        ck_assert_msg(mq_eval_text(&ctx, view, mq_test_text(text), &options, MQ_COMPUTE_F32, &r,
                                   &err) == MOEQ_OK,
                      "%s", err.message);
        ck_assert_uint_eq(r.text.text_tokens, (uint64_t)number(expected, "tokens"));
        ck_assert_uint_eq(r.text.windows.count, (uint64_t)number(details, "windows"));
        ck_assert_uint_eq(r.perplexity.scored_tokens, (uint64_t)number(details, "scored"));
        const double ppl = number(expected, name);
        fprintf(stderr, "%s %s: %.7f +- %.7f, expected %.7f\n", which, name, r.perplexity.ppl.value,
                r.perplexity.ppl.se, ppl);
        ck_assert_double_eq_tol(r.perplexity.ppl.value, ppl, 2e-6 * ppl);
        ck_assert_double_eq_tol(r.perplexity.nll.value, number(details, "nll"), 2e-6);
        ck_assert_double_eq_tol(r.perplexity.nll.se, number(details, "nll_se"), 1e-6);
        cJSON *json = mq_eval_json(&r);
        ck_assert_ptr_nonnull(json);
        ck_assert_str_eq(mq_json_get(json, "moeq_result")->valuestring, "eval");
        ck_assert(number(mq_json_get(json, "perplexity"), "value") == r.perplexity.ppl.value);
        ck_assert(number(mq_json_get(json, "protocol"), "scored_tokens") ==
                  (double)r.perplexity.scored_tokens);
        cJSON_Delete(json);
        mq_eval_result_free(&r);
    }
    mq_view_close(view);
    cJSON_Delete(tree);
}

START_TEST(demo_model)
{
    if (mq_test_sampled()) {
        mq_test_left_out("the whole demo text (other cases run the same code on fewer tokens)");
        return;
    }
    check(mq_test_source("demo/model"), mq_test_source("demo/text.txt"), "tiny");
}
END_TEST

START_TEST(larger_model)
{
    if (mq_test_skip_if_sampled())
        return;
    const char *model = mq_test_shared("models/small"), *text = mq_test_shared("models/text.txt");
    ck_assert(model && text);
    check(model, text, "small");
}
END_TEST

/* The same digits from every instruction set, thread count and memory limit. */
START_TEST(same_digits)
{
    struct mq_view *view;
    moeq_error err = {0};
    const struct mq_protocol_options options = {.context = 64, .max_tokens = 512};
    double first = 0;
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        if (!mq_isa_available((enum mq_isa)isa))
            continue;
        for (unsigned threads = 1; threads <= 3; threads++) {
            if (mq_test_sampled() && isa + threads > 1 && threads != 1 + (unsigned)isa % 3)
                continue;
            const struct mq_context ctx = {
                .isa = (enum mq_isa)isa, .threads = threads, .memory_bytes = threads == 2 ? 1 : 0};
            struct mq_eval_result r;
            ck_assert_ok(mq_eval_text(&ctx, view, mq_test_text(mq_test_source("demo/text.txt")),
                                      &options, MQ_COMPUTE_F32, &r, &err));
            if (isa == 0 && threads == 1)
                first = r.perplexity.nll.value;
            ck_assert(r.perplexity.nll.value == first);
            mq_eval_result_free(&r);
        }
    }
    mq_view_close(view);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, demo_model);
    tcase_add_test(tests, same_digits);
}

static void add_reference(TCase *tests)
{
    tcase_add_test(tests, larger_model);
}

int main(int argc, char **argv)
{
    return mq_test_main_reference(argc, argv, "test_perplexity", add, add_reference);
}
