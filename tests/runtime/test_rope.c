/* test_rope.c: rotary embeddings against Transformers' formulas in numpy, and of arms that differ in them. */
#include "arms_int.h"
#include "rope.h"
#include "test_model.h"

#include <stdio.h>
#include <string.h>

#define FAMILIES "tests/fixtures/families/"

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
    const char *other = changed("glm4_moe", "\"partial_rotary_factor\": 0.5",
                                "\"partial_rotary_factor\": 0.25");
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
    tcase_add_test(tests, a_limit_of_local_positions);
    tcase_add_test(tests, arms_that_turn_otherwise);
    tcase_add_test(tests, a_part_in_gguf);
}

int main(void)
{
    return mq_test_main("test_rope", add_tests);
}
