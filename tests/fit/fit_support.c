/* fit_support.c */
#include "fit_support.h"

#include <stdio.h>
#include <string.h>

struct mq_view *open_config(const char *name)
{
    char path[64];
    struct mq_view *view;
    moeq_error err = {0};
    snprintf(path, sizeof path, "tests/fixtures/configs/%s.json", name);
    const moeq_status status = mq_view_from_config(mq_test_source(path), NULL, &view, &err);
    ck_assert_msg(status == MOEQ_OK, "%s", err.message);
    return view;
}

struct mq_fit_target target_of(const char *name, uint32_t cards)
{
    struct mq_gpu_search s;
    struct mq_fit_target target = {0};
    ck_assert_msg(mq_gpu_search(name, &s), "%s", name);
    ck_assert(mq_fit_target_add(&target, s.gpu, (uint64_t)s.memory_gb << 30, cards));
    return target;
}

struct mq_fit_target target_bytes(uint64_t bytes, uint32_t cards)
{
    struct mq_fit_target target = {0};
    ck_assert(mq_fit_target_add_bytes(&target, bytes, cards));
    return target;
}

void begin_target(struct mq_fit *fit, const struct mq_view *view,
                  const struct mq_fit_target *target, uint64_t context)
{
    moeq_error err = {0};
    ck_assert_ok(mq_fit_begin(view, target, context, mq_kv_kind_find("f16"), fit, &err));
}

void begin(struct mq_fit *fit, const struct mq_view *view, const char *card, uint32_t cards,
           uint64_t context)
{
    const struct mq_fit_target target = target_of(card, cards);
    begin_target(fit, view, &target, context);
}

bool assumes(const struct mq_fit *fit, const char *words)
{
    char text[MQ_FIT_ASSUMPTIONS][MQ_FIT_SENTENCE];
    mq_fit_assumptions(fit, text);
    for (int i = 0; i < MQ_FIT_ASSUMPTIONS; i++)
        if (strstr(text[i], words))
            return true;
    return false;
}

const struct mq_fit_row *add(struct mq_fit *fit, const char *level)
{
    moeq_error err = {0};
    const struct mq_policy policy = mq_policy_default(mq_level_find(level));
    ck_assert_ok(mq_fit_add(fit, level, &policy, &err));
    return &fit->rows[fit->rows_count - 1];
}
