/* comparison_print.h: what sweep and verify print of a comparison, in 80 columns. */
#ifndef MQ_COMPARISON_PRINT_H
#define MQ_COMPARISON_PRINT_H

#include "command.h"
#include "comparison.h"

/* The files by their rows' names: "A: a.gguf"; one that is alone has none. */
void mq_print_files(const struct mq_comparison *comparison);

/* What is to be known of the original and of the files. */
void mq_print_comparison_notes(const struct mq_options *options,
                               const struct mq_comparison *comparison);

/* All tables; with `layers` routing layer by layer. */
void mq_print_comparison(const struct mq_comparison *comparison, bool layers);

#endif
