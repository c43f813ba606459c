/* comparison_print.h: what sweep and verify print of a comparison. */
#ifndef MQ_COMPARISON_PRINT_H
#define MQ_COMPARISON_PRINT_H

#include "command.h"
#include "comparison.h"
#include "table_choice.h"

/* The files by their rows' names: "A: a.gguf"; one that is alone has none. */
void mq_print_files(const struct mq_comparison *comparison);

/* What is to be known of the original and of the files. */
void mq_print_comparison_notes(const struct mq_options *options,
                               const struct mq_comparison *comparison);

/* All tables. */
void mq_print_comparison(const struct mq_comparison *comparison,
                         const struct mq_table_choice *choice);

#endif
