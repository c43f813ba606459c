/* config_test.h: config.json files made of a family's name and some keys. */
#ifndef MQ_CONFIG_TEST_H
#define MQ_CONFIG_TEST_H

#include "test_model.h"

#include <stdio.h>
#include <string.h>

/* {"model_type": family, sizes, more}, opened; either part may be empty. */
static inline moeq_status mq_test_open_config(const char *family, const char *sizes,
                                              const char *more, struct mq_view **view,
                                              moeq_error *err)
{
    char text[2048];
    const char *path = mq_test_temporary("config.json");
    const int n = snprintf(text, sizeof text, "{\"model_type\": \"%s\"%s%s%s%s}", family,
                           *sizes ? ", " : "", sizes, *more ? ", " : "", more);
    ck_assert_int_lt(n, (int)sizeof text);
    test_write(path, text, (size_t)n);
    *err = (moeq_error){0};
    return mq_view_from_config(path, NULL, view, err);
}

struct mq_test_refusal {
    const char *family, *more, *message; /* that is in the error's */
};

static inline void mq_test_refused(const struct mq_test_refusal *cases, size_t count,
                                   moeq_status (*open)(const char *family, const char *more,
                                                       struct mq_view **view, moeq_error *err))
{
    for (size_t i = 0; i < count; i++) {
        struct mq_view *view;
        moeq_error err;
        ck_assert_msg(open(cases[i].family, cases[i].more, &view, &err) != MOEQ_OK, "%s",
                      cases[i].more);
        ck_assert_msg(strstr(err.message, cases[i].message), "%s: %s", cases[i].more, err.message);
    }
}

#endif
