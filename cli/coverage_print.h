/* coverage_print.h: what a calibration has seen, as tables and as JSON. */
#ifndef MQ_COVERAGE_PRINT_H
#define MQ_COVERAGE_PRINT_H

#include "coverage.h"
#include "model_options.h"

/* held_out: the name of what was held out and its tokens; NULL: nothing was. With -v every expert. */
void mq_coverage_print(const struct mq_options *options, const struct mq_coverage *coverage,
                       const char *held_out, uint64_t held_out_tokens);
/* Experts that the texts hardly touch are never left out: a note that names them. */
void mq_coverage_note(const struct mq_options *options, const struct mq_coverage *coverage);

void mq_coverage_put_json(struct mq_json_tree *tree, cJSON *object,
                          const struct mq_coverage *coverage, const char *held_out,
                          uint64_t held_out_tokens);

#endif
