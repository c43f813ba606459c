/* metric_list.h: moeq verify --list-metrics: the table of figures, for people and as JSON. */
#ifndef MQ_METRIC_LIST_H
#define MQ_METRIC_LIST_H

#include "command.h"

enum mq_exit mq_list_metrics(const struct mq_options *options);

#endif
