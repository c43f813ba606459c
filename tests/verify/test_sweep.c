/* A sweep over the demo's model: a level that is the source's own gives exactly 0 and 100 %, the
 * others lie in order, sizes are those of the plans. */
#include "stored.h"
#include "test_support.h"
#include "convert.h"
#include "json.h"
#include "perplexity.h"
#include "comparison_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mq_candidate arm(const char *level)
{
    ck_assert_ptr_nonnull(mq_level_find(level));
    return (struct mq_candidate){.name = level, .policy = mq_policy_default(mq_level_find(level))};
}

/* A comparison with a model that is open. */
static moeq_status sweep(const struct mq_context *context, const struct mq_view *view,
                         const char *text, struct mq_comparison_options options,
                         const struct mq_candidate *candidates, size_t count,
                         struct mq_comparison *result, moeq_error *err)
{
    static struct mq_baseline baseline; /* outlives the result */
    baseline = mq_baseline_of(view);
    options.text = mq_test_text(text);
    return mq_compare(context, &baseline, candidates, count, &options, result, err);
}

/* Two windows suffice to find what a sanitizer finds, and for the order of levels. */
static size_t tokens(void)
{
    return mq_test_sampled() ? 1024 : 2048;
}

static void check_exact(const struct mq_comparison_row *base, const struct mq_comparison_row *row)
{
    const struct mq_arm_result *r = &row->result;
    ck_assert_uint_eq(row->weight_bytes, base->weight_bytes);
    ck_assert(row->bits_per_weight == base->bits_per_weight);
    ck_assert(row->expert_relative_rmse == 0);
    ck_assert(r->perplexity.ppl.value == base->result.perplexity.ppl.value);
    ck_assert(r->ppl_ratio.value == 1 && r->ppl_ratio.se == 0);
    ck_assert(r->kld.mean.value == 0 && r->kld.max == 0);
    ck_assert(r->same_top.value == 1);
    ck_assert(r->routing.overall.metric[MQ_ROUTING_EXACT_SET].value == 1);
    ck_assert(r->routing.overall.metric[MQ_ROUTING_OVERLAP].value == 1);
    ck_assert(r->routing.overall.metric[MQ_ROUTING_WEIGHTED].value == 1);
    ck_assert(r->routing.overall.metric[MQ_ROUTING_ROUTER_KL].value == 0);
}

/* Each level loses more than the one before. */
static void check_order(const struct mq_comparison_row *rows, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const struct mq_arm_result *better = &rows[i - 1].result, *worse = &rows[i].result;
        ck_assert(rows[i].weight_bytes < rows[i - 1].weight_bytes);
        ck_assert(rows[i].expert_relative_rmse > rows[i - 1].expert_relative_rmse);
        ck_assert(worse->kld.mean.value > better->kld.mean.value);
        ck_assert(worse->kld.p99 > better->kld.p99);
        ck_assert(worse->same_top.value < better->same_top.value);
        ck_assert(worse->routing.overall.metric[MQ_ROUTING_EXACT_SET].value <
                  better->routing.overall.metric[MQ_ROUTING_EXACT_SET].value);
        ck_assert(worse->routing.overall.metric[MQ_ROUTING_ROUTER_KL].value >
                  better->routing.overall.metric[MQ_ROUTING_ROUTER_KL].value);
    }
}

