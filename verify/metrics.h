/*
 * metrics.h: every reported figure by a name, for gates. One table; docs/gates.md lists it.
 */
#ifndef MQ_METRICS_H
#define MQ_METRICS_H

#include "verify.h"

enum mq_metric_scope {
    MQ_SCOPE_MODEL,   /* of the model */
    MQ_SCOPE_ROUTING, /* of its routers: undefined for dense models */
    MQ_SCOPE_LAYER,   /* of one layer's router: {n} is the layer */
    MQ_SCOPE_CHANGED, /* of tokens of which {n} layers chose otherwise; the last one: or more */
    MQ_SCOPE_MARGIN,  /* of choices whose margin is in bin {n} (mq_margin_edges) */
    MQ_SCOPE_PAIR,    /* of two models: B minus A */
};

struct mq_metric {
    const char *name; /* "routing.layers.{n}.exact_set" */
    enum mq_metric_scope scope;
    bool more_is_better;
    /* For writing gates: the distance of a value from `ideal` may grow by the margin, plus `slack`,
     * which keeps a limit at the ideal itself from failing on a change that nobody would call one.
     */
    double ideal, slack;
    bool written; /* part of the gates that are written */
    const char *what;
    /* where it is: see metrics.c */
    int kind;
    size_t offset;
};

extern const struct mq_metric mq_metrics[];
extern const size_t mq_metrics_count;

/* Room for any metric's name with its number, NUL included. */
enum { MQ_METRIC_NAME = 64 };
void mq_metric_print(const struct mq_metric *metric, uint32_t n, char name[MQ_METRIC_NAME]);

/* Finds the metric of a name, for models of this architecture; `pair`: two models are compared.
 * Fails for a name that there is not, with the nearest one; `where` begins the message. */
moeq_status mq_metric_find(const char *name, const struct mq_view *view, bool pair,
                           const char *where, const struct mq_metric **metric, uint32_t *n,
                           moeq_error *err);

/* Its value for a row (1 or beyond) of a result; NaN where it is not defined. */
struct mq_estimate mq_metric_value(const struct mq_metric *metric, uint32_t n,
                                   const struct mq_verify_result *result, size_t row);

/* How many values of {n} to try: 1 for metrics without one. */
uint32_t mq_metric_numbers(const struct mq_metric *metric, const struct mq_view *view);
/* Whether {n} is one for this architecture (a layer may have no router). */
bool mq_metric_exists(const struct mq_metric *metric, uint32_t n, const struct mq_view *view);

#endif
