/* figure_values.h: where the value of each figure lies in what the referee found. NaN where it
 * is not defined; the error of what has none is NaN, of what is counted 0. */
#ifndef MQ_FIGURE_VALUES_H
#define MQ_FIGURE_VALUES_H

#include "comparison.h"
#include "figures.h"

/* Of the output and the routing of an arm, of scope MQ_OF_MODEL. */
struct mq_estimate mq_figure_of_result(const struct mq_figure *figure,
                                       const struct mq_arm_result *result);
/* Of one layer: figures that are per_layer. */
struct mq_estimate mq_figure_of_layer(const struct mq_figure *figure,
                                      const struct mq_routing_layer *layer);
/* Of a row, whatever the section: MQ_OF_MODEL, MQ_OF_GROUP, MQ_OF_MARGIN, MQ_OF_LAYER; n as in
 * enum mq_scope. */
struct mq_estimate mq_figure_of_row(const struct mq_figure *figure, enum mq_scope scope, uint32_t n,
                                    const struct mq_comparison_row *row);

#endif