static void check_json(const struct mq_comparison *result)
{
    cJSON *json = mq_sweep_json(result, NULL);
    ck_assert_ptr_nonnull(json);
    const cJSON *rows = mq_json_get(json, "rows");
    ck_assert_int_eq(cJSON_GetArraySize(rows), (int)result->rows_count);
    const cJSON *first = cJSON_GetArrayItem(rows, 0), *last = cJSON_GetArrayItem(rows, 4);
    ck_assert(cJSON_IsTrue(mq_json_get(first, "is_baseline")));
    ck_assert_ptr_null(mq_json_get(first, "kld_nats"));
    ck_assert_str_eq(mq_json_get(last, "name")->valuestring, "q3_k");
    ck_assert(
        mq_json_get(mq_json_get(mq_json_get(last, "kld_nats"), "mean"), "value")->valuedouble ==
        result->rows[4].result.kld.mean.value);
    const cJSON *recipe = mq_json_get(last, "recipe");
    ck_assert_str_eq(mq_json_get(recipe, "experts")->valuestring, "q3_k");
    ck_assert_str_eq(mq_json_get(recipe, "attention")->valuestring, "q8_0");
    ck_assert_str_eq(mq_json_get(recipe, "router_and_norms")->valuestring, "source");
    ck_assert(cJSON_IsNull(mq_json_get(first, "recipe")));
    const cJSON *chance = mq_json_get(json, "routing_chance");
    ck_assert_double_eq_tol(mq_json_get(chance, "exact_set_rate")->valuedouble, 1.0 / 28, 1e-15);
    ck_assert(cJSON_IsNull(mq_json_get(chance, "router_kl_nats")));
    cJSON_Delete(json);
}

START_TEST(demo)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = mq_cpu_count()};
    const struct mq_comparison_options options = {.protocol.max_tokens = tokens()};
    const struct mq_candidate arms[] = {arm("bf16"), arm("q8_0"), arm("q4_k"), arm("q3_k")};
    struct mq_view *view;
    struct mq_comparison r;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    ck_assert_msg(sweep(&context, view, mq_test_source("demo/text.txt"), options, arms, 4, &r,
                        &err) == MOEQ_OK,
                  "%s", err.message);
    ck_assert_uint_eq(r.rows_count, 5);
    for (size_t i = 0; i < 5; i++) {
        const struct mq_arm_result *a = &r.rows[i].result;
        fprintf(
            stderr,
            "%-7s %8.3f MiB %7.4f bpw  rmse %.5f  ppl %.4f +- %.4f  ratio %.5f +- %.5f  kld %.6f "
            "p99 %.5f  same-top %.2f%%  exact %.2f%%  overlap %.2f%%\n",
            r.rows[i].name, (double)r.rows[i].weight_bytes / 0x1p20, r.rows[i].bits_per_weight,
            r.rows[i].expert_relative_rmse, a->perplexity.ppl.value, a->perplexity.ppl.se,
            a->ppl_ratio.value, a->ppl_ratio.se, a->kld.mean.value, a->kld.p99,
            100 * a->same_top.value, 100 * a->routing.overall.metric[MQ_ROUTING_EXACT_SET].value,
            100 * a->routing.overall.metric[MQ_ROUTING_OVERLAP].value);
    }
    check_exact(&r.rows[0], &r.rows[1]);
    check_order(&r.rows[1], 4);
    ck_assert_uint_eq(r.rows[4].expert_tensors_quantized, 3 * 8 * 3);
    ck_assert_uint_eq(r.rows[4].result.routing.layers_count, 3);
    check_json(&r);
    mq_comparison_free(&r);
    mq_view_close(view);
}
END_TEST

static void check_undefined(const struct mq_loss_shares *shares)
{
    ck_assert(isnan(shares->weights.value) && isnan(shares->routes.value));
    ck_assert(isnan(shares->interaction.value));
}

/* The swapped arms of a level that changes nothing are the baseline; those of another have the
 * routes that they were given; neither they nor the noise floor change what a sweep without them
 * says. */
