/* figure_values.c: the second column of figures.def: which field holds a figure. */
#include "figure_values.h"

#include <math.h>

struct place {
    enum { ESTIMATE, DOUBLE, COUNT } kind;
    size_t offset; /* from the start of what the figure is of */
};

#define AT(type, field)                                 \
    {                                                   \
        _Generic(((type *)0)->field, struct mq_estimate \
                 : ESTIMATE, double                     \
                 : DOUBLE, uint64_t                     \
                 : COUNT),                              \
            offsetof(type, field)                       \
    }

/* clang-format off */
#define RESULT(field) .at = AT(struct mq_arm_result, field)
#define GROUP(field) .at = AT(struct mq_flip_group, field)
#define ROW(field) .at = AT(struct mq_comparison_row, field)
#define MARGIN() .at = {ESTIMATE, 0} /* computed: changed_rate */
#define ROUTING_AND_LAYER(field) RESULT(routing.field), .layer = AT(struct mq_routing_layer, field)
/* clang-format on */

static const struct {
    struct place at, layer;
} places[MQ_FIGURE_COUNT] = {
#define FIGURE(id, where, ...) [MQ_FIGURE_##id] = {where},
#define ROUTING(id, ...)                                                 \
    [MQ_FIGURE_##id] = {RESULT(routing.overall.metric[MQ_ROUTING_##id]), \
                        .layer = AT(struct mq_routing_layer, rates.metric[MQ_ROUTING_##id])},
#include "figures.def"
};

static const struct mq_estimate undefined = {NAN, NAN};

static struct mq_estimate value_at(const void *base, struct place place)
{
    const void *field = (const char *)base + place.offset;
    switch (place.kind) {
    case ESTIMATE:
        return *(const struct mq_estimate *)field;
    case DOUBLE:
        return (struct mq_estimate){*(const double *)field, NAN};
    case COUNT:
        return (struct mq_estimate){(double)*(const uint64_t *)field, 0};
    }
    return undefined;
}

struct mq_estimate mq_figure_of_result(const struct mq_figure *figure,
                                       const struct mq_arm_result *result)
{
    if ((figure->section == MQ_SECTION_ROUTING && !result->has_routing) ||
        (figure->section == MQ_SECTION_TASKS && !result->tasks.count))
        return undefined;
    return value_at(result, places[figure - mq_figures].at);
}

struct mq_estimate mq_figure_of_layer(const struct mq_figure *figure,
                                      const struct mq_routing_layer *layer)
{
    return value_at(layer, places[figure - mq_figures].layer);
}

/* Of all choices with such a margin, and its binomial standard error. */
static struct mq_estimate changed_rate(const struct mq_routing_result *routing, uint32_t bin)
{
    const double n = (double)routing->margin_choices[bin];
    const double p = n > 0 ? (double)routing->margin_flips[bin] / n : NAN;
    return (struct mq_estimate){p, n > 1 ? sqrt(p * (1 - p) / (n - 1)) : NAN};
}

struct mq_estimate mq_figure_of_row(const struct mq_figure *figure, enum mq_scope scope, uint32_t n,
                                    const struct mq_comparison_row *row)
{
    const struct mq_routing_result *routing = &row->result.routing;
    if (figure->section == MQ_SECTION_MEMORY)
        return value_at(row, places[figure - mq_figures].at);
    if (scope == MQ_OF_MODEL)
        return mq_figure_of_result(figure, &row->result);
    if (!row->result.has_routing)
        return undefined;
    if (scope == MQ_OF_GROUP && n < routing->flips_count)
        return value_at(&routing->flips[n], places[figure - mq_figures].at);
    if (scope == MQ_OF_MARGIN && n < MQ_MARGIN_BINS)
        return changed_rate(routing, n);
    for (size_t i = 0; scope == MQ_OF_LAYER && i < routing->layers_count; i++)
        if (routing->layers[i].layer == n)
            return mq_figure_of_layer(figure, &routing->layers[i]);
    return undefined;
}
