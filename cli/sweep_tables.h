/* sweep_tables.h: the tables of sweep and verify: what stands beside the baseline, row by row. */
#ifndef MQ_SWEEP_TABLES_H
#define MQ_SWEEP_TABLES_H

#include "comparison.h"

/* `all`: routing layer by layer, and the figures that else only pages have, too. */
void mq_print_sweep_tables(const struct mq_comparison *result, bool all);

#endif