START_TEST(swap_and_floor)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = mq_cpu_count()};
    const struct mq_comparison_options plain = {.protocol = {.max_tokens = tokens()}};
    struct mq_comparison_options options = plain;
    const struct mq_candidate arms[] = {arm("bf16"), arm("q3_k")};
    struct mq_view *view;
    struct mq_comparison r, without;
    moeq_error err = {0};
    options.swap = options.noise_floor = true;
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    const char *text = mq_test_source("demo/text.txt");
    ck_assert_ok(sweep(&context, view, text, options, arms, 2, &r, &err));
    ck_assert_ok(sweep(&context, view, text, plain, arms, 2, &without, &err));
    ck_assert_uint_eq(r.rows_count, 4);
    ck_assert_uint_eq(without.rows_count, 3);
    ck_assert_ptr_null(without.rows[2].swap);
    const struct mq_comparison_row *same = &r.rows[1], *level = &r.rows[2], *floor = &r.rows[3];
    const struct mq_arm_result *cells[] = {&same->swap->weights, &same->swap->routes};
    for (int i = 0; i < 2; i++) {
        ck_assert(cells[i]->perplexity.nll.value == r.rows[0].result.perplexity.nll.value);
        ck_assert(cells[i]->ppl_ratio.value == 1 && cells[i]->ppl_ratio.se == 0);
        ck_assert(cells[i]->kld.max == 0 && cells[i]->same_top.value == 1);
        ck_assert(cells[i]->routing.overall.metric[MQ_ROUTING_ROUTER_KL].value == 0);
    }
    check_undefined(&same->swap->nll_shares);
    check_undefined(&same->swap->kld_shares);

    const struct mq_swap_result *swap = level->swap;
    ck_assert(swap->weights.kld.mean.value > 0 && swap->routes.kld.mean.value > 0);
    ck_assert(swap->weights.kld.mean.value < level->result.kld.mean.value);
    for (int k = 0; k < MQ_ROUTING_COUNT; k++) {
        if (k == MQ_ROUTING_ROUTER_KL) /* of the arms' own routers, which decide nothing */
            continue;
        const double agreement = r.rows[1].result.routing.overall.metric[k].value;
        ck_assert(swap->weights.routing.overall.metric[k].value == agreement);
        ck_assert(swap->routes.routing.overall.metric[k].value ==
                  level->result.routing.overall.metric[k].value);
    }
    ck_assert(swap->routes.routing.load_shift == level->result.routing.load_shift);
    ck_assert(swap->weights.routing.load_shift == 0);
    const struct mq_loss_shares *kld = &swap->kld_shares;
    ck_assert_double_eq_tol(kld->weights.value,
                            swap->weights.kld.mean.value / level->result.kld.mean.value, 1e-12);
    ck_assert_double_eq_tol(kld->weights.value + kld->routes.value + kld->interaction.value, 1,
                            1e-12);

    ck_assert(floor->kind == MQ_ROW_NOISE_FLOOR && floor->weight_bytes == r.rows[0].weight_bytes);
    ck_assert(floor->result.kld.mean.value > 0);
    ck_assert(floor->result.kld.median < 0.1 * level->result.kld.median);
    for (int i = 0; i < 3; i++) {
        const struct mq_comparison_row *a = &r.rows[i], *b = &without.rows[i];
        ck_assert(a->result.perplexity.nll.value == b->result.perplexity.nll.value);
        ck_assert(a->result.kld.mean.value == b->result.kld.mean.value);
        ck_assert(a->expert_relative_rmse == b->expert_relative_rmse);
        ck_assert_uint_eq(a->expert_tensors_quantized, b->expert_tensors_quantized);
    }
    cJSON *json = mq_sweep_json(&r, NULL);
    const cJSON *rows = mq_json_get(json, "rows"), *row = cJSON_GetArrayItem(rows, 1);
    ck_assert_int_eq(cJSON_GetArraySize(rows), 3);
    ck_assert(cJSON_IsNull(mq_json_get(mq_json_get(row, "swap"), "shares_of_kld_mean")));
    ck_assert_ptr_null(mq_json_get(cJSON_GetArrayItem(rows, 0), "swap"));
    ck_assert_str_eq(mq_json_get(mq_json_get(json, "noise_floor"), "name")->valuestring,
                     "bf16 activations");
    cJSON_Delete(json);
    mq_comparison_free(&without);
    mq_comparison_free(&r);
    mq_view_close(view);
}
END_TEST

