/* figures.c: the table of figures, and names made of it. */
#include "figures.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const struct mq_figure mq_figures[MQ_FIGURE_COUNT] = {
#define FIGURE(name, where, ...) [MQ_FIGURE_##name] = {__VA_ARGS__},
#define ROUTING(name, gate, key, ...)                     \
    [MQ_FIGURE_##name] = {.id = "routing." gate,          \
                          .json = "routing.overall." key, \
                          .difference = key,              \
                          .section = MQ_SECTION_ROUTING,  \
                          .per_layer = true,              \
                          .has_error = true,              \
                          __VA_ARGS__},
#include "figures.def"
};

const struct mq_figure *mq_routing_figure(int metric)
{
    static const enum mq_figure_id ids[MQ_ROUTING_COUNT] = {
#define FIGURE(...)
#define ROUTING(name, ...) MQ_FIGURE_##name,
#include "figures.def"
    };
    return &mq_figures[ids[metric]];
}

const struct mq_figure *mq_figure_of_difference(size_t i)
{
    for (size_t f = 0; f < MQ_FIGURE_COUNT; f++)
        if (mq_figures[f].difference && i-- == 0)
            return &mq_figures[f];
    return NULL;
}

const struct mq_figure *mq_figure_by_difference(const char *key)
{
    const struct mq_figure *figure;
    for (size_t i = 0; (figure = mq_figure_of_difference(i)) != NULL; i++)
        if (strcmp(figure->difference, key) == 0)
            return figure;
    return NULL;
}

const char *mq_figure_key(const struct mq_figure *figure)
{
    const char *dot = strrchr(figure->json, '.');
    return dot ? dot + 1 : figure->json;
}

const char *mq_unit_name(enum mq_unit unit)
{
    static const char *const names[] = {
        [MQ_UNIT_PLAIN] = "",    [MQ_UNIT_RATIO] = "",    [MQ_UNIT_SHARE] = "",
        [MQ_UNIT_NATS] = "nats", [MQ_UNIT_BITS] = "bits", [MQ_UNIT_BYTES] = "bytes"};
    return names[unit];
}

const char *mq_section_name(enum mq_section section)
{
    static const char *const names[] = {[MQ_SECTION_OUTPUT] = "output",
                                        [MQ_SECTION_ROUTING] = "routing",
                                        [MQ_SECTION_TASKS] = "tasks",
                                        [MQ_SECTION_MEMORY] = "memory"};
    return names[section];
}

double mq_figure_ideal(const struct mq_figure *figure)
{
    return figure->better == MQ_MORE || figure->unit == MQ_UNIT_RATIO ? 1 : 0;
}

double mq_figure_slack(const struct mq_figure *figure)
{
    switch (figure->unit) {
    case MQ_UNIT_RATIO:
        return 1e-4;
    case MQ_UNIT_SHARE:
        return 5e-4;
    case MQ_UNIT_NATS:
        return 1e-6;
    default:
        return 0;
    }
}

/* ---- the names of gates ---- */

#define ROUTING_PREFIX "routing."
#define NUMBER "{n}"

bool mq_figure_has(const struct mq_figure *figure, enum mq_scope scope)
{
    return scope == MQ_OF_LAYER  ? figure->per_layer
           : scope == MQ_OF_PAIR ? figure->difference != NULL
                                 : scope == figure->scope;
}

void mq_metric_pattern(const struct mq_figure *figure, enum mq_scope scope,
                       char name[MQ_METRIC_NAME])
{
    if (scope == MQ_OF_LAYER)
        snprintf(name, MQ_METRIC_NAME, "routing.layers." NUMBER ".%s",
                 figure->id + strlen(ROUTING_PREFIX));
    else
        snprintf(name, MQ_METRIC_NAME, "%s%s", scope == MQ_OF_PAIR ? "b_minus_a." : "", figure->id);
}

void mq_metric_print(const struct mq_figure *figure, enum mq_scope scope, uint32_t n,
                     char name[MQ_METRIC_NAME])
{
    char pattern[MQ_METRIC_NAME];
    mq_metric_pattern(figure, scope, pattern);
    const char *at = strstr(pattern, NUMBER);
    if (at)
        snprintf(name, MQ_METRIC_NAME, "%.*s%" PRIu32 "%s", (int)(at - pattern), pattern, n,
                 at + strlen(NUMBER));
    else
        snprintf(name, MQ_METRIC_NAME, "%s", pattern);
}
