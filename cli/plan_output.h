/* plan_output.h: showing a plan, and turning it into files: convert and export. */
#ifndef MQ_PLAN_OUTPUT_H
#define MQ_PLAN_OUTPUT_H

#include "convert.h"
#include "model_options.h"

/* Prints the plan (or with --json, a document of it); unless --dry-run, writes --output and says
 * what was written. */
enum mq_exit mq_execute_plan(const struct mq_options *options, const struct mq_plan *plan);

#endif