/* A row's figures alone, which do not depend on where the weights come from. */
static char *row_figures(const struct mq_comparison *c, int number)
{
    static const char *const not_figures[] = {
        "name", "kind", "path", "recipe", "expert_relative_rmse", "expert_tensors_quantized"};
    cJSON *json = mq_sweep_json(c, NULL);
    cJSON *row = cJSON_DetachItemFromArray(cJSON_GetObjectItem(json, "rows"), number);
    for (size_t i = 0; i < sizeof not_figures / sizeof *not_figures; i++)
        cJSON_DeleteItemFromObject(row, not_figures[i]);
    char *text = cJSON_Print(row);
    ck_assert_ptr_nonnull(strstr(text, "kld_nats"));
    cJSON_Delete(row);
    cJSON_Delete(json);
    return text;
}

/* The level beside its file in one pass, and the file alone, in all arms that there are. */
static void check_beside(const struct mq_context *context, const struct mq_view *view,
                         const struct mq_view *file, const struct mq_candidate *level)
{
    struct mq_comparison_options options = {
        .protocol = {.context = 128, .max_tokens = 512}, .swap = true, .int8 = true};
    const struct mq_candidate both[] = {*level, {.name = level->name, .file = file}};
    struct mq_comparison beside, alone;
    moeq_error err = {0};
    const char *text = mq_test_source("demo/text.txt");
    ck_assert_msg(sweep(context, view, text, options, both, 2, &beside, &err) == MOEQ_OK, "%s",
                  err.message);
    ck_assert_ok(sweep(context, view, text, options, both + 1, 1, &alone, &err));
    char *of_level = row_figures(&beside, 1), *of_file = row_figures(&beside, 2);
    char *of_file_alone = row_figures(&alone, 1);
    ck_assert_str_eq(of_level, of_file);
    ck_assert_str_eq(of_file, of_file_alone);
    ck_assert_ptr_nonnull(strstr(of_file, "own_weights_baseline_routes"));
    ck_assert_ptr_nonnull(strstr(of_file, "q3_k int8"));
    ck_assert(beside.rows[2].tokens_compared);
    ck_assert_uint_eq(beside.differences_count, 1);
    ck_assert(beside.differences[0].row == 2 && beside.differences[0].minus == 1);
    for (size_t f = 0; f < beside.differences[0].figures_count; f++)
        ck_assert(beside.differences[0].figures[f].difference.mean == 0);
    free(of_level);
    free(of_file);
    free(of_file_alone);
    mq_comparison_free(&beside);
    mq_comparison_free(&alone);
}

static struct mq_importance *importance_of(const struct mq_view *view)
{
    struct mq_importance *importance;
    uint64_t seed = 1;
    moeq_error err = {0};
    ck_assert_ok(mq_importance_create("text.cal", &importance, &err));
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        float columns[1024];
        ck_assert_uint_le(t->cols, 1024);
        for (uint64_t c = 0; c < t->cols; c++)
            columns[c] = mq_test_uniform(&seed);
        if (t->dims == 2)
            ck_assert_ok(mq_importance_add(importance, t->name, columns, t->cols, 9, &err));
    }
    return importance;
}

/* By what the candidate's columns count is said of it alone. */
static void check_importance_json(const struct mq_comparison *result,
                                  const struct mq_importance *importance)
{
    cJSON *json = mq_sweep_json(result, NULL);
    const cJSON *row = cJSON_GetArrayItem(mq_json_get(json, "rows"), 1);
    const cJSON *said = mq_json_get(mq_json_get(row, "recipe"), "importance");
    char fingerprint[16];
    ck_assert_int_eq(said != NULL, importance != NULL);
    if (said) {
        snprintf(fingerprint, sizeof fingerprint, "%08x", mq_importance_fingerprint(importance));
        ck_assert_str_eq(mq_json_get(said, "fingerprint")->valuestring, fingerprint);
        ck_assert_str_eq(mq_json_get(said, "path")->valuestring, "text.cal");
    }
    cJSON_Delete(json);
}

/* What a sweep says of a level is what the file of that level gives, to the last bit; also of one
 * that weighs columns, which is another. */
