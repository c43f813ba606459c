/* test_config_rope.c: what config.json says of positions: what is made of it, and what is refused. */
#include "config_test.h"

#include <math.h>

#define SIZES                                                                    \
    "\"hidden_size\": 64, \"intermediate_size\": 64, \"num_hidden_layers\": 2, " \
    "\"vocab_size\": 96, \"max_position_embeddings\": 4096"
#define EIGHT "\"num_attention_heads\": 8, \"num_key_value_heads\": 8" /* heads of 8 */
#define SCALING(text) EIGHT ", \"rope_scaling\": {" text "}"
#define PARAMETERS(text) EIGHT ", \"rope_parameters\": {" text "}"

static moeq_status open_with(const char *family, const char *more, struct mq_view **view,
                             moeq_error *err)
{
    return mq_test_open_config(family, SIZES, more, view, err);
}

static struct mq_view *open_sound(const char *family, const char *more)
{
    struct mq_view *view;
    moeq_error err;
    ck_assert_msg(open_with(family, more, &view, &err) == MOEQ_OK, "%s: %s", more, err.message);
    return view;
}

/* 0.1 log(4) + 1, and with 2 for 4 */
#define MAGNITUDE_4 1.138629436111989
#define MAGNITUDE_2 1.069314718055995
#define YARN "\"rope_type\": \"yarn\", "

