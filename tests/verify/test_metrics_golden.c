/* Every figure of a sweep, the swapped arms included, against an independent computation in numpy
 * float64 (tests/data/make_metric_goldens.py); the noise floor only roughly, since rounding to bf16
 * amplifies the last bit of f32. */
#include "stored.h"
#include "test_support.h"
#include "json.h"
#include "comparison_json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static cJSON *read_golden(const char *path)
{
    const struct mq_json_limits limits = {.depth = 32, .values = 100000};
    cJSON *golden;
    moeq_error err = {0};
    static char text[1 << 16];
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    const size_t size = fread(text, 1, sizeof text, f);
    ck_assert_uint_lt(size, sizeof text);
    fclose(f);
    ck_assert_msg(mq_json_parse(text, size, &limits, path, 0, &golden, &err) == MOEQ_OK, "%s",
                  err.message);
    return golden;
}

/* How far numbers may be apart: relative to them, at least `absolute`; counted ones (rates, loads,
 * counts) only by their last digits. */
struct tolerance {
    double relative, absolute;
    bool counted_exactly;
    size_t compared;
};

static bool is_counted(const char *key)
{
    static const char *const keys[] = {"overlap_at_k", "load_shift",    "expert_load",
                                       "choices",      "changed",       "scored_tokens",
                                       "layer",        "changed_layers"};
    const size_t n = strlen(key);
    bool found = n > 5 && strcmp(key + n - 5, "_rate") == 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        found |= strcmp(key, keys[i]) == 0;
    return found;
}

/* Walks the golden; each of its numbers must be in the result under the same keys. `key`: the
 * nearest one that says what the number is. `shares`: of a whole, so relative to 1. */
static void compare(const cJSON *golden, const cJSON *result, const char *key, bool shares,
                    struct tolerance *t)
{
    ck_assert_msg(result != NULL, "'%s' is missing", golden->string ? golden->string : key);
    if (golden->string && !is_counted(key) && strcmp(golden->string, "value") &&
        strcmp(golden->string, "se"))
        key = golden->string;
    shares |= strncmp(key, "shares_", 7) == 0;
    if (cJSON_IsNull(golden)) {
        ck_assert_msg(cJSON_IsNull(result), "'%s' is not null", key);
    } else if (cJSON_IsNumber(golden)) {
        const double a = golden->valuedouble, b = result->valuedouble;
        const double scale = shares ? 1 : fabs(a);
        const bool exact = t->counted_exactly && is_counted(key);
        ck_assert_msg(cJSON_IsNumber(result), "'%s' is no number", key);
        ck_assert_msg(fabs(a - b) <= (exact ? 1e-9 : t->relative * scale + t->absolute),
                      "'%s': expected %.17g, found %.17g", key, a, b);
        t->compared++;
    } else {
        size_t i = 0;
        for (const cJSON *child = golden->child; child; child = child->next, i++)
            compare(child,
                    child->string ? mq_json_get(result, child->string)
                                  : cJSON_GetArrayItem(result, (int)i),
                    key, shares, t);
    }
}

/* Every figure has an independent check: the golden has it. */
static void check_complete(const cJSON *row)
{
    for (size_t i = 0; i < MQ_FIGURE_COUNT; i++) {
        const struct mq_figure *f = &mq_figures[i];
        if (f->section == MQ_SECTION_MEMORY || f->section == MQ_SECTION_TASKS) /* test_tasks */
            continue;
        char part[64];
        const cJSON *at = row;
        for (const char *path = f->json; at && *path;) {
            const size_t n = strcspn(path, ".[");
            snprintf(part, sizeof part, "%.*s", (int)n, path);
            at = mq_json_get(at, part);
            path += n;
            if (*path == '[') { /* of a list its first entry */
                at = at ? at->child : NULL;
                path = strchr(path, ']') + 1;
            }
            path += *path == '.';
        }
        ck_assert_msg(at, "%s: no independent value: see tests/data/make_metric_goldens.py", f->id);
    }
}

START_TEST(q3_k)
{
    if (mq_test_skip_if_sampled())
        return;
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = mq_cpu_count()};
    cJSON *golden = read_golden(mq_test_source("tests/verify/data/metrics_q3_k.json"));
    const size_t length = (size_t)mq_json_get(golden, "context")->valuedouble;
    const size_t windows = (size_t)mq_json_get(golden, "windows")->valuedouble;
    const struct mq_comparison_options options = {
        .text = mq_test_text(mq_test_source("demo/text.txt")),
        .protocol = {.context = length, .max_tokens = length * windows},
        .swap = true,
        .noise_floor = true,
    };
    const struct mq_candidate arm = {.name = "q3_k",
                                     .policy = mq_policy_default(mq_level_find("q3_k"))};
    struct mq_view *view;
    struct mq_baseline baseline;
    struct mq_comparison result;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    baseline = mq_baseline_of(view);
    ck_assert_msg(mq_compare(&context, &baseline, &arm, 1, &options, &result, &err) == MOEQ_OK,
                  "%s", err.message);
    cJSON *json = mq_sweep_json(&result, NULL);
    ck_assert_ptr_nonnull(json);
    ck_assert_str_eq(mq_json_get(mq_json_get(json, "protocol"), "token_ids_crc32")->valuestring,
                     mq_json_get(golden, "token_ids_crc32")->valuestring);
    const cJSON *ties = mq_json_get(golden, "near_ties");
    struct tolerance t = {
        .relative = mq_json_get(golden, "tolerance")->valuedouble,
        .absolute = mq_json_get(golden, "resolution")->valuedouble,
        .counted_exactly = mq_json_get(ties, "routes")->valuedouble == 0 &&
                           mq_json_get(ties, "tops")->valuedouble == 0,
    };
    ck_assert_double_le(t.relative, 1e-4);
    const cJSON *rows = mq_json_get(json, "rows");
    compare(mq_json_get(golden, "baseline"), cJSON_GetArrayItem(rows, 0), "", false, &t);
    check_complete(mq_json_get(golden, "row"));
    compare(mq_json_get(golden, "row"), cJSON_GetArrayItem(rows, 1), "", false, &t);
    fprintf(stderr, "%zu numbers agree\n", t.compared);
    ck_assert_uint_gt(t.compared, 200);
    struct tolerance rough = {.relative = 0.15, .absolute = 0};
    compare(mq_json_get(golden, "noise_floor"), mq_json_get(json, "noise_floor"), "", false,
            &rough);
    ck_assert_uint_eq(rough.compared, 5);
    cJSON_Delete(json);
    cJSON_Delete(golden);
    mq_comparison_free(&result);
    mq_view_close(view);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, q3_k);
}

int main(void)
{
    return mq_test_main("metrics_golden", add);
}
