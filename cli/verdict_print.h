/* verdict_print.h: the class of each model, and what speaks against believing it. */
#ifndef MQ_VERDICT_PRINT_H
#define MQ_VERDICT_PRINT_H

#include "comparison.h"

/* A line a model; notes of a broken original and of too few tokens. */
void mq_print_verdicts(const struct mq_comparison *comparison, bool color);

#endif