static double check_same_as_file(const char *level, uint64_t tokens, bool weighs)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_comparison_options options = {.protocol = {.context = 128, .max_tokens = tokens}};
    const char *text = mq_test_source("demo/text.txt"), *path = mq_test_temporary("same.moeq");
    const struct mq_convert_options how = {.output = path, .replace = true};
    struct mq_candidate arms[] = {arm(level)};
    struct mq_view *view, *file;
    struct mq_plan *plan;
    struct mq_convert_result converted;
    struct mq_comparison swept;
    struct mq_eval_result evaluated;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    struct mq_importance *importance = weighs ? importance_of(view) : NULL;
    arms[0].policy.importance = importance;
    if (mq_level_find(level)->band_rows > 1) /* rows that are looked up are of bands, too */
        arms[0].policy.levels[MQ_CLASS_EMBEDDINGS] = mq_level_find(level);
    ck_assert_ok(mq_plan_create(view, &arms[0].policy, &plan, &err));
    ck_assert_msg(mq_convert(&context, plan, &how, &converted, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_ok(mq_model_open(path, &file, &err));
    ck_assert_ok(sweep(&context, view, text, options, arms, 1, &swept, &err));
    ck_assert_ok(mq_eval_text(&context, file, mq_test_text(text), &options.protocol, MQ_COMPUTE_F32,
                              &evaluated, &err));
    ck_assert_uint_eq(swept.rows[1].file_bytes, converted.bytes_written);
    ck_assert_uint_eq(swept.text.ids_crc32, evaluated.text.ids_crc32);
    ck_assert(swept.rows[1].result.perplexity.nll.value == evaluated.perplexity.nll.value);
    ck_assert(swept.rows[1].result.perplexity.nll.se == evaluated.perplexity.nll.se);
    if (weighs)
        check_beside(&context, view, file, &arms[0]);
    check_importance_json(&swept, importance);
    const double nll = evaluated.perplexity.nll.value;
    mq_comparison_free(&swept);
    mq_eval_result_free(&evaluated);
    mq_plan_free(plan);
    mq_importance_destroy(importance);
    mq_view_close(file);
    mq_view_close(view);
    return nll;
}

START_TEST(same_as_file)
{
    ck_assert(check_same_as_file("q3_k", 1024, false) != check_same_as_file("q3_k", 1024, true));
    check_same_as_file("mlx4g64", 128, false);
    check_same_as_file("w4g32", 128, false);
    check_same_as_file("w4c", 128, false);
    check_same_as_file("fp8b", 128, false);
}
END_TEST

/* The noise floor of integers: the same file of q8_0, with products in floats and in integers. What
 * there is of it comes from tokens whose routes a near-tie tips over; half the tokens have next to
 * none. */
START_TEST(int8_noise)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_comparison_options options = {
        .protocol.max_tokens = mq_test_sampled() ? 1024 : 8192, .int8 = true};
    const char *text = mq_test_source("demo/text.txt"), *path = mq_test_temporary("q8.moeq");
    const struct mq_convert_options how = {.output = path, .replace = true};
    const struct mq_candidate arms[] = {arm("q8_0")};
    struct mq_view *view, *file;
    struct mq_plan *plan;
    struct mq_convert_result converted;
    struct mq_comparison r;
    struct mq_eval_result evaluated;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    ck_assert_ok(mq_plan_create(view, &arms[0].policy, &plan, &err));
    ck_assert_msg(mq_convert(&context, plan, &how, &converted, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_ok(mq_model_open(path, &file, &err));
    ck_assert_ok(sweep(&context, file, text, options, arms, 1, &r, &err));
    check_exact(&r.rows[0], &r.rows[1]); /* the level itself stays f32 */
    ck_assert_ptr_null(r.rows[0].int8);
    const struct mq_arm_result *int8 = r.rows[1].int8;
    ck_assert_ptr_nonnull(int8);
    fprintf(stderr, "int8 on q8_0: kld %.6f, median %.6f, ratio %.5f\n", int8->kld.mean.value,
            int8->kld.median, int8->ppl_ratio.value);
    if (!mq_test_sampled()) { /* of fewer tokens, one that tips over decides */
        ck_assert(int8->kld.mean.value > 0 && int8->kld.mean.value < 1e-3);
        ck_assert(int8->kld.median < 2e-4);
        ck_assert_double_eq_tol(int8->ppl_ratio.value, 1, 5e-3);
    }
    ck_assert_ok(mq_eval_text(&context, file, mq_test_text(text), &options.protocol,
                              MQ_COMPUTE_INT8, &evaluated, &err));
    ck_assert(evaluated.perplexity.nll.value == int8->perplexity.nll.value);
    cJSON *json = mq_sweep_json(&r, NULL);
    const cJSON *row = cJSON_GetArrayItem(mq_json_get(json, "rows"), 1);
    ck_assert(
        mq_json_get(mq_json_get(mq_json_get(mq_json_get(row, "int8"), "kld_nats"), "mean"), "value")
            ->valuedouble == int8->kld.mean.value);
    cJSON_Delete(json);
    mq_eval_result_free(&evaluated);
    mq_comparison_free(&r);
    mq_plan_free(plan);
    mq_view_close(file);
    mq_view_close(view);
}
END_TEST

/* Files that cannot be compared, and more than there is room for. */
static void check_files_refused(void)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 1};
    const struct mq_comparison_options options = {.protocol.max_tokens = 512};
    const char *text = mq_test_source("demo/text.txt");
    struct mq_candidate candidates[MQ_CANDIDATES_MAX + 1];
    struct mq_view *original, *again, *other;
    struct mq_comparison r;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &original, &err));
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &again, &err));
    ck_assert_ok(mq_model_open(mq_test_source("tests/fixtures/oracles/mixtral"), &other, &err));
    ck_assert(mq_same_model(original, again) && !mq_same_model(original, other));
    const struct {
        const struct mq_view *files[2];
        size_t count;
        const char *message;
    } cases[] = {
        {{other, NULL}, 1, "are different architectures"},
        {{original, again}, 2, "are the same model: give each once"},
        {{original, NULL},
         MQ_CANDIDATES_MAX + 1,
         "65 levels and files to compare: expected at most 64"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t k = 0; k < cases[i].count; k++)
            candidates[k] =
                (struct mq_candidate){.name = mq_file_letter(k), .file = cases[i].files[k % 2]};
        memset(&err, 0, sizeof err);
        ck_assert_int_eq(
            sweep(&context, original, text, options, candidates, cases[i].count, &r, &err),
            MOEQ_INVALID_ARGUMENT);
        ck_assert_msg(strstr(err.message, cases[i].message) != NULL, "%s", err.message);
    }
    mq_view_close(original);
    mq_view_close(again);
    mq_view_close(other);
}

/* A text that is too short is refused before anything is evaluated. */
START_TEST(refusals)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 1};
    const struct mq_comparison_options options = {.protocol.max_tokens = 10};
    const struct mq_candidate arms[] = {arm("q8_0")};
    struct mq_view *view;
    struct mq_comparison r;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    ck_assert_int_eq(
        sweep(&context, view, mq_test_source("demo/text.txt"), options, arms, 1, &r, &err),
        MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "needs 512 tokens (--context), found 10"));
    mq_view_close(view);
    const struct mq_comparison_options swap = {.swap = true};
    memset(&err, 0, sizeof err);
    ck_assert_ok(mq_model_open(mq_test_source("tests/fixtures/oracles/llama2"), &view, &err));
    ck_assert_int_eq(
        sweep(&context, view, mq_test_source("demo/text.txt"), swap, arms, 1, &r, &err),
        MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "is a dense model"));
    mq_view_close(view);
    check_files_refused();
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, demo);
    tcase_add_test(tests, swap_and_floor);
    tcase_add_test(tests, same_as_file);
    tcase_add_test(tests, int8_noise);
    tcase_add_test(tests, refusals);
}

int main(void)
{
    return mq_test_main("sweep", add);
}