/* By Transformers' _compute_yarn_parameters. */
START_TEST(yarn)
{
    static const struct {
        const char *more;
        double factor, original, fast, slow, magnitude;
        bool truncate;
    } cases[] = {
        {YARN "\"factor\": 4", 4, 4096, 32, 1, MAGNITUDE_4, true},
        /* null is by how much windows became longer */
        {YARN "\"factor\": null, \"original_max_position_embeddings\": 2048", 2, 2048, 32, 1,
         MAGNITUDE_2, true},
        /* "or 32", "or 1" */
        {YARN "\"factor\": 4, \"beta_fast\": 0, \"beta_slow\": 0", 4, 4096, 32, 1, MAGNITUDE_4,
         true},
        {YARN "\"factor\": 4, \"beta_fast\": null, \"beta_slow\": 2", 4, 4096, 32, 2, MAGNITUDE_4,
         true},
        {YARN "\"factor\": 4, \"truncate\": false", 4, 4096, 32, 1, MAGNITUDE_4, false},
        {YARN "\"factor\": 4, \"truncate\": null", 4, 4096, 32, 1, MAGNITUDE_4, false},
        {YARN "\"factor\": 4, \"attention_factor\": 1.5", 4, 4096, 32, 1, 1.5, true},
        {YARN "\"factor\": 4, \"mscale\": 1, \"mscale_all_dim\": 1", 4, 4096, 32, 1, 1, true},
        {YARN "\"factor\": 4, \"mscale\": 0, \"mscale_all_dim\": 1", 4, 4096, 32, 1, MAGNITUDE_4,
         true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char more[512];
        snprintf(more, sizeof more, EIGHT ", \"rope_parameters\": {%s}", cases[i].more);
        struct mq_view *view = open_sound("llama", more);
        const struct mq_rope *rope = &view->hparams.rope;
        ck_assert_int_eq(rope->type, MQ_ROPE_YARN);
        ck_assert_double_eq(rope->factor, cases[i].factor);
        ck_assert_double_eq(rope->original_max_positions, cases[i].original);
        ck_assert_double_eq(rope->beta_fast, cases[i].fast);
        ck_assert_double_eq(rope->beta_slow, cases[i].slow);
        ck_assert_double_eq_tol(rope->magnitude, cases[i].magnitude, 1e-12);
        ck_assert_int_eq(rope->truncate, cases[i].truncate);
        mq_view_close(view);
    }
}
END_TEST

/* Mistral's own form: scores are multiplied by get_mscale(factor, 1) twice unless apply_scale is false. */
START_TEST(native_yarn)
{
    static const struct {
        const char *written;
        double score;
    } cases[] = {{"\"apply_scale\": false", 1},
                 {"\"apply_scale\": true", MAGNITUDE_4},
                 {"\"apply_scale\": null", MAGNITUDE_4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *folder = test_model_copy("tests/fixtures/families/mistral_large3", "native");
        test_replace(test_path(folder, "params.json"), "\"apply_scale\": false", cases[i].written);
        struct mq_view *view = test_open(folder);
        const struct mq_rope *rope = &view->hparams.rope;
        const struct mq_layer_attention *a = &view->program->layers[0]->layer.attention;
        ck_assert(rope->type == MQ_ROPE_YARN && rope->factor == 4 && rope->magnitude == 1);
        ck_assert_double_eq_tol(rope->score_factor, cases[i].score, 1e-12);
        ck_assert_double_eq_tol((double)a->scale,
                                cases[i].score * cases[i].score / sqrt(a->head_dim), 1e-6);
        mq_view_close(view);
    }
}
END_TEST

#define FULL "\"full_attention\": "
#define LOCAL "\"sliding_attention\": "

/* One dictionary for each type of layers. */
START_TEST(by_layer_type)
{
    struct mq_view *view = open_sound(
        "gemma4_text", PARAMETERS(FULL "{\"rope_type\": \"proportional\", \"rope_theta\": 1e6, "
                                       "\"partial_rotary_factor\": 0.25, \"factor\": 8}, " LOCAL
                                       "{\"rope_type\": \"dynamic\", \"factor\": 2}"));
    const struct mq_hparams *h = &view->hparams;
    ck_assert_int_eq(h->rope.type, MQ_ROPE_PARTLY);
    ck_assert_double_eq(h->rope.part, 0.25);
    ck_assert_double_eq(h->rope.factor, 8);
    ck_assert_uint_eq(h->rope.exact_positions, 0);
    ck_assert_int_eq(h->rope_local.type, MQ_ROPE_DEFAULT);
    ck_assert_double_eq(h->rope_local.theta, 1e4);
    ck_assert_uint_eq(h->rope_local.exact_positions, 4096);
    mq_view_close(view);
    view = open_sound("gemma4_text", PARAMETERS(FULL "{\"rope_type\": \"proportional\"}"));
    ck_assert_double_eq(view->hparams.rope.factor, 1);
    mq_view_close(view);
    /* layers that all have the same positions: one dictionary, however often */
    view = open_sound("llama",
                      PARAMETERS(FULL "{\"rope_theta\": 5.0}, " LOCAL "{\"rope_theta\": 5.0}"));
    ck_assert_double_eq(view->hparams.rope.theta, 5);
    mq_view_close(view);
    view = open_sound("llama", PARAMETERS(LOCAL "null, " FULL "{\"rope_theta\": 7.0}"));
    ck_assert_double_eq(view->hparams.rope.theta, 7);
    mq_view_close(view);
}
END_TEST

START_TEST(alpha)
{
    struct mq_view *view =
        open_sound("hunyuan_v1_moe", SCALING("\"type\": \"dynamic\", \"alpha\": 1000.0"));
    ck_assert_double_eq_tol(view->hparams.rope.theta, 1e4 * pow(1000, 8.0 / 6), 1e-3);
    ck_assert_uint_eq(view->hparams.rope.exact_positions, 0);
    mq_view_close(view);
}
END_TEST

#define LONGROPE                                                                            \
    "\"rope_type\": \"longrope\", \"short_factor\": [1, 1, 1, 1], \"long_factor\": [1, 2, " \
    "3, 4], "

START_TEST(refused)
{
    static const struct {
        const char *family, *more, *message;
    } cases[] = {
        {"llama", PARAMETERS(YARN "\"beta_fast\": 3"), "\"factor\" is missing"},
        {"llama", PARAMETERS(YARN "\"factor\": 0"), "\"factor\": 0 is no positive number"},
        {"llama", PARAMETERS(YARN "\"factor\": 4, \"beta_slow\": -1"),
         "\"beta_slow\": -1 is no positive number"},
        {"llama", PARAMETERS(YARN "\"factor\": 4, \"rope_theta\": 1"),
         "\"rope_parameters\": rope_theta 1 is not possible with yarn"},
        {"llama", PARAMETERS(LONGROPE "\"original_max_position_embeddings\": 1"),
         "\"rope_parameters\": original_max_position_embeddings 1 is too small for longrope: "
         "expected more than 1"},
        {"llama", PARAMETERS(LONGROPE "\"original_max_position_embeddings\": 0.5"),
         "original_max_position_embeddings 0.5 is too small"},
        {"hunyuan_v1_moe",
         "\"num_attention_heads\": 32, \"num_key_value_heads\": 32, "
         "\"rope_scaling\": {\"type\": \"dynamic\", \"alpha\": 2}",
         "\"rope_scaling\": head_dim 2 is too small for alpha: expected more than 2"},
        {"llama", PARAMETERS(FULL "{\"rope_theta\": 5}, " LOCAL "{\"rope_theta\": 6}"),
         "\"rope_parameters\": \"full_attention\" and \"sliding_attention\" differ: in llama all "
         "layers have the same positions"},
        {"gemma4_text", PARAMETERS(FULL "{\"rope_theta\": 5}, \"factor\": 4"),
         "\"factor\": 4: a key that moeq does not know"},
        {"gemma4_text",
         PARAMETERS(FULL "{\"rope_theta\": 5}, \"chunked_attention\": {\"rope_theta\": 6}"),
         "\"chunked_attention\": {\"rope_theta\":6}: a key that moeq does not know"},
        {"gemma4_text", PARAMETERS("\"main\": {\"rope_theta\": 5}"),
         "\"main\": {\"rope_theta\":5}: a key that moeq does not know"},
        {"gemma4_text", PARAMETERS(FULL "7"), "\"rope_parameters\": 7 is no object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_view *view;
        moeq_error err;
        const moeq_status status = open_with(cases[i].family, cases[i].more, &view, &err);
        ck_assert_msg(status != MOEQ_OK, "%s", cases[i].more);
        ck_assert_msg(strstr(err.message, cases[i].message) != NULL, "%s: %s", cases[i].more,
                      err.message);
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, yarn);
    tcase_add_test(tests, native_yarn);
    tcase_add_test(tests, by_layer_type);
    tcase_add_test(tests, alpha);
    tcase_add_test(tests, refused);
}

int main(void)
{
    return mq_test_main("test_config_rope", add_tests);
}
