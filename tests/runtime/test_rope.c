/* test_rope.c: rotary embeddings against Transformers' formulas in numpy, and of arms that differ in them. */
#include "arms_int.h"
#include "rope.h"
#include "test_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAMILIES "tests/fixtures/families/"
enum { POSITIONS = 40, HEAD = 32 }; /* the most of rope.txt */

/* The embedding that a config.json makes; the view is open as long. */
static struct mq_view *open_config(const char *family, const char *keys)
{
    static char text[2048];
    const char *path = mq_test_temporary("config.json");
    struct mq_view *view;
    moeq_error err = {0};
    const int n =
        snprintf(text, sizeof text,
                 "{\"model_type\": \"%s\", \"hidden_size\": 64, \"intermediate_size\": 64, "
                 "\"num_hidden_layers\": 6, \"vocab_size\": 96, %s}",
                 family, keys);
    ck_assert_int_lt(n, (int)sizeof text);
    test_write(path, text, (size_t)n);
    ck_assert_msg(mq_view_from_config(path, NULL, &view, &err) == MOEQ_OK, "%s", err.message);
    return view;
}

/* numbers: the magnitude, then a frequency for each pair. */
static void check_table(const char *keys, const struct mq_rope *rope, unsigned dim,
                        unsigned positions, const char *numbers)
{
    static float cosines[POSITIONS * HEAD / 2], sines[POSITIONS * HEAD / 2];
    char *at;
    const double magnitude = strtod(numbers, &at);
    ck_assert(dim <= HEAD && positions <= POSITIONS);
    mq_rope_fill(rope, dim, positions, cosines, sines);
    for (unsigned i = 0; i < dim / 2; i++) {
        const double f = strtod(at, &at);
        for (unsigned p = 0; p < positions; p++) { /* frequency and angle are rounded to f32 */
            const double tolerance = (2e-7 + 5e-7 * p * f) * magnitude;
            const double cosine = (double)cosines[p * dim / 2 + i] - magnitude * cos(p * f);
            const double sine = (double)sines[p * dim / 2 + i] - magnitude * sin(p * f);
            ck_assert_msg(fabs(cosine) <= tolerance && fabs(sine) <= tolerance,
                          "%s: pair %u at %u: off by %g, %g", keys, i, p, cosine, sine);
        }
    }
    ck_assert_msg(at[0] == '\n', "%s: more pairs", keys);
}

/* Cases of tests/data/make_rope_goldens.py. */
START_TEST(tables)
{
    static char head[64], keys[2048], numbers[1024], family[32];
    FILE *file = fopen(mq_test_source("tests/runtime/data/rope.txt"), "r");
    unsigned positions, dim, local, count = 0;
    ck_assert_ptr_nonnull(file);
    for (; fgets(head, sizeof head, file); count++) {
        ck_assert_int_eq(sscanf(head, "%31s %u %u %u", family, &positions, &dim, &local), 4);
        ck_assert(fgets(keys, sizeof keys, file) && fgets(numbers, sizeof numbers, file));
        struct mq_view *view = open_config(family, keys);
        const enum mq_rope_of of = local ? MQ_ROPE_OF_LOCAL : MQ_ROPE_OF_MAIN;
        bool turned = false;
        for (uint32_t i = 0; i < view->hparams.layers; i++) {
            const struct mq_layer_attention *a = &view->program->layers[i]->layer.attention;
            turned = turned || (a->rope == of && a->rotary_dim == dim);
        }
        ck_assert_msg(turned, "%s: no layer turns %u numbers", keys, dim);
        check_table(keys, local ? &view->hparams.rope_local : &view->hparams.rope, dim, positions,
                    numbers);
        mq_view_close(view);
    }
    fclose(file);
    ck_assert_uint_ge(count, 30);
}
END_TEST

static moeq_status check_arms(const char *one, const char *other, size_t window_tokens,
                              moeq_error *err)
{
    struct mq_view *a = test_open(one), *b = test_open(other);
    const struct mq_arm arms[] = {{.name = "a", .view = a, .routes_from = -1},
                                  {.name = "b", .view = b, .routes_from = -1}};
    *err = (moeq_error){0};
    const moeq_status status = mq_arms_check(arms, 2, window_tokens, err);
    mq_view_close(a);
    mq_view_close(b);
    return status;
}

/* A copy whose config.json is another. */
static const char *changed(const char *family, const char *old, const char *new)
{
    char source[128], name[128];
    snprintf(source, sizeof source, FAMILIES "%s", family);
    snprintf(name, sizeof name, "%s_changed", family);
    const char *folder = test_model_copy(source, name);
    test_replace(test_path(folder, "config.json"), old, new);
    return folder;
}

/* Positions of the layers of sliding attention have a limit of their own. */
START_TEST(a_limit_of_local_positions)
{
    const char *folder = changed("gemma4_text", "\"rope_type\": \"default\"",
                                 "\"rope_type\": \"dynamic\", \"factor\": 2");
    moeq_error err;
    test_replace(test_path(folder, "config.json"), "262144", "16");
    ck_assert_ok(check_arms(folder, folder, 16, &err));
    ck_assert_int_eq(check_arms(folder, folder, 17, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "choose a --context of at most 16"));
}
END_TEST

/* Of heads of which another part is turned the layers' rotary_dim tells; of pairs that are slowed down
 * otherwise the embedding itself. */
START_TEST(arms_that_turn_otherwise)
{
    moeq_error err;
    const char *glm = mq_test_source(FAMILIES "glm4_moe");
    const char *other =
        changed("glm4_moe", "\"partial_rotary_factor\": 0.5", "\"partial_rotary_factor\": 0.25");
    ck_assert_ok(check_arms(glm, glm, 16, &err));
    ck_assert_int_eq(check_arms(glm, other, 16, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "layer 0 is made of other pieces"));
    const char *gemma = mq_test_source(FAMILIES "gemma4_text");
    other = changed("gemma4_text", "\"proportional\"", "\"proportional\", \"factor\": 2");
    ck_assert_int_eq(check_arms(gemma, other, 16, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "'rope' differs"));
}
END_TEST

/* The factor of a part goes to GGUF and back. */
START_TEST(a_part_in_gguf)
{
    moeq_error err = {0};
    const char *path = mq_test_temporary("part.gguf");
    const char *folder =
        changed("gemma4_text", "\"proportional\"", "\"proportional\", \"factor\": 2.3");
    ck_assert_msg(test_convert(folder, "f32", path, NULL, NULL, &err) == MOEQ_OK, "%s",
                  err.message);
    struct mq_view *view = test_open(path);
    ck_assert_int_eq(view->hparams.rope.type, MQ_ROPE_PARTLY);
    ck_assert_double_eq(view->hparams.rope.part, 0.25);
    ck_assert_double_eq_tol(view->hparams.rope.factor, 2.3, 1e-6);
    mq_view_close(view);
    ck_assert_msg(check_arms(folder, path, 12, &err) == MOEQ_OK, "%s", err.message);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, tables);
    tcase_add_test(tests, a_limit_of_local_positions);
    tcase_add_test(tests, arms_that_turn_otherwise);
    tcase_add_test(tests, a_part_in_gguf);
}

int main(void)
{
    return mq_test_main("test_rope", add_tests);
}
