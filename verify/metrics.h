/* metrics.h: figures as gates name them: a figure, what it is of, and its number (figures.h). */
#ifndef MQ_METRICS_H
#define MQ_METRICS_H

#include "comparison.h"
#include "figures.h"

struct mq_metric {
    const struct mq_figure *figure; /* NULL: before the first */
    enum mq_scope scope;
    uint32_t n;
};

/* Steps to the next metric that models of this architecture have (a layer may have no router):
 * those of the whole, layer by layer, then, of a `pair`, B minus A. Begin with {0}; false behind
 * the last. */
bool mq_metric_next(struct mq_metric *metric, const struct mq_view *view, bool pair);

/* Finds the metric of a name, for models of this architecture; `pair`: several models are compared.
 * Fails for a name that there is not, with the nearest one; `where` begins the message. */
moeq_status mq_metric_find(const char *name, const struct mq_view *view, bool pair,
                           const char *where, struct mq_metric *metric, moeq_error *err);

/* Its value for a row (1 or beyond) of a result; NaN where it is not defined. */
struct mq_estimate mq_metric_value(const struct mq_metric *metric,
                                   const struct mq_comparison *result, size_t row);

#endif
