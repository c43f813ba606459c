/* metrics.c: names of gates -> figures and their values. */
#include "metrics.h"

#include "error.h"
#include "figure_values.h"
#include "nearest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- which there are ---- */

/* How many values of {n} to try: 1 where there is none. */
static uint32_t numbers(enum mq_scope scope, const struct mq_view *view)
{
    switch (scope) {
    case MQ_OF_LAYER:
        return view->hparams.layers;
    case MQ_OF_GROUP:
        return MQ_FLIP_GROUPS;
    case MQ_OF_MARGIN:
        return MQ_MARGIN_BINS;
    default:
        return 1;
    }
}

static bool exists(const struct mq_metric *m, const struct mq_view *view)
{
    return m->n < numbers(m->scope, view) &&
           (m->scope != MQ_OF_LAYER ||
            mq_view_find(view, MQ_ROLE_ROUTER, (int32_t)m->n, -1) != NULL);
}

/* To the next figure and scope, whatever the architecture. */
static bool next_pattern(struct mq_metric *m)
{
    const struct mq_figure *const end = mq_figures + MQ_FIGURE_COUNT;
    m->n = 0;
    for (;;) {
        m->figure = m->figure ? m->figure + 1 : mq_figures;
        if (m->figure == end && m->scope == MQ_OF_PAIR)
            return false;
        if (m->figure == end) {
            m->scope = m->scope == MQ_OF_LAYER ? MQ_OF_PAIR : MQ_OF_LAYER;
            m->figure = mq_figures;
        }
        if (m->scope < MQ_OF_LAYER)
            m->scope = m->figure->scope;
        if (mq_figure_has(m->figure, m->scope))
            return true;
    }
}

bool mq_metric_next(struct mq_metric *m, const struct mq_view *view, bool pair)
{
    if (m->figure)
        m->n++;
    for (;;) {
        const uint32_t end = m->figure ? numbers(m->scope, view) : 0;
        while (m->n < end && !exists(m, view))
            m->n++;
        if (m->n < end)
            return true;
        if (!next_pattern(m) || (m->scope == MQ_OF_PAIR && !pair))
            return false;
    }
}

/* ---- names ---- */

#define NUMBER "{n}"

/* Whether a name is the pattern's, with any number (in canonical form) for {n}. */
static bool matches(const char *pattern, const char *name, uint32_t *n)
{
    const char *at = strstr(pattern, NUMBER);
    const size_t before = at ? (size_t)(at - pattern) : 0;
    *n = 0;
    if (!at)
        return strcmp(pattern, name) == 0;
    if (strncmp(pattern, name, before) != 0)
        return false;
    const char *digits = name + before;
    const size_t count = strspn(digits, "0123456789");
    if (count == 0 || count > 9 || (count > 1 && digits[0] == '0'))
        return false;
    *n = (uint32_t)strtoul(digits, NULL, 10);
    return strcmp(digits + count, at + strlen(NUMBER)) == 0;
}

/* What documents call by that name, else the nearest metric that exists, with the number that the
 * name has, or 0. */
static bool suggest(const char *name, const struct mq_view *view, bool pair,
                    char nearest[MQ_METRIC_NAME])
{
    enum { SCOPES = 3 }; /* of a figure at most: its own, layers, pairs */
    char names[SCOPES * MQ_FIGURE_COUNT][MQ_METRIC_NAME];
    const char *pointers[SCOPES * MQ_FIGURE_COUNT];
    const char *digits = name + strcspn(name, "0123456789");
    const unsigned long typed = strtoul(digits, NULL, 10);
    size_t count = 0;
    for (const struct mq_figure *f = mq_figures; f < mq_figures + MQ_FIGURE_COUNT; f++)
        if (strcmp(name, f->json) == 0 || strcmp(name, mq_figure_key(f)) == 0) {
            mq_metric_print(f, f->scope, 0, nearest);
            return true;
        }
    for (struct mq_metric m = {0}; next_pattern(&m) && (m.scope != MQ_OF_PAIR || pair); count++) {
        struct mq_metric with = m;
        with.n = typed < UINT32_MAX ? (uint32_t)typed : 0;
        mq_metric_print(m.figure, m.scope, exists(&with, view) ? with.n : 0, names[count]);
        pointers[count] = names[count];
    }
    const char *found = mq_nearest(name, pointers, count);
    if (found)
        memcpy(nearest, found, strlen(found) + 1);
    return found != NULL;
}

moeq_status mq_metric_find(const char *name, const struct mq_view *view, bool pair,
                           const char *where, struct mq_metric *metric, moeq_error *err)
{
    char pattern[MQ_METRIC_NAME];
    for (struct mq_metric m = {0}; next_pattern(&m);) {
        mq_metric_pattern(m.figure, m.scope, pattern);
        if (!matches(pattern, name, &m.n))
            continue;
        if (m.scope == MQ_OF_PAIR && !pair)
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, where,
                                "metric '%s' needs two models to compare", name);
        if (!exists(&m, view))
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, where,
                                m.scope == MQ_OF_LAYER
                                    ? "metric '%s': the model has no router in that layer (layers "
                                      "count from 0)"
                                    : "metric '%s': there is no such number",
                                name);
        *metric = m;
        return MOEQ_OK;
    }
    if (suggest(name, view, pair, pattern))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, where,
                            "unknown metric '%.60s'; did you mean '%s'?", name, pattern);
    return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, where,
                        "unknown metric '%.60s'; docs/gates.md lists the metrics, and so does "
                        "\"metrics\" in moeq verify --json",
                        name);
}

/* ---- values ---- */

struct mq_estimate mq_metric_value(const struct mq_metric *metric,
                                   const struct mq_comparison *result, size_t row)
{
    if (metric->scope != MQ_OF_PAIR)
        return mq_figure_of_row(metric->figure, metric->scope, metric->n, &result->rows[row]);
    for (size_t i = 0; i < result->differences_count; i++) {
        const struct mq_difference *d = &result->differences[i];
        for (size_t f = 0; d->row == row && f < d->figures_count; f++)
            if (d->figures[f].figure == metric->figure)
                return (struct mq_estimate){d->figures[f].difference.mean,
                                            d->figures[f].difference.se};
    }
    return (struct mq_estimate){NAN, NAN};
}
