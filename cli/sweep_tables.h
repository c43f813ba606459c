/* sweep_tables.h: the tables of sweep and verify: what stands beside the baseline, row by row. */
#ifndef MQ_SWEEP_TABLES_H
#define MQ_SWEEP_TABLES_H

#include "sweep.h"

/* `layers`: routing layer by layer too. */
void mq_print_sweep_tables(const struct mq_sweep_result *result, bool layers);

#endif
